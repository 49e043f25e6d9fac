# SPDX-License-Identifier: Apache-2.0
"""What a scaler makes of those who mean it ill: clocks, lags, other writers, kills at the worst moment, ten thousand nodes."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import Category
from rayctl.providers.base import Kind, Slot, launch_token
from rayctl.providers.simulated import Fault, Harm, Physics
from rayctl.reconcile.lives import Stage
from rayctl.reconcile.requests import STATUS_TAG, UP_TO_DATE, request_for
from rayctl.reconcile.seam import Listing
from rayctl.scaler import LONGEST_WAIT_S
from rayctl.simulation.placing import Member
from tests.unit.scaler.town import CLUSTER, Driver, Town, file_of
from tests.unit.scaler.witness import WatchedTown

BIG = "  big: {resources: {CPU: 16}}"


@pytest.fixture
def town(tmp_path: Path) -> WatchedTown:
    return WatchedTown(tmp_path)


def running(town: Town, count: int, runs_s: float = 5000.0) -> Driver:
    """A scaler, and so many nodes at work."""
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, count, runs_s=runs_s)
    life.until(lambda: town.workload.running == count)
    return life.run(2)


# ---- the provider


def test_a_provider_that_is_away_is_no_reason_to_start_the_head_anew(town: WatchedTown) -> None:
    life = running(town, 3)
    town.plays.clear()
    town.world.fate(*[Fault("list_nodes", Harm.EMPTY)] * 8, *[Fault("list_nodes", Harm.REFUSE, Category.TRANSIENT)] * 8)
    life.run(300)
    assert town.plays == []


def test_a_call_that_hangs_for_a_minute_makes_no_turn_wait_for_five(town: WatchedTown) -> None:
    life = running(town, 1)
    town.world.fate(Fault("list_nodes", Harm.HANG))
    assert life.scaler.turn() <= LONGEST_WAIT_S


def test_with_a_lag_a_lost_reply_is_not_counted_beside_the_machine(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=10.0), text=file_of(max_workers=3))
    life = town.scaler().run(2)
    town.world.fate(Fault("launch", Harm.LOSE_REPLY))
    town.submit({"CPU": 4}, 3, runs_s=60)
    life.until(lambda: town.workload.running == 3)
    assert town.launched == {"small": 3}
    assert not town.ended


def test_of_a_part_whose_reply_was_lost_the_rest_does_not_stay_for_ever(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(capacity={"small": 1}))
    life = town.scaler().run(2)
    town.world.fate(Fault("launch", Harm.LOSE_REPLY))
    town.submit({"CPU": 4}, 3, runs_s=500)
    life.until(town.joined)
    life.until(lambda: not life.scaler.books.journal.asked)
    life.run(10)
    assert [life.stage for life in life.scaler.lives.values()] == [Stage.UP, Stage.UP]


def test_what_was_asked_for_in_vain_is_not_asked_for_when_fewer_are_allowed(town: WatchedTown) -> None:
    life = town.scaler().run(2)
    town.world.fate(Fault("launch", Harm.REFUSE), Fault("launch", Harm.REFUSE))
    town.submit({"CPU": 4}, 5, runs_s=30)
    life.until(lambda: len(town.world.faults) == 1)
    town.text = file_of(max_workers=2)
    life.run(60)
    assert not town.wrongs
    assert town.launched == {"small": 2}


def test_a_listing_that_is_old_launches_nothing_after_the_journal_was_lost_and_the_next_scaler_killed(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=30.0, boot_s=(1.0, 2.0)))
    life = town.scaler().run(40)
    town.submit({"CPU": 4}, 4, runs_s=500)
    life.until(town.workers)
    life.run(1)
    town.path.unlink()
    for _ in range(5):
        town.scaler().run(2)
    town.scaler().until(lambda: town.workload.running == 4)
    assert town.launched == {"small": 4}


def test_tags_that_cannot_be_written_change_nothing_that_matters(town: WatchedTown) -> None:
    town.world.fate(*[Fault("set_tags", Harm.REFUSE, Category.AUTH)] * 100)
    life = running(town, 2)
    town.plays.clear()
    town.scaler().run(20)
    assert town.plays == []
    town.kill_raylet(town.joined()[0])
    town.scaler().until(lambda: len(town.joined()) == 2)
    assert town.most == 2
    assert life.scaler.books.journal.failures == ()


def test_a_machine_that_was_listed_once_is_not_launched_again_when_an_older_listing_lacks_it(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=30.0), text=file_of(min_workers=1))
    life = town.scaler()
    life.until(lambda: any(machine.kind is Kind.WORKER for machine in life.eyes.machines().machines))
    life.run(1)
    heir = town.scaler()
    listed, until = heir.eyes.machines, town.now + 10

    def older() -> Listing:
        listing = listed()
        heads = tuple(machine for machine in listing.machines if machine.kind is Kind.HEAD)
        return replace(listing, machines=heads) if town.now < until else listing

    heir.eyes.machines = older  # type: ignore[method-assign]
    heir.run(60)
    assert town.launched == {"small": 1}


# ---- Ray


def test_what_the_users_ask_no_more_is_not_asked_in_their_name_after_the_provider_was_away(town: WatchedTown) -> None:
    life = town.scaler().run(2)
    town.request({"CPU": 4}, 2)
    life.until(lambda: len(town.joined()) == 2)
    town.world.fate(*[Fault("list_nodes", Harm.REFUSE, Category.TRANSIENT)] * 5)
    life.turn()
    town.request({"CPU": 4}, 0)
    life.run(60)
    assert town.requested_of_ray == []


def test_a_drained_node_that_a_head_does_not_tell_of_after_its_silence_is_not_ended_with_its_work(town: WatchedTown) -> None:
    life = running(town, 3)
    town.text = file_of(max_workers=2)
    life.until(lambda: town.drained)
    town.ray_is_silent = True
    life.run(5)
    town.ray_is_silent = False
    whole, (gone, _) = life.eyes.ray, town.drained[0]

    def part() -> object:
        sight = whole()
        nodes = tuple(node for node in sight.view.nodes if node.instance_id != gone)
        return replace(sight, view=replace(sight.view, nodes=nodes))

    life.eyes.ray = part  # type: ignore[assignment,method-assign]
    life.run(40)
    assert not town.ended
    assert town.workload.running == 3


def test_a_set_up_that_ends_while_ray_is_silent_is_heard_of(town: WatchedTown) -> None:
    life = town.scaler().run(2)
    town.broken_setups["small"] = 1
    town.submit({"CPU": 4}, 1)
    life.until(lambda: life.eyes.plays)
    town.ray_is_silent = True
    life.run(60)
    assert life.scaler.books.times(town.workers()[0].id) == 1


def test_a_scaler_that_finds_a_silent_head_starts_it_anew_and_leaves_its_machine_alone(town: WatchedTown) -> None:
    town.ray_is_silent = True
    life = town.scaler().run(100)
    assert set(town.plays) == {("town-head-0", "auto")}
    assert not town.ended
    assert not life.scaler.installer.playing


def test_a_head_that_begins_anew_again_and_again_costs_no_machine(town: WatchedTown) -> None:
    life = running(town, 2)
    names = {machine.name for machine in town.alive()}
    for _ in range(5):
        town.restart_head(keeps_state=False)
        life.until(lambda: len(town.joined()) == 2)
        life.run(130)
    assert {machine.name for machine in town.alive()} == names


def test_one_reason_to_wait_is_told_once_however_the_seconds_run(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(capacity={"small": 0}))
    life = town.scaler().run(2)
    town.submit({"CPU": 1})
    life.run(55)
    told = [data["text"] for _, _, data in town.told if data.get("text", "").startswith("waits: ")]
    assert len(told) == 2, "of the task and of its type"


# ---- the clock


@pytest.mark.parametrize("jump_s", [-60.0, 60.0])
def test_a_clock_that_is_set_ends_nothing_and_work_waits_for_seconds_only(town: WatchedTown, jump_s: float) -> None:
    life = running(town, 3)
    eyes, listed = life.eyes, life.eyes.machines
    eyes.now = lambda: town.now + jump_s  # type: ignore[method-assign]
    eyes.machines = lambda: replace(listed(), at=town.now + jump_s)  # type: ignore[method-assign]
    life.run(20)
    assert not town.ended
    town.submit({"CPU": 4}, 1, runs_s=5000)
    assert life.until(lambda: len(town.alive()) == 4) < 5


@pytest.fixture
def set_back(town: WatchedTown) -> Callable[[Driver], None]:
    """Sets the clock back by an hour."""

    def act(life: Driver) -> None:
        listed = life.eyes.machines
        life.eyes.now = lambda: town.now - 3600.0  # type: ignore[method-assign]
        life.eyes.machines = lambda: replace(listed(), at=town.now - 3600.0)  # type: ignore[method-assign]

    return act


def test_what_was_refused_is_tried_again_in_time_also_when_the_clock_is_set_back(
    town: WatchedTown, set_back: Callable[[Driver], None]
) -> None:
    life = town.scaler().run(2)
    town.world.fate(Fault("launch", Harm.REFUSE, Category.CAPACITY))
    town.submit({"CPU": 4}, 1, runs_s=5000)
    life.until(lambda: life.scaler.books.journal.setbacks)
    set_back(life)
    assert life.until(lambda: len(town.joined()) == 1) < 90


def test_a_machine_that_was_ended_is_over_in_time_also_when_the_clock_is_set_back(
    town: WatchedTown, set_back: Callable[[Driver], None]
) -> None:
    life = running(town, 3, runs_s=30)
    town.text = file_of(max_workers=2)
    life.until(lambda: town.ended)
    assert life.scaler.books.journal.ending
    set_back(life)
    life.run(60)
    assert not life.scaler.books.journal.ending


def test_a_head_that_is_silent_is_started_anew_in_time_also_when_the_clock_is_set_back(
    town: WatchedTown, set_back: Callable[[Driver], None]
) -> None:
    life = running(town, 3)
    town.plays.clear()
    town.ray_is_silent = True
    life.run(20)
    set_back(life)
    assert life.until(lambda: town.plays) < 70


# ---- kills


def test_a_drain_that_ray_accepted_before_the_kill_is_gone_on_with(town: WatchedTown) -> None:
    life = running(town, 3, runs_s=60)
    town.plays.clear()
    town.text = file_of(max_workers=2)
    take = life.eyes.drain
    life.eyes.drain = lambda *args: [take(*args), (_ for _ in ()).throw(KeyboardInterrupt)][0]  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        life.run(10)
    heir = town.scaler()
    heir.until(lambda: len(town.workers()) == 2)
    assert town.drained == town.drained[:1]
    assert town.plays == [], "what was drained is not started anew"
    assert not town.wrongs


def test_a_machine_that_never_boots_is_given_up_by_scalers_that_are_killed_often(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(boot_s=(1e6, 1e6)), text=file_of() + "scaler: {launch_timeout_s: 60}\n")
    town.scaler().run(2)
    town.submit({"CPU": 4})
    for _ in range(5):
        town.scaler().run(20)
    assert len(town.ended) == 1


# ---- others


def bring_up(town: Town, number: int) -> str:
    """What `up` does: a machine, without the scaler's tags."""
    token = launch_token(town.world.clusters[CLUSTER], "small", number)
    request = replace(request_for(town.config(), "small", Kind.WORKER, (Slot(f"town-small-{number}", token),)), tags={})
    return town.world.launch(CLUSTER, request.slots[0], request).id


