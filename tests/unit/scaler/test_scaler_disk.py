# SPDX-License-Identifier: Apache-2.0
"""Turns fail in their midst, most of all on a full disk: what could not be written down is not done, and then all is well."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from rayctl.events import EventKind
from rayctl.providers.simulated import Physics
from rayctl.scaler import Scaler
from tests.unit.scaler.story import PATIENCE_S, Story
from tests.unit.scaler.town import Driver, Town, file_of
from tests.unit.scaler.witness import WatchedTown

LONGEST_S = 30.0  # between turns that fail
MINUTE_S = 60.0
LAG_S = 3.0


class Disk:
    """Passed as `around`. While it is `full` no journal is stored; `late`: it is, and only whether it is cannot be known.

    So it may be with other calls: `at` are the names of those that fail.
    """

    def __init__(self, at: str = "remember", *, late: bool = False) -> None:
        self.full: Callable[[], bool] = lambda: False
        self.done = self.failed = 0  # calls
        self._at, self._late = at.split(), late

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        if name not in self._at:
            yield
        elif not self.full():
            yield
            self.done += 1
        else:
            self.failed += 1
            if self._late:
                yield
            raise OSError(errno.ENOSPC, "No space left on device")


class Patient(Driver):
    """A scaler's process that goes on after a turn that failed, as the real one does."""

    failures = 0  # in a row

    def turn(self, take: Callable[[Scaler], float] = Scaler.turn) -> None:
        try:
            super().turn(take)
            self.failures = 0
        except OSError as problem:
            self.failures += 1
            self.eyes.tell(EventKind.ERROR, text=f"a turn failed, and is tried again: {problem}")
            self.town.pass_time(min(LONGEST_S, 2.0**self.failures))
            self.eyes.work()


class Tale(Story):
    """The story of a scaler whose disk is full from its write `at` (from 0) on, for so many turns."""

    def __init__(self, folder: Path, disk: Disk, lag_s: float, at: int = 0, turns: int = 0) -> None:
        super().__init__(folder, lag_s=lag_s)
        self.disk = disk
        self.disk.full = lambda: disk.done >= at and disk.failed < turns

    def tell(self) -> Tale:
        life = Patient(self.town, self.disk)
        while not self.over:
            assert self.clock < PATIENCE_S, f"it does not end: {life.said()[-30:]}"
            life.turn()
            self.happen()
        return self


@pytest.fixture
def disk() -> Disk:
    return Disk()


def patient(town: Town, disk: Disk) -> Patient:
    """A scaler that has begun."""
    life = Patient(town, disk)
    life.run(2)
    return life


def full(town: Town, disk: Disk, life: Patient) -> None:
    """Let the disk be full for a minute."""
    end = town.now + MINUTE_S
    disk.full = lambda: town.now < end
    life.run(MINUTE_S)
    assert disk.failed


def known(life: Patient) -> bool:
    """Whether the scaler knows of all machines there are, and of no others."""
    return {machine.id for machine in life.town.workers()} == {id for id, one in life.scaler.lives.items() if one.worker}


@pytest.mark.parametrize("lag_s", [0.0, 20.0])
def test_work_that_comes_meanwhile_waits_and_then_has_exactly_its_nodes(tmp_path: Path, disk: Disk, lag_s: float) -> None:
    town = WatchedTown(tmp_path, Physics(lag_s))
    life = patient(town, disk)
    town.submit({"CPU": 4}, 3, runs_s=70)
    full(town, disk, life)
    assert not town.launched
    life.until(lambda: town.workload.running == 3)
    life.run(60)
    assert town.launched == {"small": 3}
    assert known(life)
    life.until(lambda: not town.workers())
    assert town.launched == {"small": 3}
    assert not town.wrongs


def test_a_scaler_that_begins_on_a_full_disk_and_is_killed_on_it_doubles_nothing(tmp_path: Path, disk: Disk) -> None:
    town = WatchedTown(tmp_path, Physics(20.0), text=file_of(min_workers=2, max_workers=3))
    disk.full = lambda: True
    for _ in range(3):
        Patient(town, disk).run(20)
    assert not town.workers()
    disk.full = lambda: False
    life = patient(town, disk)
    life.until(lambda: len(town.joined()) == 2)
    full(town, disk, life)
    town.submit({"CPU": 4}, 3, runs_s=60)
    life = patient(town, disk)
    life.until(lambda: town.workload.running == 3)
    assert town.launched == {"small": 3}
    assert not town.wrongs


