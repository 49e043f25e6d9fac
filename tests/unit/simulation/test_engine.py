# SPDX-License-Identifier: Apache-2.0
"""Simulations small enough to be worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stage import CPU, GPU, ONE_TYPE, TWO_TYPES, Play, file, group, load, played, tasks

from rayctl.gcs.view import Demand
from rayctl.planner.model import How, Status
from rayctl.providers.simulated import Fault, Harm
from rayctl.simulation.events import Event, Request
from rayctl.simulation.report import Ending
from rayctl.simulation.scaler import Scaler, Turn

JOIN_S = 40 + 20  # boot and set-up


def test_one_task_on_one_machine() -> None:
    play, found = played(file(), tasks())
    assert play.launched() == {0: {"cpu": 1}}
    # it has been idle for more than a minute, of which it hears at the next turn
    assert play.removed() == {225: ["demo-cpu-1"]}
    waits = found.totals.waits
    assert (waits.starts, waits.p50, waits.longest) == (1, JOIN_S, JOIN_S)
    assert found.totals.costs["cpu"] == pytest.approx(225 * 3.6 / 3600)
    assert found.totals.costs["head"] == pytest.approx(found.totals.seconds * 0.36 / 3600)
    assert found.totals.cost == pytest.approx(sum(found.totals.costs.values()))
    assert found.totals.utilisation == {"CPU": pytest.approx(100 / (4 * 165))}
    assert found.ending is Ending.DONE
    assert [(point.at, point.nodes["cpu"], point.pending["cpu"], point.waiting, point.running) for point in found.points] == [
        (0, 0, 1, 1, 0), (60, 1, 0, 0, 1), (160, 1, 0, 0, 0), (225, 0, 0, 0, 0), (230, 0, 0, 0, 0),
    ]  # fmt: skip


def test_work_between_two_turns_waits_for_the_next_one() -> None:
    play, found = played(file(), tasks(at=7))
    assert play.launched() == {10: {"cpu": 1}}
    assert found.totals.waits.longest == 3 + JOIN_S


def test_work_that_fits_starts_at_once_and_the_rest_waits_for_an_end() -> None:
    types = ONE_TYPE.replace("price: 3.6", "price: 3.6, max_workers: 1")
    _, found = played(file(types), tasks(6))
    assert found.totals.waits.starts == 6
    assert (found.totals.waits.p50, found.totals.waits.p95) == (JOIN_S, JOIN_S + 100)
    assert found.totals.machines.launches == 1


def test_minimum_and_what_runs_from_the_beginning() -> None:
    text = file(ONE_TYPE.replace("CPU: 4}", "CPU: 4}, min_workers: 2"), "boot_s: [40, 40], nodes: {head: 1, cpu: 1}")
    play, found = played(text, until_s=600)
    assert play.launched() == {0: {"cpu": 1}}
    assert play.removed() == {}
    assert found.totals.seconds == 125, "nothing more can happen after the turn at which an idle node could have gone"
    assert found.totals.costs["cpu"] == pytest.approx(2 * 125 * 3.6 / 3600)


def test_machines_that_stop_slowly_are_paid_until_they_are_gone() -> None:
    _, found = played(file(provider="boot_s: [40, 40], stop_s: 30"), tasks())
    assert found.totals.machine_hours["cpu"] == pytest.approx((225 + 30) / 3600)


@pytest.mark.parametrize(("strategy", "count", "nodes"), [("STRICT_SPREAD", 3, 3), ("STRICT_PACK", 3, 1), ("PACK", 6, 2)])
def test_a_placement_group_starts_as_a_whole(strategy: str, count: int, nodes: int) -> None:
    seen = []

    def look(play: Play, turn: Turn) -> None:
        seen.append((play.workload.running, play.workload.used["CPU"]))

    play, found = played(file(), group(strategy, count, at=2), then=look)
    assert play.launched() == {5: {"cpu": nodes}}
    assert set(seen) <= {(0, 0), (1, count * 10_000)}, "never a part of it"
    (kind,) = found.kinds
    assert (kind.submitted, kind.done, kind.waits.longest) == (1, 1, 3 + JOIN_S)


def test_a_group_that_can_never_be_is_left_and_told_why() -> None:
    _, found = played(file(), group("STRICT_PACK", 5), tasks())
    assert found.ending is Ending.STUCK
    (left,) = found.left
    assert (left.title, left.count) == ("STRICT_PACK of {CPU: 1} x 5", 1)
    assert left.why
    assert found.kinds[1].done == 1


def test_after_a_refusal_a_type_is_tried_again_later_and_later() -> None:
    play, found = played(file(TWO_TYPES, "boot_s: [40, 40], capacity: {gpu: 1}"), tasks(3, shape=GPU, runs_s=(500, 500)))
    tries = [at for at, launched in play.launched().items() if "gpu" in launched]
    assert tries == [0, 60, 180, 420, 900]
    setbacks = [turn.snapshot.setbacks["gpu"] for turn in play.kept if turn.at > 0]
    assert "no more machines of type gpu" in setbacks[0].reason
    assert max(setback.retry_in_s for setback in setbacks) <= 960
    assert found.totals.machines.refused == 2 + 2 + 2 + 2 + 1
    assert [kind.done for kind in found.kinds] == [3]
    assert found.ending is Ending.DONE


def test_capacity_that_never_comes_ends_the_simulation_with_words() -> None:
    _, found = played(file(TWO_TYPES, "capacity: {gpu: 0}"), tasks(shape=GPU))
    assert found.ending is Ending.STUCK
    assert found.totals.seconds < 4 * 3600
    assert "no more machines of type gpu" in found.left[0].why


def test_a_level_brings_work_and_ends_it() -> None:
    _, found = played(file(), load(0, 6), load(300, 2), load(600, 0))
    (kind,) = found.kinds
    assert (kind.submitted, kind.done, kind.withdrawn, kind.waiting, kind.running) == (6, 6, 0, 0, 0)
    assert [point.running for point in found.points if point.at in (300, 600)] == [2, 0]
    assert max(point.nodes["cpu"] for point in found.points) == 2


def test_a_level_that_falls_withdraws_what_never_started() -> None:
    _, found = played(file(), load(0, 6), load(30, 1), load(200, 0))
    (kind,) = found.kinds
    assert (kind.submitted, kind.done, kind.withdrawn) == (6, 1, 5)


def test_a_level_that_does_not_end_runs_on() -> None:
    _, found = played(file(), load(0, 2))
    assert (found.ending, found.kinds[0].running, found.left) == (Ending.DONE, 2, ())


def test_a_request_holds_machines_until_it_is_withdrawn() -> None:
    play, found = played(file(), Request(0, (Demand({"CPU": 4.0}, 2),)), Request(1000, ()))
    assert play.launched() == {0: {"cpu": 2}}
    assert play.removed() == {1000: ["demo-cpu-1", "demo-cpu-2"]}
    assert found.totals.utilisation["CPU"] == 0


def test_work_of_a_machine_that_is_taken_away_runs_again() -> None:
    def interrupt(play: Play, turn: Turn) -> None:
        if turn.at == 60:
            play.world.interrupt(play.machines.there["demo-cpu-1"].id, notice_s=30)

    play, found = played(file(), tasks(2), then=interrupt)
    assert play.launched() == {0: {"cpu": 1}, 90: {"cpu": 1}}
    assert found.totals.machines.lost == 1
    (kind,) = found.kinds
    assert (kind.submitted, kind.done, kind.waits.starts) == (2, 2, 4)
    assert kind.waits.longest == JOIN_S
    assert found.totals.costs["cpu"] == pytest.approx((90 + (JOIN_S + 100 + 65)) * 3.6 / 3600)


def test_a_group_that_loses_a_node_waits_again_as_a_whole() -> None:
    def interrupt(play: Play, turn: Turn) -> None:
        if turn.at == 60:
            play.world.interrupt(play.machines.there["demo-cpu-2"].id)

    _, found = played(file(), group("STRICT_SPREAD", 2), then=interrupt)
    assert (found.kinds[0].done, found.kinds[0].waits.starts) == (1, 2)
    assert found.totals.machines.launches == 3


def test_a_machine_that_is_lost_before_it_joins_is_replaced() -> None:
    def interrupt(play: Play, turn: Turn) -> None:
        if turn.at == 5:
            play.world.interrupt(play.machines.there["demo-cpu-1"].id)

    play, found = played(file(), tasks(), then=interrupt)
    assert play.launched() == {0: {"cpu": 1}, 10: {"cpu": 1}}
    assert found.totals.waits.longest == 10 + JOIN_S


@pytest.mark.parametrize("call", ["list_nodes", "launch", "terminate"])
@pytest.mark.parametrize("harm", [Harm.REFUSE, Harm.LOSE_REPLY])
def test_calls_that_fail_are_made_again(call: str, harm: Harm) -> None:
    play = Play(file(), tasks())
    play.world.fate(Fault(call, harm))
    found = play.run()
    assert found.kinds[0].done == 1
    assert found.totals.seconds < 400
    assert found.points[-1].nodes == {"head": 1}


def test_a_listing_that_lags_misleads_nobody() -> None:
    play, found = played(file(provider="boot_s: [40, 40], stop_s: 10, listing_lag_s: 17"), tasks(6), tasks(6, at=400))
    assert play.launched() == {0: {"cpu": 2}, 400: {"cpu": 2}}
    assert found.totals.machines.ended == 4


def test_machines_above_the_maximum_finish_their_work_first() -> None:
    def look(play: Play, turn: Turn) -> None:
        if turn.at == 0:
            assert [removal.how for removal in turn.plan.removals] == [How.DRAIN, How.DRAIN]
        if turn.at == 5:
            assert sum(node.status is Status.DRAINING for node in turn.snapshot.nodes) == 2

    text = file(provider="nodes: {head: 1, cpu: 3}").replace("max_workers: 8", "max_workers: 1")
    _, found = played(text, tasks(12, runs_s=(50, 50)), tasks(1, at=60), then=look)
    assert found.totals.machines.launches == 0
    assert found.totals.waits.longest == 0
    assert [point.nodes["cpu"] for point in found.points if point.at == 50] == [1]


def test_the_rule_of_rays_first_autoscaler_keeps_a_part_free() -> None:
    text = file(more="scaler: {target_utilization_fraction: 0.5}")
    _, found = played(text, tasks(8, runs_s=(600, 600)))
    assert max(point.nodes["cpu"] for point in found.points) > 2


# ---- what always holds


def shuffled(**options: Any) -> tuple[Play, Any]:
    events = [tasks(30, runs_s=(10, 90)), tasks(10, at=33, runs_s=(5, 300), shape={"CPU": 2.0}), group("SPREAD", 6, at=50)]
    return played(file(TWO_TYPES, "boot_s: [20, 90], listing_lag_s: 3"), *events, tasks(2, at=90, shape=GPU), **options)


def test_the_same_seed_gives_the_same_result_and_another_one_another() -> None:
    (one, first), (two, second), (_, third) = shuffled(seed=3), shuffled(seed=3), shuffled(seed=4)
    assert first.to_dict() == second.to_dict()
    assert one.kept == two.kept
    assert first.totals.cost != third.totals.cost


def test_where_it_stops_it_says_what_is_left() -> None:
    _, found = shuffled(until_s=70)
    assert (found.ending, found.totals.seconds, found.skipped) == (Ending.UNTIL, 70, 1)
    assert sum(left.count for left in found.left) == found.points[-1].waiting > 0
    assert all(left.why for left in found.left)


counts = st.integers(1, 12)
times = st.integers(0, 400)
spans = st.sampled_from([(30.0, 30.0), (0.0, 0.0), (20.0, 200.0)])
events = st.lists(
    st.one_of(
        st.builds(tasks, counts, times, spans, st.sampled_from([CPU, GPU, {"CPU": 3.0}, {"CPU": 9.0}])),
        st.builds(group, st.sampled_from(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"]), st.integers(1, 5), times),
        st.builds(load, times, st.integers(0, 9)),
        st.builds(lambda at, n: Request(at, (Demand({"CPU": 4.0}, n),) if n else ()), times, st.integers(0, 3)),
    ),
    max_size=6,
)
worlds = st.builds(
    lambda boot, stop, lag, gpus: f"boot_s: [10, {boot}], stop_s: {stop}, listing_lag_s: {lag}, capacity: {{gpu: {gpus}}}",
    st.sampled_from([10, 60]), st.sampled_from([0, 20]), st.sampled_from([0, 7]), st.integers(0, 2),
)  # fmt: skip


@settings(max_examples=40)
@given(events, worlds, st.integers(0, 200), st.integers(0, 3))
def test_work_money_and_room_add_up(asked: list[Event], provider: str, harm_at: int, seed: int) -> None:
    def look(play: Play, turn: Turn) -> None:
        if turn.number == harm_at and len(play.machines.there) > 1:
            play.world.interrupt(sorted(machine.id for machine in play.machines.there.values())[-1], notice_s=3)
        for member in play.workload.members.values():
            assert all(0 <= free <= member.capacity[name] for name, free in member.free.items())

    play, found = played(file(TWO_TYPES, provider), *asked, then=look, seed=seed)
    for kind in found.kinds:
        assert kind.submitted == kind.done + kind.withdrawn + kind.waiting + kind.running
        assert kind.waits.starts >= kind.done
    assert sum(left.count for left in found.left) == sum(kind.waiting for kind in found.kinds)
    assert found.totals.cost == pytest.approx(sum(found.totals.costs.values()))
    prices = {machine.id: found.prices[machine.type] for machine in play.world.machines.values()}
    end = found.totals.seconds
    lives = {m.id: max(0.0, min(m.gone_at, end) - max(m.launched_at, 0.0)) for m in play.world.machines.values()}
    assert found.totals.cost == pytest.approx(sum(lives[id] * prices[id] / 3600 for id in lives))
    assert all(0 <= share <= 1 + 1e-9 for share in found.totals.utilisation.values())
    if found.ending is Ending.DONE:
        assert not found.left


@settings(max_examples=25)
@given(events, st.booleans())
def test_turns_that_are_left_out_would_have_done_nothing(asked: list[Event], rule: bool) -> None:
    class Restless(Scaler):
        """Has a turn at each multiple of the interval."""

        def next_turn(self, now: float) -> float:
            return max(self._number + 1, math.ceil(now / 5)) * 5.0

    text = file(TWO_TYPES, more="scaler: {target_utilization_fraction: 0.8}" if rule else "")
    usual, _ = played(text, *asked, until_s=1500)
    restless = Play(text, *asked, until_s=1500)
    restless.scaler = Restless(restless.scene, restless.machines, restless.workload, restless.on_turn)
    restless.run()
    assert usual.acts == restless.acts
