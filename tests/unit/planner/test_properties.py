# SPDX-License-Identifier: Apache-2.0
"""What holds for every plan, tried on clusters made by chance. `tests.verifier` shares no code with the planner."""

from __future__ import annotations

import random
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.planning.bound import bound
from bench.planning.ours import snapshot_of
from bench.planning.prices import objective
from bench.planning.scenario import scenario
from rayctl.gcs.view import Demand
from rayctl.planner import Plan, Snapshot
from rayctl.planner.model import Node, Status
from tests.unit.planner.checked import plan
from tests.unit.planner.worlds import applied, demands, joined, snapshots

many = settings(max_examples=300)
fewer = settings(max_examples=80)


@many
@given(snapshots())
def test_a_plan_stands_up_to_the_verifier(snapshot: Snapshot) -> None:
    plan(snapshot)  # which the verifier looks at


@fewer
@given(snapshots(utilization=True))
def test_a_plan_with_the_old_rule_does_too(snapshot: Snapshot) -> None:
    plan(snapshot)  # which the verifier looks at


@fewer
@given(snapshots(limits=False, most_nodes=14))
def test_a_plan_without_limits_does_too(snapshot: Snapshot) -> None:
    plan(snapshot)  # which the verifier looks at


def alive(snapshot: Snapshot, found: Plan, name: str) -> int:
    gone = {removal.node for removal in found.removals}
    there = sum(n.worker and n.type == name and n.status is not Status.DRAINING and n.id not in gone for n in snapshot.nodes)
    return there + sum(launch.count for launch in found.launches if launch.type == name)


