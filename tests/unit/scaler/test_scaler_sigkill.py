# SPDX-License-Identifier: Apache-2.0
"""Two hundred SIGKILLs at random instants, at a provider whose listings are up to half a minute old."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from rayctl.providers.simulated import Physics
from rayctl.reconcile import journal as journals
from tests.unit.scaler.sigkill import Victim
from tests.unit.scaler.town import file_of
from tests.unit.scaler.witness import WatchedTown, told

KILLS, LAG_S, MOST = 200, 30.0, 12
CALLS = 200  # of a life, on the mean; ten are a turn

pytestmark = pytest.mark.slow


@dataclass
class Found:
    """What became of a cluster whose scalers were killed; `in_writing`: while they wrote their journal."""

    kills: int = 0
    waves: int = 0
    doubled: int = 0
    leaked: int = 0
    lost_journals: int = 0
    in_writing: int = 0


@contextmanager
def victim(town: WatchedTown) -> Iterator[Victim]:
    one = Victim(town)
    try:
        yield one
    finally:
        one.kill()


def kill_often(town: WatchedTown, kills: int, seed: int, *, lose: float = 0.0) -> Found:
    """Waves of work, each of which needs so many machines exactly, while scalers are killed."""
    dice, found, wave = random.Random(seed), Found(), Wave(town)
    while found.kills < kills:
        life = Victim(town)
        life.live(int(dice.expovariate(1 / CALLS)), dice)
        found.kills += 1
        if dice.random() < lose:
            town.path.unlink(missing_ok=True)
            found.lost_journals += 1
        wave.go_on(dice, found)
        town.pass_time(dice.uniform(0.0, 2.0))
    with victim(town) as last:
        began = town.now
        while town.workload.waiting or town.workload.running or town.workers():
            assert town.now - began < 600, f"it does not end: {town.workers()}, {told(town)}"
            last.turn()
        for _ in range(int(2 * LAG_S)):
            last.turn()
    wave.close(found)
    found.leaked = len(town.workers())
    found.in_writing = len([path for path in town.path.parent.iterdir() if path != town.path])
    return found


class Wave:
    """So many tasks that each need a machine of their own; the next wave comes when nothing is left of one."""

    def __init__(self, town: WatchedTown) -> None:
        self._town, self._tasks, self._launched = town, 0, 0

    def go_on(self, dice: random.Random, found: Found) -> None:
        town = self._town
        if town.workload.waiting or town.workload.running or town.alive():
            return
        self.close(found)
        found.waves += 1
        self._tasks, self._launched = dice.randint(1, MOST), town.launched.total()
        town.submit({"CPU": 4}, self._tasks, runs_s=dice.uniform(5, 60))

    def close(self, found: Found) -> None:
        """What was launched beyond one machine for each task was doubled."""
        found.doubled += max(0, self._town.launched.total() - self._launched - self._tasks)


@pytest.mark.parametrize("seed", [1])
def test_200_sigkills_double_and_leak_nothing(tmp_path: Path, seed: int) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=LAG_S, boot_s=(2.0, 20.0), stop_s=5.0), text=file_of(max_workers=MOST))
    found = kill_often(town, KILLS, seed)
    sys.stdout.write(f"\n{found}, {town.most} nodes at most, {town.launched.total()} launched\n")
    assert not town.wrongs
    assert (found.kills, found.doubled, found.leaked) == (KILLS, 0, 0)
    assert found.waves > 1
    assert journals.load(town.path) is not None


@pytest.mark.parametrize("seed", [2])
def test_the_loss_of_the_journal_with_every_fifth_kill_costs_time_alone(tmp_path: Path, seed: int) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=LAG_S, boot_s=(2.0, 20.0), stop_s=5.0), text=file_of(max_workers=MOST))
    found = kill_often(town, KILLS, seed, lose=0.2)
    sys.stdout.write(f"\n{found}, {town.most} nodes at most, {town.launched.total()} launched\n")
    assert not town.wrongs
    assert found.lost_journals > KILLS / 10
    assert (found.doubled, found.leaked) == (0, 0)
