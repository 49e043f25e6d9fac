# SPDX-License-Identifier: Apache-2.0
"""The decision: from a snapshot to a plan. Each step builds on what the steps before it have settled.

1. Nodes that must go are left out: removed types, above a maximum, a few of the outdated.
2. Each type gets its `min_workers`, all at once.
3. `request_resources()` gets machines that hold it in total, whatever runs on them.
4. Placement groups get their places, then queued work gets what is left; see `rounds`.
5. The rule of Ray's first autoscaler adds workers, where the file asks for it.
6. `upscaling_speed` holds back machines for queued work, and nothing else.
7. Idle nodes that nothing needs go.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rayctl.planner import headroom, outcome, removals
from rayctl.planner.launches import Launches
from rayctl.planner.model import Cause, Node, NodeType, Plan, Snapshot, Status
from rayctl.planner.parts import Asked, Decided, Part, part


def plan(snapshot: Snapshot) -> Plan:
    """What to do now. The same snapshot gives the same plan, in whatever order its parts come."""
    policy = replace(snapshot.policy, types=learnt(snapshot))
    snapshot = replace(snapshot, policy=policy)
    forced = removals.forced(policy, snapshot.nodes)
    staying = [node for node in snapshot.nodes if node.id not in forced.going] if forced.going else snapshot.nodes
    launches = Launches.within(policy, snapshot.nodes, snapshot.setbacks)
    launches.minimums(staying, forced.replacements)
    requested = _requested(snapshot, staying, launches)
    work = _work(snapshot, staying, launches)
    surplus = _headroom(snapshot, staying, work, launches)
    held = launches.held_back(policy.upscaling_speed, snapshot.nodes)
    needed = work.seating.needed | requested.seating.needed | _useful(snapshot, work)
    going = forced.going | removals.idle(policy, staying, needed, surplus)
    return outcome.plan(Decided(snapshot, going, forced.waits, launches, held, requested, work))


def learnt(snapshot: Snapshot) -> tuple[NodeType, ...]:
    """The types by name; what a type does not say of its resources is what the least of its nodes has."""
    silent = {node_type.name for node_type in snapshot.policy.types if not node_type.resources}
    totals: dict[str, list[Mapping[str, float]]] = defaultdict(list)
    for node in snapshot.nodes if silent else ():
        if node.type in silent and node.total:
            totals[node.type].append(node.total)
    types = sorted(snapshot.policy.types, key=lambda node_type: node_type.name)
    return tuple(replace(t, resources=_least(totals[t.name])) if t.name in totals else t for t in types)


def _least(totals: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = set.intersection(*(set(total) for total in totals))
    return {name: min(total[name] for total in totals) for name in sorted(names)}


def _requested(snapshot: Snapshot, nodes: Sequence[Node], launches: Launches) -> Part:
    """`request_resources()` is about what the cluster has, used or not."""
    found = part(snapshot, Asked.of(snapshot.requested, ()), nodes, launches, totals=True)
    for counts in found.added.values():
        launches.add_all(counts, Cause.REQUESTED)
    _learn(snapshot, found, launches, Cause.REQUESTED)
    return found


def _work(snapshot: Snapshot, nodes: Sequence[Node], launches: Launches) -> Part:
    """Placement groups and queued work, on what is free."""
    found = part(snapshot, Asked.of(snapshot.pending, snapshot.gangs), nodes, launches)
    for cause, counts in found.added.items():
        launches.add_all(counts, cause)
    _learn(snapshot, found, launches, Cause.DEMAND if any(found.settled.left) else Cause.GANG)
    return found


def _learn(snapshot: Snapshot, found: Part, launches: Launches, cause: Cause) -> None:
    """Launch one of each type of which nothing is known, where it might hold what has no place."""
    unknown = [kind for kind, node_type in enumerate(launches.types) if not node_type.resources]
    items = found.without_place() if unknown else []
    there = {node.type for node in snapshot.nodes}
    for kind in unknown:
        likes = any(not item.pinned and item.depth(found.fleet.kinds[kind].fulfils) is not None for item in items)
        if likes and launches.types[kind].name not in there and not launches.of(kind):
            launches.add(kind, 1, cause)


def _headroom(snapshot: Snapshot, nodes: Sequence[Node], work: Part, launches: Launches) -> int | None:
    """Add what the rule of Ray's first autoscaler wants; how many workers are above it, None without the rule."""
    policy = snapshot.policy
    if policy.utilization is None:
        return None
    wanted = headroom.target(policy.utilization, policy, snapshot.nodes, queued=_queued(snapshot, work))
    kinds = {node_type.name: kind for kind, node_type in enumerate(launches.types)}
    workers = sum(node.worker and node.status is not Status.DRAINING for node in nodes) + sum(map(launches.of, kinds.values()))
    room = {name: launches.room[kind] for name, kind in kinds.items()}
    last = {name for name in kinds if name in snapshot.setbacks}
    for name, count in headroom.spread(wanted - workers, nodes, policy, room, last).items():
        launches.add(kinds[name], count, Cause.UTILIZATION)
    return max(0, workers - wanted)


def _queued(snapshot: Snapshot, work: Part) -> bool:
    """Whether any work waits that a node could ever hold; what can never be must not call for nodes."""
    wishes = work.task.wishes
    lefts = zip(snapshot.pending, work.settled.left, wishes, strict=False)
    gangs = ([wishes[index].tiers for index, _ in bundles.items] for bundles in work.asked.gangs)
    return any(left < demand.count or (left and wish.tiers) for demand, left, wish in lefts) or any(map(all, gangs))


def _useful(snapshot: Snapshot, work: Part) -> set[str]:
    """Idle nodes that could hold work which has no place on a node yet."""
    late = {index for bin in work.settled.bins if bin.source < 0 for index, _ in bin.holds}
    items = list(dict.fromkeys([*(work.asked.items[index] for index in sorted(late)), *work.without_place()]))
    idle = [node for node in snapshot.nodes if node.status is Status.IDLE and node.worker] if items else []
    space = work.asked.space
    return {node.id for node in idle if space.could_hold(space.seen(node, node.available), items)}
