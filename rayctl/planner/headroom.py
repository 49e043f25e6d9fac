# SPDX-License-Identifier: Apache-2.0
"""The rule of Ray's first autoscaler (Ray 0.8.7, `autoscaler.py`): keep a part of the cluster free.

A node is in use as far as its busiest resource is; what all nodes, the head included, are in use divided by
`target_utilization_fraction` is how many nodes there should be. While work is queued every node that has some counts
as full, and one more.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set

from rayctl.gcs.view import plain_resources
from rayctl.planner.costs import costs
from rayctl.planner.model import Node, Policy, Status, Utilization

_LEFT_OUT = ("object_store_memory",)  # filled by caches, not by work
_WOBBLE = 1e-3  # of a resource: less is not in use


def used(node: Node) -> float:
    """Which part of its busiest resource a node has in use, 0 to 1."""
    parts = [
        (amount - node.available.get(name, 0)) / amount
        for name, amount in plain_resources(node.total).items()
        if amount > 0 and name not in _LEFT_OUT
    ]
    busiest = max(parts, default=0.0)
    return min(1.0, busiest) if busiest > _WOBBLE else 0.0


def target(rule: Utilization, policy: Policy, nodes: Sequence[Node], *, queued: bool) -> int:
    """How many workers there should be, beside the head and nodes that joined by themselves."""
    uses = [used(node) for node in nodes if node.status in (Status.RUNNING, Status.IDLE)]
    in_use = sum(uses)
    if queued:
        in_use = min(sum(use > 0 for use in uses) + 1, max(1, len(uses)))
    others = sum(not node.worker for node in nodes if node.status in (Status.RUNNING, Status.IDLE))
    workers = math.ceil(in_use / rule.fraction - 1e-6) - max(1, others)
    if rule.aggressive and in_use > 0:
        workers = max(workers, rule.initial_workers)
    least = sum(node_type.min_workers for node_type in policy.types)
    return min(policy.max_workers, max(least, workers))


def spread(missing: int, nodes: Iterable[Node], policy: Policy, room: Mapping[str, int], last: Set[str]) -> Counter[str]:
    """Of which types the missing workers are: of those whose nodes are the busiest, and then of the cheapest.

    Types in `last` come last: they failed.
    """
    assert policy.utilization
    fraction, cost = policy.utilization.fraction, costs(policy)
    uses, counts = dict.fromkeys(room, 0.0), dict.fromkeys(room, 0)
    for node in nodes:
        if node.worker and node.type in room and node.status is not Status.DRAINING:
            counts[node.type] += 1
            uses[node.type] += used(node) if node.status is not Status.PENDING else 0.0
    short = {name: math.ceil(uses[name] / fraction - 1e-6) - counts[name] for name in room}
    found: Counter[str] = Counter()
    busiest = sorted(room, key=lambda name: (name in last, -short[name], name))
    for name in busiest:
        found[name] = max(0, min(short[name], missing, room[name])) if name not in last else 0
        missing -= found[name]
    for name in sorted(room, key=lambda name: (name in last, cost[name], name)):
        more = max(0, min(missing, room[name] - found[name]))
        found[name] += more
        missing -= more
    return +found