def test_a_machine_that_somebody_brings_up_is_neither_set_up_twice_nor_called_lost(town: WatchedTown) -> None:
    life = town.scaler().run(2)
    life.eyes.others_hold = True
    id = bring_up(town, 1)
    life.run(20)
    assert {life.stage for life in life.scaler.lives.values() if life.worker} == {Stage.WAITING}
    town.join(town.world.machines[id].node(town.now))
    life.run(2)
    life.eyes.others_hold = False
    life.run(10)
    assert town.plays == []
    assert town.workers()[0].tags[STATUS_TAG] == UP_TO_DATE


def test_a_machine_that_somebody_left_half_way_is_set_up(town: WatchedTown) -> None:
    life = town.scaler().run(2)
    life.eyes.others_hold = True
    bring_up(town, 1)
    life.run(20)
    life.eyes.others_hold = False
    life.until(town.joined)
    assert len(town.plays) == 1


def test_when_others_had_the_right_nothing_is_launched_before_a_listing_tells_what_they_launched(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(listing_lag_s=30.0), text=file_of(max_workers=2))
    life = town.scaler().run(40)
    life.eyes.others_hold = True
    town.submit({"CPU": 4}, 2, runs_s=200)
    life.run(5)
    for number in (1, 2):
        bring_up(town, number)
    life.eyes.others_hold = False
    life.until(lambda: town.workload.running == 2)
    assert not town.launched