@many
@given(snapshots())
def test_never_above_a_maximum(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    for node_type in snapshot.policy.types:
        assert alive(snapshot, found, node_type.name) <= node_type.max_workers
    assert sum(alive(snapshot, found, t.name) for t in snapshot.policy.types) <= snapshot.policy.max_workers


@many
@given(snapshots(limits=False))
def test_never_below_a_minimum_where_nothing_prevents_it(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    for node_type in snapshot.policy.types:
        assert alive(snapshot, found, node_type.name) >= node_type.min_workers


def shuffled(snapshot: Snapshot, seed: int) -> Snapshot:
    """The same in another order; what is asked keeps its order among itself, for answers go by it."""
    rng = random.Random(seed)
    nodes, types = list(snapshot.nodes), list(snapshot.policy.types)
    rng.shuffle(nodes)
    rng.shuffle(types)
    return replace(snapshot, nodes=tuple(nodes), policy=replace(snapshot.policy, types=tuple(types)))


@many
@given(snapshots(), st.integers(0, 99))
def test_the_order_of_nodes_and_types_changes_nothing(snapshot: Snapshot, seed: int) -> None:
    assert plan(shuffled(snapshot, seed)) == plan(snapshot)


def counts(found: Plan) -> dict[str, int]:
    return {launch.type: launch.count for launch in found.launches}


@many
@given(snapshots(), st.integers(0, 99))
def test_the_order_of_demand_changes_nothing_of_what_is_done(snapshot: Snapshot, seed: int) -> None:
    rng = random.Random(seed)
    pending, gangs = list(snapshot.pending), list(snapshot.gangs)
    rng.shuffle(pending)
    rng.shuffle(gangs)
    one, other = plan(snapshot), plan(replace(snapshot, pending=tuple(pending), gangs=tuple(gangs)))
    assert counts(one) == counts(other)
    assert one.removals == other.removals
    assert sum(a.unplaced for a in one.pending) == sum(a.unplaced for a in other.pending)


@many
@given(snapshots(limits=False), demands())
def test_with_no_limit_more_demand_never_lowers_what_is_placed(snapshot: Snapshot, more: Demand) -> None:
    before, after = plan(snapshot), plan(replace(snapshot, pending=(*snapshot.pending, more)))
    assert placed(after) >= placed(before)


def placed(found: Plan) -> int:
    return sum(answer.count - answer.unplaced for answer in (*found.pending, *found.gangs))


@many
@given(snapshots(), st.lists(demands(), min_size=1, max_size=3))
def test_more_plain_demand_never_unplaces_a_gang(snapshot: Snapshot, more: list[Demand]) -> None:
    before, after = plan(snapshot), plan(replace(snapshot, pending=(*snapshot.pending, *more)))
    assert [answer.unplaced for answer in before.gangs] == [answer.unplaced for answer in after.gangs]


def wobbled(snapshot: Snapshot, rng: random.Random) -> Snapshot:
    """As the next report might have it: another order, usage a grain off, idle times other but below their limit."""

    def near(node: Node) -> Node:
        if node.status not in (Status.RUNNING, Status.IDLE):
            return node
        free = {name: max(0.0, amount + rng.uniform(-1e-4, 1e-4)) for name, amount in node.available.items()}
        return replace(node, available=free, idle_s=rng.uniform(0, 20) if node.status is Status.IDLE else 0.0)

    nodes = [near(node) for node in snapshot.nodes]
    rng.shuffle(nodes)
    return replace(snapshot, nodes=tuple(nodes))


@settings(max_examples=25)
@given(snapshots(limits=False), st.integers(0, 99))
def test_a_plan_that_was_carried_out_is_followed_by_none_for_100_turns(snapshot: Snapshot, seed: int) -> None:
    calm = replace(snapshot, nodes=tuple(replace(node, idle_s=min(node.idle_s, 20.0), outdated="") for node in snapshot.nodes))
    carried_out = applied(calm, plan(calm))
    rng = random.Random(seed)
    for turn in range(100):
        found = plan(wobbled(carried_out, rng))
        assert not found, f"turn {turn}: {found.launches} {found.removals}"


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.sampled_from((30, 100)), st.sampled_from((0, 5, 20)), st.integers(0, 1))
def test_nor_in_big_clusters(seed: int, nodes: int, groups: int, jitter: int) -> None:
    calm = snapshot_of(scenario(nodes, 5, nodes * 10, gangs=groups, seed=seed, jitter=jitter))
    carried_out = applied(calm, plan(calm))
    rng = random.Random(seed)
    for later in (carried_out, wobbled(carried_out, rng), wobbled(joined(carried_out), rng)):
        assert not plan(later).launches


@many
@given(snapshots(), st.integers(0, 99))
def test_within_limits_too(snapshot: Snapshot, seed: int) -> None:
    policy = replace(snapshot.policy, upscaling_speed=1e9)
    nodes = tuple(replace(node, idle_s=min(node.idle_s, 20.0), outdated="") for node in snapshot.nodes)
    calm = replace(snapshot, policy=policy, nodes=nodes)
    first = plan(calm)
    assume(not first.removals)  # what goes makes room for more in the next turn
    carried_out = applied(calm, first)
    found = plan(wobbled(carried_out, random.Random(seed)))
    assert not found, f"{found.launches} {found.removals}"


@many
@given(snapshots(limits=False))
def test_what_joined_is_not_launched_again(snapshot: Snapshot) -> None:
    nodes = tuple(replace(node, idle_s=min(node.idle_s, 20.0), outdated="") for node in snapshot.nodes)
    calm = replace(snapshot, nodes=nodes)
    found = plan(joined(applied(calm, plan(calm))))
    assert not found, f"{found.launches} {found.removals}"


@settings(max_examples=100)
@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 200), st.sampled_from((0, 3)), st.integers(0, 1))
def test_no_plan_is_cheaper_than_the_bound(seed: int, nodes: int, demands: int, groups: int, jitter: int) -> None:
    """The linear program of the benchmark knows nothing of the planner."""
    made = scenario(nodes + 1, 5, demands, gangs=groups, seed=seed, jitter=jitter)
    snapshot = snapshot_of(made)
    found = plan(snapshot)
    assert not sum(answer.unplaced for answer in (*found.pending, *found.gangs))
    price = objective({launch.type: launch.count for launch in found.launches})
    assert price >= bound(made) - 1e-6