def test_idle_nodes_stay_meanwhile_and_take_work(tmp_path: Path, disk: Disk) -> None:
    town = WatchedTown(tmp_path)
    life = patient(town, disk)
    town.submit({"CPU": 4}, 3, runs_s=1)
    life.until(lambda: len(town.joined()) == 3 and not town.workload.running)
    life.run(50)
    full(town, disk, life)
    assert not town.drained
    assert not town.ended
    town.submit({"CPU": 4}, 3, runs_s=30)
    assert town.workload.running == 3
    life.until(lambda: not town.workers())
    assert town.launched == {"small": 3}
    assert not town.wrongs


def test_a_machine_that_was_to_be_replaced_is_ended_as_soon_as_there_is_room(tmp_path: Path, disk: Disk) -> None:
    text = file_of(max_workers=1) + "scaler: {launch_timeout_s: 20}\n"
    town = WatchedTown(tmp_path, Physics(boot_s=(1e6, 1e6)), text=text)
    life = patient(town, disk)
    town.submit({"CPU": 4})
    life.until(town.workers)
    life.run(10)
    full(town, disk, life)
    assert not town.ended
    assert life.until(lambda: town.ended) < LONGEST_S
    assert [failure.reason for failure in life.scaler.books.journal.failures] == ["it did not boot within 20 s"]
    assert "node_terminated" in [kind for kind, _, _ in town.told]
    assert not town.wrongs


def test_a_node_that_was_not_started_anew_meanwhile_has_all_its_tries_left(tmp_path: Path, disk: Disk) -> None:
    town = WatchedTown(tmp_path)
    life = patient(town, disk)
    town.submit({"CPU": 4}, runs_s=500)
    life.until(lambda: town.workload.running)
    life.run(2)
    for _ in range(2):
        town.kill_raylet(town.joined()[0])
        full(town, disk, life)
        life.until(town.joined)
        life.run(10)
    assert [restart for _, restart in town.plays] == ["auto", "always", "always"]
    assert not town.ended


# ---- at every moment


def tales(calls: str, lag_s: float, *, late: bool, turns: int) -> Iterator[Tale]:
    """The story with a failure at each of these calls, each told to its end."""
    with TemporaryDirectory() as folder:
        whole = Tale(Path(folder), Disk(calls), lag_s).tell()
    assert whole.disk.done
    for at in range(whole.disk.done):
        with TemporaryDirectory() as folder:
            yield Tale(Path(folder), Disk(calls, late=late), lag_s, at, turns).tell()


@pytest.mark.slow
@pytest.mark.parametrize("lag_s", [0.0, LAG_S])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("turns", [1, 4])
def test_on_a_disk_that_is_full_from_any_write_on_it_doubles_and_loses_nothing(turns: int, late: bool, lag_s: float) -> None:
    for at, tale in enumerate(tales("remember", lag_s, late=late, turns=turns)):
        tale.check()
        assert tale.disk.failed == turns, at
        assert tale.town.most <= 3, at
        assert tale.town.launched.total() <= 5, at


@pytest.mark.slow
@pytest.mark.parametrize("lag_s", [0.0, LAG_S])
@pytest.mark.parametrize("late", [False, True])
def test_what_could_not_be_begun_is_begun_by_another_turn(late: bool, lag_s: float) -> None:
    for at, tale in enumerate(tales("launch play drain terminate set_tags tell_drivers", lag_s, late=late, turns=1)):
        tale.check()
        assert tale.disk.failed == 1, at
        assert tale.town.most <= 3, at
        assert tale.town.launched.total() <= 5, at


def test_a_head_whose_start_could_not_be_begun_is_started_later(tmp_path: Path) -> None:
    town, disk = WatchedTown(tmp_path), Disk("play")
    life = patient(town, disk)
    town.ray_is_silent = True
    disk.full = lambda: not disk.failed
    life.until(lambda: town.plays, patience_s=300)
    assert disk.failed == 1
    assert town.plays == [("town-head-0", "auto")]
