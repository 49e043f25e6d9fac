# SPDX-License-Identifier: Apache-2.0
"""Snapshots by chance: strategies for clusters, demand and limits that show the planner in all its moods."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from rayctl.gcs.view import Demand, Gang, LabelRule
from rayctl.planner import Plan, Snapshot
from rayctl.planner.model import Node, NodeType, Policy, Setback, Status, Utilization

GIB = 2**30
NAMES = ("cpu4", "cpu16", "gpu1", "mem8", "odd")
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
RESOURCES = {
    "cpu4": {"CPU": 4.0, "memory": 14.0 * GIB},
    "cpu16": {"CPU": 16.0, "memory": 58.0 * GIB},
    "gpu1": {"CPU": 8.0, "memory": 58.0 * GIB, "GPU": 1.0},
    "mem8": {"CPU": 8.0, "memory": 118.0 * GIB},
    "odd": {"CPU": 3.0, "x": 2.0},
}
PRICES = {"cpu4": 0.17, "cpu16": 0.68, "gpu1": 1.2, "mem8": 0.6, "odd": 0.3}
SHAPES = (
    {"CPU": 1.0}, {"CPU": 2.0}, {"CPU": 3.0, "memory": 4.0 * GIB}, {"CPU": 1.0, "GPU": 1.0}, {"GPU": 0.5}, {"CPU": 0.5},
    {"CPU": 4.0}, {"x": 1.0}, {"CPU": 12.0}, {"memory": 20.0 * GIB}, {"CPU": 100.0}, {"CPU": 0.3333}, {},
)  # fmt: skip
SPOT = (LabelRule("market", ("spot",)),)
NOT_SPOT = (LabelRule("market", ("spot",), negated=True),)
IN_A = (LabelRule("zone", ("a", "c")),)
SELECTORS = ((), (SPOT,), (NOT_SPOT,), (SPOT, NOT_SPOT), (IN_A, ()))


@st.composite
def policies(draw: st.DrawFn, *, limits: bool = True, utilization: bool = False) -> Policy:
    """Policies of one to four types; without `limits` there may be any number of machines, at once."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=0 if limits else 1, max_size=4, unique=True))
    types = tuple(draw(_types(name, limits=limits, unknown=limits)) for name in names)
    least = sum(node_type.min_workers for node_type in types)
    rule = (
        draw(st.builds(Utilization, st.sampled_from((0.5, 0.8, 1.0)), st.integers(0, 3), st.booleans()))
        if utilization
        else None
    )
    return Policy(
        types,
        max_workers=draw(st.integers(least, least + 8)) if limits else 10**6,
        upscaling_speed=draw(st.sampled_from((0.0, 1.0, 100.0))) if limits else 1e9,
        idle_timeout_s=draw(st.sampled_from((None, 60.0))),
        utilization=rule,
    )


@st.composite
def _types(draw: st.DrawFn, name: str, *, limits: bool, unknown: bool) -> NodeType:
    most = draw(st.integers(0, 6)) if limits else 10**6
    return NodeType(
        name,
        {} if unknown and draw(st.integers(0, 9)) == 0 else RESOURCES[name],
        max_workers=most,
        min_workers=min(most, draw(st.sampled_from((0, 0, 1, 2)))),
        labels=draw(st.sampled_from(({}, {"market": "spot"}, {"zone": "a"}, {"market": "on-demand", "zone": "b"}))),
        price=draw(st.sampled_from((PRICES[name], PRICES[name], None, 0.0))),
        priority=draw(st.sampled_from((0, 0, 0, 1))),
        idle_timeout_s=draw(st.sampled_from((None, None, 30.0))),
    )