def test_a_scaler_that_sees_nothing_holds_up_nobody(town: WatchedTown) -> None:
    life = running(town, 1)
    town.submit({"CPU": 4}, 1)
    life.until(lambda: life.eyes.held)
    life.until(lambda: not life.eyes.plays and len(town.joined()) == 2)
    town.ray_is_silent = True
    life.run(5)
    assert not life.eyes.held


# ---- types


def test_the_work_of_a_type_that_the_file_has_no_more_is_done_to_its_end(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, text=file_of(more=BIG))
    life = town.scaler().run(2)
    town.submit({"CPU": 16}, 2, runs_s=60)
    town.submit({"CPU": 4}, 1, runs_s=600)
    life.until(lambda: town.workload.running == 3)
    town.text = file_of()
    life.run(30)
    assert len(town.alive()) == 3
    life.until(lambda: [machine.type for machine in town.workers()] == ["small"])
    assert not town.wrongs
    town.scaler().run(5)
    assert len(town.joined()) == 1


def test_machines_of_a_type_that_is_gone_are_ended_before_they_have_joined(tmp_path: Path) -> None:
    town = WatchedTown(tmp_path, Physics(boot_s=(50.0, 50.0)), text=file_of(more=BIG))
    life = town.scaler().run(2)
    town.submit({"CPU": 16}, 2)
    life.until(lambda: len(town.workers()) == 2)
    town.text = file_of()
    life.until(lambda: not town.workers())
    life.run(5)


