# SPDX-License-Identifier: Apache-2.0
"""Which machines `up` and `down` launch and end: tables of (file, nodes) -> plan, and the rules that always hold."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from rayctl import plan
from rayctl.config.load import parse
from rayctl.config.model import ClusterConfig
from rayctl.providers.base import Kind, Node, NodeState

HEAD = ("head", 1, 0.0)


def config(max_workers: int = 4, initial: int = 0, **types: tuple[int, int]) -> ClusterConfig:
    """A cluster whose worker types have (min, max) workers."""
    rows = "".join(f"  {name}: {{min_workers: {low}, max_workers: {high}}}\n" for name, (low, high) in types.items())
    text = (
        f"cluster_name: c\nprovider: {{type: embedded}}\nmax_workers: {max_workers}\n"
        f"scaler: {{initial_workers: {initial}}}\navailable_node_types:\n  head: {{}}\n{rows}"
    )
    return parse(text, "c.yaml").config


def node(node_type: str, number: int, launched_at: float = 0.0, state: NodeState = NodeState.RUNNING) -> Node:
    kind = Kind.HEAD if node_type == "head" else Kind.WORKER
    name = f"c-{node_type}-{number}"
    return Node(id=f"i-{name}", name=name, kind=kind, type=node_type, state=state, launch_token=name, launched_at=launched_at)


def launches(found: plan.Machines) -> list[tuple[str, int]]:
    return [(launch.type, launch.count) for launch in found.launches]


def endings(found: plan.Machines) -> list[tuple[str, str]]:
    return [(ending.node.name, ending.reason) for ending in found.endings]


def test_first_up_launches_the_head_first_and_then_each_minimum() -> None:
    found = plan.machines(config(small=(1, 4), big=(2, 2)), [])
    assert launches(found) == [("head", 1), ("small", 1), ("big", 2)]
    assert found.launches[0].kind is Kind.HEAD


def test_a_cluster_as_wanted_needs_nothing() -> None:
    assert not plan.machines(config(small=(1, 4)), [node(*HEAD), node("small", 1)])


def test_workers_between_minimum_and_maximum_stay() -> None:
    assert not plan.machines(config(small=(1, 4)), [node(*HEAD), *(node("small", n) for n in (1, 2, 3))])


def test_workers_above_their_types_maximum_go_youngest_first() -> None:
    nodes = [node(*HEAD), node("small", 1, 10), node("small", 2, 30), node("small", 3, 20)]
    assert endings(plan.machines(config(small=(0, 2)), nodes)) == [("c-small-2", "small has at most 2")]


def test_of_one_launch_the_higher_number_goes() -> None:
    nodes = [node(*HEAD), *(node("small", n, 5.0) for n in (9, 10, 2))]
    assert endings(plan.machines(config(small=(0, 2)), nodes)) == [("c-small-10", "small has at most 2")]


def test_workers_above_the_clusters_maximum_go_but_not_those_of_a_minimum() -> None:
    nodes = [node(*HEAD), node("small", 1, 1), node("small", 2, 2), node("big", 1, 9)]
    assert endings(plan.machines(config(2, small=(0, 4), big=(1, 4)), nodes)) == [("c-small-2", "max_workers is 2")]


def test_workers_of_a_type_that_left_the_file_go() -> None:
    nodes = [node(*HEAD), node("small", 1), node("old", 1)]
    found = plan.machines(config(small=(1, 4)), nodes)
    assert endings(found) == [("c-old-1", "the type old is no longer in the file")]
    assert launches(found) == []


def test_lost_head_is_launched_anew_and_workers_stay() -> None:
    found = plan.machines(config(small=(2, 4)), [node("small", 1), node("small", 2)])
    assert launches(found) == [("head", 1)]
    assert endings(found) == []


def test_machines_on_their_way_out_do_not_count() -> None:
    nodes = [node(*HEAD), node("small", 1, state=NodeState.STOPPING), node("small", 2, state=NodeState.STOPPED)]
    assert launches(plan.machines(config(small=(1, 4)), nodes)) == [("small", 1)]


def test_machines_that_are_just_starting_count() -> None:
    assert not plan.machines(config(small=(1, 4)), [node(*HEAD), node("small", 1, state=NodeState.PENDING)])


def test_initial_workers_come_with_the_first_up_only() -> None:
    wanted = config(4, 3, small=(1, 2), big=(0, 4))
    assert launches(plan.machines(wanted, [])) == [("head", 1), ("small", 2), ("big", 1)]
    assert not plan.machines(wanted, [node(*HEAD), node("small", 1)])
    assert launches(plan.machines(wanted, [node("small", 1)])) == [("head", 1)]


def test_initial_workers_below_the_minimum_change_nothing() -> None:
    assert launches(plan.machines(config(4, 1, small=(2, 4)), [])) == [("head", 1), ("small", 2)]


def test_down_ends_workers_before_the_head() -> None:
    nodes = [node(*HEAD), node("small", 1), node("small", 2)]
    found = plan.teardown(config(small=(1, 4)), nodes, workers_only=False, keep_min_workers=False)
    assert [n.name for n in found] == ["c-small-1", "c-small-2", "c-head-1"]


def test_down_workers_only_leaves_the_head() -> None:
    found = plan.teardown(config(small=(1, 4)), [node(*HEAD), node("small", 1)], workers_only=True, keep_min_workers=False)
    assert [n.name for n in found] == ["c-small-1"]


def test_down_keep_min_workers_leaves_the_head_and_the_oldest_of_each_minimum() -> None:
    nodes = [node(*HEAD), node("small", 1, 9), node("small", 2, 1), node("big", 1), node("old", 1)]
    found = plan.teardown(config(small=(1, 4), big=(0, 4)), nodes, workers_only=False, keep_min_workers=True)
    assert [n.name for n in found] == ["c-big-1", "c-old-1", "c-small-1"]


def test_of_declared_hosts_the_last_in_the_file_go() -> None:
    hosts = [node("small", number) for number in (3, 1, 2)]
    nodes = [node(*HEAD), node("small", 1, 1), node("small", 2, 2), node("small", 3, 3)]
    assert endings(plan.machines(config(small=(0, 2)), nodes, hosts)) == [("c-small-2", "small has at most 2")]
    kept = plan.teardown(config(small=(1, 4)), nodes, hosts, workers_only=False, keep_min_workers=True)
    assert [n.name for n in kept] == ["c-small-1", "c-small-2"]


def test_a_declared_host_of_another_type_now_is_made_anew_and_no_other_is_touched() -> None:
    nodes = [node(*HEAD), node("small", 1), node("small", 2), node("big", 3)]
    hosts = [nodes[0], nodes[1], replace(nodes[2], type="big"), nodes[3]]
    found = plan.machines(config(small=(1, 1), big=(2, 2)), nodes, hosts)
    assert [(ending.node.name, ending.reason, ending.becomes) for ending in found.endings] == [
        ("c-small-2", "it is of the type big now", "big")
    ]
    assert launches(found) == [("big", 1)]


# ---- what holds for every file and every listing
@st.composite
def clusters(draw: st.DrawFn) -> tuple[ClusterConfig, list[Node]]:
    total = draw(st.integers(0, 6))
    types: dict[str, tuple[int, int]] = {}
    left = total
    for name in ("a", "b"):
        low = draw(st.integers(0, left))
        left -= low
        types[name] = (low, draw(st.integers(low, 7)))
    kinds = draw(st.lists(st.sampled_from(["a", "b", "gone"]), max_size=12))
    workers = [node(kind, n, draw(st.integers(0, 3)), draw(st.sampled_from(NodeState))) for n, kind in enumerate(kinds)]
    head = [node(*HEAD)] if draw(st.booleans()) else []
    return config(total, draw(st.integers(0, 8)), **types), [*head, *workers]


def after(found: plan.Machines, nodes: list[Node]) -> list[Node]:
    """The listing once the plan was carried out."""
    gone = {ending.node.id for ending in found.endings}
    new = [node(launch.type, 100 + n, 9.0) for launch in found.launches for n in range(launch.count)]
    return [n for n in nodes if n.id not in gone] + new


@given(clusters())
def test_one_up_is_enough(cluster: tuple[ClusterConfig, list[Node]]) -> None:
    wanted, nodes = cluster
    assert not plan.machines(wanted, after(plan.machines(wanted, nodes), nodes))


@given(clusters())
def test_up_never_ends_what_no_maximum_forbids_nor_exceeds_one(cluster: tuple[ClusterConfig, list[Node]]) -> None:
    wanted, nodes = cluster
    found = plan.machines(wanted, nodes)
    counts = Counter(n.type for n in after(found, nodes) if n.state.alive and n.kind is Kind.WORKER)
    assert sum(counts.values()) <= wanted.max_workers
    assert all(count <= wanted.max_workers_of(name) for name, count in counts.items())
    assert all(ending.node.kind is Kind.WORKER for ending in found.endings), "a head is never ended by `up`"
    before = Counter(n.type for n in nodes if n.state.alive and n.kind is Kind.WORKER)
    fits = sum(before.values()) <= wanted.max_workers and all(
        name in wanted.worker_types and count <= wanted.max_workers_of(name) for name, count in before.items()
    )
    assert not (fits and found.endings)


@given(clusters())
def test_each_minimum_is_there_after_up_unless_machines_that_may_stay_fill_the_cluster(
    cluster: tuple[ClusterConfig, list[Node]],
) -> None:
    wanted, nodes = cluster
    alive = [n for n in after(plan.machines(wanted, nodes), nodes) if n.state.alive]
    assert sum(n.kind is Kind.HEAD for n in alive) == 1
    counts = Counter(n.type for n in alive if n.kind is Kind.WORKER)
    if sum(counts.values()) < wanted.max_workers:
        assert all(counts[name] >= wanted.min_workers_of(name) for name in wanted.worker_types)


@given(clusters(), st.data())
def test_one_up_is_enough_for_declared_hosts_whatever_they_were_before(
    cluster: tuple[ClusterConfig, list[Node]], data: st.DataObject
) -> None:
    wanted, nodes = cluster
    types = {n.name: data.draw(st.sampled_from([*wanted.worker_types])) for n in nodes if n.kind is Kind.WORKER}
    declared = [replace(n, type=types.get(n.name, n.type)) for n in nodes]
    found = plan.machines(wanted, nodes, declared)
    back = [replace(ending.node, type=ending.becomes) for ending in found.endings if ending.becomes]
    room = Counter({launch.type: launch.count for launch in found.launches})
    returned = [n for n in back if (room.subtract([n.type]), room[n.type] >= 0)[1]]
    gone = {ending.node.id for ending in found.endings}
    new = [node(launch.type, 100 + n, 9.0) for launch in found.launches for n in range(max(0, room[launch.type]))]
    assert not plan.machines(wanted, [*(n for n in nodes if n.id not in gone), *returned, *new], declared)