@st.composite
def _nodes(draw: st.DrawFn, number: int, policy: Policy, groups: tuple[str, ...]) -> Node:
    node_type = draw(st.sampled_from(policy.types or (NodeType("gone", RESOURCES["cpu4"], 0),)))
    gone = draw(st.sampled_from((False,) * 9 + (True,)))
    status = draw(st.sampled_from((Status.RUNNING, Status.RUNNING, Status.IDLE, Status.PENDING, Status.DRAINING)))
    total = dict(node_type.resources or RESOURCES[node_type.name])
    free = draw(st.sampled_from((0.0, 0.25, 0.5, 1.0))) if status is Status.RUNNING else 1.0
    available = {name: float(int(amount * free * 4)) / 4 for name, amount in total.items()}
    joined = status is not Status.PENDING
    return Node(
        id=f"i-{number:03d}",
        type="gone" if gone else node_type.name,
        status=status,
        total=total if joined else {},
        available=available if joined else {},
        idle_s=draw(st.sampled_from((5.0, 45.0, 100.0, 200.0))) if status is Status.IDLE else 0.0,
        labels=node_type.labels if joined else {},
        ours=draw(st.sampled_from((True,) * 9 + (False,))) or not joined,
        outdated=draw(st.sampled_from(("",) * 5 + ("image: a -> b",))),
        groups=frozenset(draw(st.lists(st.sampled_from(groups), max_size=1))) if groups and joined else frozenset(),
    )


HEAD = Node("head", "head", Status.RUNNING, {"CPU": 2.0, "memory": 4.0 * GIB}, {"CPU": 1.0, "memory": 4.0 * GIB}, is_head=True)


def demands(most: int = 12, selectors: bool = True) -> st.SearchStrategy[Demand]:
    """One demand of a shape that may or may not fit anywhere."""
    return st.builds(Demand, st.sampled_from(SHAPES), st.integers(1, most), st.sampled_from(SELECTORS if selectors else ((),)))


@st.composite
def gangs(draw: st.DrawFn, number: int) -> Gang:
    """A placement group of one or two kinds of bundles."""
    bundles = st.builds(Demand, st.sampled_from(SHAPES[:-1]), st.integers(1, 4), st.sampled_from(((), (), (SPOT,), (IN_A,))))
    own = draw(st.lists(bundles, min_size=1, max_size=2, unique_by=repr))
    return Gang(f"{number:032x}", draw(st.sampled_from(STRATEGIES)), tuple(own))


@st.composite
def snapshots(draw: st.DrawFn, *, limits: bool = True, most_nodes: int = 8, utilization: bool = False) -> Snapshot:
    """Whole clusters at one moment."""
    policy = draw(policies(limits=limits, utilization=utilization))
    asked = tuple(draw(gangs(number)) for number in range(draw(st.integers(0, 3))))
    names = tuple(gang.group_id for gang in asked)
    nodes = tuple(draw(_nodes(number, policy, names)) for number in range(draw(st.integers(0, most_nodes))))
    names_of = [node_type.name for node_type in policy.types] or ["cpu4"]
    failed = draw(st.dictionaries(st.sampled_from(names_of), _setbacks(), max_size=1)) if limits else {}
    return Snapshot(
        policy,
        (HEAD, *nodes),
        tuple(draw(st.lists(demands(), max_size=4))),
        asked,
        tuple(draw(st.lists(demands(4, selectors=False), max_size=2))),
        failed,
    )


def _setbacks() -> st.SearchStrategy[Setback]:
    return st.builds(Setback, st.just("no capacity"), st.sampled_from((0.0, 40.0)))


def applied(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The cluster as it is when the plan was carried out: machines launched are pending, what had to go is gone."""
    gone = {removal.node for removal in plan.removals}
    nodes = [node for node in snapshot.nodes if node.id not in gone]
    taken = {node.id for node in snapshot.nodes}
    for launch in plan.launches:
        fresh = (name for number in range(10**6) if (name := f"n-{launch.type}-{number}") not in taken)
        nodes += [Node(next(fresh), launch.type, Status.PENDING) for _ in range(launch.count)]
    return replace(snapshot, nodes=tuple(nodes))


def joined(snapshot: Snapshot) -> Snapshot:
    """What was pending has joined and is idle since a moment."""
    types = {node_type.name: node_type for node_type in snapshot.policy.types}

    def now(node: Node) -> Node:
        if node.status is not Status.PENDING:
            return node
        own = types[node.type]
        return replace(node, status=Status.IDLE, total=own.resources, available=own.resources, labels=own.labels, idle_s=1.0)

    return replace(snapshot, nodes=tuple(map(now, snapshot.nodes)))