# ---- ten thousand nodes

MANY = 10_000


@contextmanager
def many(folder: Path) -> Iterator[tuple[Town, Driver, list[float]]]:
    """A town of so many nodes, its scaler, and the CPU seconds that were spent outside of it."""
    town = Town(folder, text=file_of(max_workers=MANY + 10))
    request = request_for(town.config(), "small", Kind.WORKER, ())
    for number in range(1, MANY + 1):
        slot = Slot(f"town-small-{number}", launch_token(town.world.clusters[CLUSTER], "small", number))
        machine = town.world.launch(CLUSTER, slot, request)
        town.workload.members[machine.id] = Member(machine.id, "small", number, {"CPU": 4.0}, {}, town.now)
    town.world.advance(600)
    outside = [0.0]

    @contextmanager
    def around(_: str) -> Iterator[None]:
        began = time.process_time()
        yield
        outside[0] += time.process_time() - began

    gc.collect()
    gc.freeze()  # what other tests have left is not looked through at the scaler's cost
    try:
        yield town, Driver(town, around), outside
    finally:
        gc.unfreeze()


@pytest.mark.slow
def test_a_turn_with_ten_thousand_nodes_takes_few_seconds_of_cpu(tmp_path: Path) -> None:
    with many(tmp_path) as (town, life, outside):
        spent = {}
        for what in ("first", "idle", "lost", "started anew", "silent"):
            if what == "lost":
                town.identity = "another"
                town.workload.members = {name: member for name, member in town.workload.members.items() if member.is_head}
            town.world.advance(5)
            outside[0], began = 0.0, time.process_time()
            life.scaler.turn()
            spent[what] = time.process_time() - began - outside[0]
        sys.stdout.write(f"\n{spent}\n")
        assert len(life.eyes.plays) == MANY
        assert spent.pop("started anew") < 6, "ten thousand plays are begun, and told of"
        assert max(spent.values()) < 3.0, "a tenth of that where nothing else runs"
