# SPDX-License-Identifier: Apache-2.0
"""What a scaler makes of a cluster's days: work comes and goes, machines fail, heads begin anew."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from rayctl.errors import Category
from rayctl.providers.simulated import Fault, Harm, Physics
from rayctl.reconcile.lives import Stage
from tests.unit.scaler.town import Town, file_of


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


# ---- work comes and goes


def test_work_brings_nodes_and_idleness_takes_them_away(town: Town) -> None:
    life = town.scaler().run(3)
    town.submit({"CPU": 1}, 12)
    life.until(lambda: len(town.joined()) == 3)
    life.until(lambda: not town.workload.waiting and not town.workload.running)
    life.until(lambda: not town.workers())
    assert town.most == 3
    assert [how for _, how in town.drained] == ["IDLE"] * 3


def test_queued_work_counts_after_a_second_and_minimums_at_once(town: Town) -> None:
    life = town.scaler().run(3)
    town.submit({"CPU": 1})
    assert 0.9 < life.until(town.workers) < 2.0
    town.text = file_of(min_workers=3)
    assert life.until(lambda: len(town.workers()) == 3) < 1.0


def test_requests_and_groups_count_at_once(town: Town) -> None:
    life = town.scaler().run(3)
    town.request({"CPU": 4}, 2)
    assert life.until(lambda: len(town.workers()) == 2) < 1.0
    town.group("STRICT_SPREAD", [{"CPU": 4}] * 4)
    assert life.until(lambda: len(town.workers()) == 4) < 1.0
    life.until(lambda: town.workload.running == 1)


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
def test_groups_of_each_strategy_get_their_nodes(town: Town, strategy: str) -> None:
    life = town.scaler().run(2)
    town.group(strategy, [{"CPU": 2}, {"CPU": 2}])
    life.until(lambda: town.workload.running == 1)
    assert town.most == (2 if strategy == "STRICT_SPREAD" else 1)


def test_what_is_requested_is_held_though_it_is_idle(town: Town) -> None:
    life = town.scaler().run(2)
    town.request({"CPU": 4}, 2)
    life.until(lambda: len(town.joined()) == 2)
    life.run(100)
    assert len(town.joined()) == 2
    town.request({"CPU": 4}, 0)
    life.until(lambda: not town.workers())


def test_what_can_never_be_is_told_once_and_nothing_is_launched(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 10000})
    life.run(20)
    assert not town.world.census("town")["small"]
    assert len([line for line in town.to_drivers if "No available node types" in line]) == 1
    assert town.reports[-1].infeasible == ({"CPU": 10000},)
    assert len([1 for kind, _, data in town.told if "can never be" in data.get("text", "")]) == 1


def test_groups_that_no_limit_allows_launch_nothing_and_have_one_reason(tmp_path: Path) -> None:
    town = Town(tmp_path, text=file_of(max_workers=4))
    life = town.scaler().run(2)
    for _ in range(40):
        town.group("STRICT_SPREAD", [{"CPU": 1}] * 5)
    life.run(20)
    assert not town.workers()
    assert len(town.statuses[-1].waiting) + len(town.statuses[-1].infeasible) == 1


def test_a_refused_drain_is_respected(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 1, runs_s=5)
    life.until(lambda: town.workload.running)
    (node,) = town.joined()
    life.until(lambda: not town.workload.running)
    take = life.eyes.drain
    life.eyes.drain = lambda ray, reason, message: (town.submit({"CPU": 1}, 1, runs_s=30), take(ray, reason, message))[1]  # type: ignore[method-assign]
    life.until(lambda: town.drained)
    assert town.joined() == [node]
    assert town.workload.running == 1
    life.run(10)
    assert town.joined() == [node]
    assert not life.scaler.books.journal.draining


# ---- what fails


def test_a_type_without_capacity_is_left_alone_longer_each_time(tmp_path: Path) -> None:
    town = Town(tmp_path, Physics(capacity={"small": 0}))
    life = town.scaler().run(2)
    town.submit({"CPU": 1}, runs_s=10)
    life.run(600)
    failed = [text for text in town.to_drivers if text.startswith("Failed to launch")]
    assert 3 <= len(failed) <= 4  # at 0, 60, 180 and 420 s
    assert not life.scaler.books.journal.asked
    town.world.physics.capacity["small"] = 5
    life.until(town.joined, patience_s=500)
    life.run(2)
    assert not life.scaler.books.journal.setbacks


def test_a_lost_reply_doubles_nothing(town: Town) -> None:
    life = town.scaler().run(2)
    town.world.fate(Fault("launch", Harm.LOSE_REPLY))
    town.submit({"CPU": 4}, 3)
    life.until(lambda: len(town.joined()) == 3)
    assert town.most == 3


def test_set_up_that_fails_once_is_tried_again(town: Town) -> None:
    life = town.scaler().run(2)
    town.broken_setups["small"] = 1
    town.submit({"CPU": 4})
    life.until(town.joined)
    assert town.most == 1
    assert town.statuses[-1].failures[0].reason.startswith("setup step 1")


def test_set_up_that_fails_always_burns_few_machines(town: Town) -> None:
    life = town.scaler().run(2)
    town.broken_setups["small"] = 1000
    town.submit({"CPU": 4})
    life.run(600)
    assert len([1 for kind, _, _ in town.told if kind == "node_launched"]) <= 5
    assert town.most <= 2


def test_a_machine_that_never_boots_is_replaced(tmp_path: Path) -> None:
    town = Town(tmp_path, Physics(boot_s=(1e6, 1e6)), text=file_of() + "scaler: {launch_timeout_s: 60}\n")
    life = town.scaler().run(2)
    town.submit({"CPU": 4})
    life.until(town.workers)
    first = town.workers()[0].name
    life.until(lambda: town.alive() and town.alive()[0].name != first, patience_s=300)
    assert town.most == 1


def test_a_slow_node_holds_up_no_other(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 2, runs_s=1000)
    life.until(lambda: life.eyes.plays)
    slow = life.eyes.plays[0]
    slow.ends = town.now + 500
    life.until(lambda: len(town.joined()) == 1, patience_s=30)
    town.submit({"CPU": 4}, 1, runs_s=1000)
    life.until(lambda: len(town.joined()) == 2, patience_s=30)


def test_a_dead_raylet_is_started_anew_in_place(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 1, runs_s=500)
    life.until(lambda: town.workload.running)
    (node,) = town.joined()
    life.run(2)
    town.kill_raylet(node)
    life.until(lambda: town.workload.running, patience_s=30)
    assert town.joined() == [node]
    assert town.most == 1
    assert "Restarting 1 nodes of type small (lost contact with raylet)." in town.to_drivers


def test_a_raylet_that_does_not_stay_is_replaced(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 1, runs_s=5000)
    life.until(lambda: town.workload.running)
    (first,) = town.joined()
    for _ in range(3):
        life.until(lambda: town.joined() == [first], patience_s=60)
        life.run(2)
        town.kill_raylet(first)
    life.until(lambda: town.joined() and town.joined() != [first])
    assert town.most <= 2


def test_a_machine_that_is_gone_is_replaced(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 1, runs_s=500)
    life.until(lambda: town.workload.running)
    town.kill(town.workers()[0].name)
    life.until(lambda: town.workload.running, patience_s=60)


# ---- lies and silence


def running(town: Town, count: int = 5) -> object:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, count, runs_s=5000)
    life.until(lambda: town.workload.running == count)
    return life.run(2)


@pytest.mark.parametrize("harm", [Harm.EMPTY, Harm.REFUSE])
def test_a_provider_that_lies_or_errs_for_a_minute_changes_nothing(town: Town, harm: Harm) -> None:
    life = running(town)
    nodes = sorted(town.joined())
    town.world.fate(*[Fault("list_nodes", harm, Category.TRANSIENT)] * 8)
    life.run(70)
    assert sorted(town.joined()) == nodes
    assert town.most == 5
    assert not town.drained


def test_a_listing_that_lacks_some_is_not_believed_at_once(town: Town) -> None:
    life = running(town)
    whole = life.eyes.machines
    hidden = {machine.name for machine in town.workers()[:3]}

    def lacking():
        listing = whole()
        return type(listing)(listing.at, tuple(m for m in listing.machines if m.name not in hidden))

    life.eyes.machines = lacking  # type: ignore[method-assign]
    life.run(60)
    assert (len(town.joined()), town.most) == (5, 5)
    life.eyes.machines = whole  # type: ignore[method-assign]
    life.run(60)
    assert (len(town.joined()), town.most) == (5, 5)


def test_where_many_nodes_are_unwell_none_is_ended_for_it(town: Town) -> None:
    life = running(town)
    town.unreachable = {machine.name for machine in town.workers()}
    for node in town.joined()[:3]:
        town.kill_raylet(node)
    life.run(200)
    assert len(town.alive()) == 5
    assert any("none is ended for its health" in data.get("text", "") for _, _, data in town.told)
    assert town.statuses[-1].breaker
    town.unreachable = set()
    life.until(lambda: len(town.joined()) == 5, patience_s=120)


def test_without_the_head_nothing_is_decided(town: Town) -> None:
    life = running(town)
    town.ray_is_silent = True
    town.text = file_of(max_workers=1)
    life.run(100)
    assert (len(town.alive()), town.most) == (5, 5)
    town.ray_is_silent, town.hides_head = False, True
    life.run(100)
    assert (len(town.alive()), town.most) == (5, 5)


def test_after_ray_began_anew_workers_come_back_and_none_is_ended_for_two_minutes(town: Town) -> None:
    life = running(town)
    machines = {machine.name for machine in town.alive()}
    town.workload.works.clear()
    town.restart_head(keeps_state=False)
    began = town.now
    life.until(lambda: len(town.joined()) == 5)
    assert town.now - began < 30
    life.run(began + 119 - town.now)
    assert {machine.name for machine in town.alive()} == machines
    assert not town.drained
    life.until(lambda: not town.workers())


def test_a_request_is_made_again_when_the_head_forgot_it(town: Town) -> None:
    life = town.scaler().run(2)
    town.request({"CPU": 4}, 2)
    life.until(lambda: len(town.joined()) == 2)
    town.ray_is_silent = True
    life.run(10)
    town.restart_head(keeps_state=True)
    town.ray_is_silent = False
    life.run(60)
    assert len(town.requested_of_ray) == 1
    assert len(town.joined()) == 2


def test_nodes_may_find_back_to_a_head_that_was_away_before_their_ray_is_started_anew(town: Town) -> None:
    life = running(town, 2)
    town.ray_is_silent = True
    life.run(10)
    town.ray_is_silent = False
    plays = len(town.plays)
    town.kill_raylet(town.joined()[0])
    life.run(20)
    assert len(town.plays) == plays
    life.until(lambda: len(town.joined()) == 2)


def test_a_head_that_is_silent_for_long_is_started_anew_where_it_is_broken(town: Town) -> None:
    life = running(town)
    town.plays.clear()
    town.ray_is_silent = True
    life.run(100)
    assert set(town.plays) == {("town-head-0", "auto")}


def test_a_head_that_stays_silent_is_tried_again_soon_and_then_every_two_minutes(town: Town) -> None:
    life = running(town)
    town.ray_is_silent = True
    tries: list[float] = []
    for _ in range(600):
        before = len(town.plays)
        life.run(1)
        tries += [town.now] * (len(town.plays) - before)
    waits = [later - earlier for earlier, later in pairwise(tries)]
    assert 30 <= waits[0] < 50
    assert 60 <= waits[1] < 80
    assert all(120 <= wait < 140 for wait in waits[2:])
    assert len(waits) >= 4


# ---- others


def test_while_another_writer_is_at_work_nothing_is_changed(town: Town) -> None:
    life = town.scaler().run(2)
    life.eyes.others_hold = True
    town.submit({"CPU": 4}, 2, runs_s=100)
    life.run(30)
    assert not town.workers()
    life.eyes.others_hold = False
    life.until(lambda: len(town.joined()) == 2)


def test_the_right_is_given_back_when_nothing_is_under_way(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 2, runs_s=100)
    life.until(lambda: len(town.joined()) == 2)
    life.run(5)
    assert not life.eyes.held


def test_changed_limits_and_types_arrive_live(town: Town) -> None:
    life = running(town)
    town.text = file_of(max_workers=2)
    life.run(10)
    assert Counter(how for _, how in town.drained) == {"PREEMPTION": 3}
    assert len(town.alive()) == 5, "work is not ended"


def test_stages_are_told(town: Town) -> None:
    life = town.scaler().run(2)
    town.submit({"CPU": 4}, 1, runs_s=5)
    life.until(town.joined)
    life.until(lambda: not town.workers())
    told = [node.stage for status in town.statuses for node in status.nodes if node.type == "small"]
    stages = [Stage.BOOTING, Stage.WAITING, Stage.SETTING_UP, Stage.UP, Stage.DRAINING]
    assert [stage for stage, before in zip(told, ["", *told], strict=False) if stage != before] == stages


def test_the_journal_of_a_cluster_that_is_no_more_means_nothing_to_the_next_of_its_name(town: Town) -> None:
    life = running(town)
    life.scaler.books.commit()
    for machine in town.alive():
        town.kill(machine.name)
    town.workload.works.clear()
    town.world.clusters["town"] = "another"
    town.identity = "ray-2"
    town.submit({"CPU": 4}, 1)
    assert town.scaler().until(town.alive) < 3
