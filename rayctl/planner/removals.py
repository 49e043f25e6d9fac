# SPDX-License-Identifier: Apache-2.0
"""Which nodes have to go, whatever the load is, and which may go because nothing needs them.

What must go gives no room any more, so it is decided before anything is packed; idle nodes are decided last. The head is
never among them, nor a node that is not ours, nor one below a minimum; and no node is emptied to save machines.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field

from rayctl.planner.model import How, Node, NodeType, Policy, Removal, Status, Why

REPLACED_AT_ONCE = 0.1  # of all workers; one at least


@dataclass(frozen=True)
class Forced:
    """What goes because the file says so, by node; what waits for its turn, in words; replacements that must come first."""

    going: dict[str, Removal]
    waits: tuple[str, ...] = ()
    replacements: Mapping[str, int] = field(default_factory=dict)


def forced(policy: Policy, nodes: Iterable[Node]) -> Forced:
    """The nodes of removed types, those above a maximum, and a few of the outdated ones."""
    all_workers = [node for node in nodes if node.worker]
    workers = [node for node in all_workers if node.status is not Status.DRAINING]
    types = {node_type.name: node_type for node_type in policy.types}
    going = {
        node.id: _removal(node, Why.TYPE_REMOVED, f"there is no type {node.type} any more")
        for node in workers
        if node.type not in types
    }
    staying = [node for node in workers if node.id not in going]
    going |= _above_maximum(policy, types, staying)
    if any(node.outdated for node in workers):
        return _with_outdated(policy, all_workers, going)
    return Forced(going)


def _removal(node: Node, why: Why, reason: str) -> Removal:
    how = {Status.PENDING: How.TERMINATE, Status.IDLE: How.DRAIN_IDLE}.get(node.status, How.DRAIN)
    return Removal(node.id, node.type, why, how, reason)


def _least_missed(node: Node) -> tuple[int, float, str]:
    """What has not joined goes first, then what is idle longest."""
    return [Status.PENDING, Status.IDLE, Status.RUNNING].index(node.status), -node.idle_s, node.id


def _above_maximum(policy: Policy, types: Mapping[str, NodeType], workers: Sequence[Node]) -> dict[str, Removal]:
    going: dict[str, Removal] = {}
    by_type = Counter(node.type for node in workers)
    if len(workers) <= policy.max_workers and all(count <= types[name].max_workers for name, count in by_type.items()):
        return going
    for node in sorted(workers, key=_least_missed):
        limit = types[node.type].max_workers
        if by_type[node.type] > limit:
            by_type[node.type] -= 1
            going[node.id] = _removal(node, Why.TYPE_MAXIMUM, f"{node.type} may have {limit} workers at most")
    excess = len(workers) - len(going) - policy.max_workers
    for node in sorted(workers, key=_least_missed):
        if excess > 0 and node.id not in going and by_type[node.type] > types[node.type].min_workers:
            by_type[node.type] -= 1
            excess -= 1
            going[node.id] = _removal(node, Why.MAXIMUM, f"there may be {policy.max_workers} workers at most")
    return going


def _with_outdated(policy: Policy, workers: Sequence[Node], going: dict[str, Removal]) -> Forced:
    """A few of the outdated nodes too. Nodes that come or go already count as being replaced.

    A node that is needed for its type's minimum goes when its replacement is there, or at once where there is no room for one.
    """
    staying = [node for node in workers if node.status is not Status.DRAINING and node.id not in going]
    outdated = sorted((node for node in staying if node.outdated), key=_least_missed)
    few = max(1, math.ceil(len(workers) * REPLACED_AT_ONCE))
    types = {node_type.name: node_type for node_type in policy.types}
    changing = {node.type for node in outdated}
    coming = sum(node.status is Status.PENDING and node.type in changing and not node.outdated for node in staying)
    turn = max(0, few - (len(workers) - len(staying)) - coming)
    counts, there = Counter(node.type for node in staying), Counter(node.type for node in workers)
    replacements: Counter[str] = Counter()
    gone = dict(going)
    for node in outdated[:turn]:
        own = types[node.type]
        full = there[node.type] >= own.max_workers or there.total() >= policy.max_workers
        if counts[node.type] > own.min_workers or full:
            counts[node.type] -= 1
            gone[node.id] = _removal(node, Why.OUTDATED, node.outdated)
        else:
            replacements[node.type] += 1
    rest = len(outdated) - (len(gone) - len(going))
    who = "1 outdated node waits for its" if rest == 1 else f"{rest} outdated nodes wait for their"
    waits = (f"{who} turn: {few} may be on {'its' if few == 1 else 'their'} way at once",) if rest else ()
    return Forced(gone, waits, replacements)


def idle(policy: Policy, nodes: Iterable[Node], needed: Set[str], surplus: int | None = None) -> dict[str, Removal]:
    """What nobody has needed for long, the longest idle first. At most `surplus` of them, where that is given."""
    types = {node_type.name: node_type for node_type in policy.types}
    nodes = list(nodes)
    counts = Counter(node.type for node in nodes if node.worker and node.status is not Status.DRAINING)
    going: dict[str, Removal] = {}
    for node in sorted((node for node in nodes if node.worker and node.status is Status.IDLE), key=_least_missed):
        limit = policy.idle_timeout_s if types[node.type].idle_timeout_s is None else types[node.type].idle_timeout_s
        if limit is None or node.idle_s <= limit or node.id in needed or counts[node.type] <= types[node.type].min_workers:
            continue
        if surplus is not None and len(going) >= surplus:
            break
        counts[node.type] -= 1
        going[node.id] = _removal(node, Why.IDLE, f"idle for {node.idle_s:.0f} s, {node.type} may be for {limit:g} s")
    return going
