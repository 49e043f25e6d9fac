# SPDX-License-Identifier: Apache-2.0
"""What is ended, why, how, and not too much of it."""

from __future__ import annotations

import math
from collections import Counter

from rayctl.gcs.view import Demand
from rayctl.planner.model import Answer, How, Node, NodeType, Removal, Status, Why

from .answers import answered, requests
from .case import Case, Found
from .demands import shown

OUTDATED_ONE_IN = 10
SPARING = frozenset({Why.IDLE, Why.OUTDATED, Why.TYPE_MAXIMUM, Why.MAXIMUM})  # reasons that give way to min_workers


def removals_are_allowed(case: Case) -> Found:
    """Only workers of ours are removed, once, in the way that their state asks for."""
    yield from (f"{node} is removed {n} times" for node, n in Counter(one.node for one in case.plan.removals).items() if n > 1)
    for removal in case.plan.removals:
        node = case.nodes.get(removal.node)
        if node is None:
            yield f"{removal.node} is removed and does not exist"
        else:
            yield from (f"{node.id} {fault}" for fault in faults_of_removal(node, removal))
            yield from (f"{node.id} {fault}" for fault in faults_of_why(case, node, removal))


def faults_of_removal(node: Node, removal: Removal) -> Found:
    faults = {
        "is the head and removed": node.is_head,
        "is not ours and removed": not node.ours,
        "is draining already and removed": node.status is Status.DRAINING,
        f"is removed as a {removal.type} and is a {node.type}": removal.type != node.type,
        "is removed for no reason": not removal.reason,
        "has not joined and is not terminated": node.status is Status.PENDING and removal.how is not How.TERMINATE,
        "has joined and is terminated": node.status is not Status.PENDING and removal.how is How.TERMINATE,
    }
    yield from (fault for fault, holds in faults.items() if holds)


def faults_of_why(case: Case, node: Node, removal: Removal) -> Found:
    if (removal.why is Why.TYPE_REMOVED) is (node.type in case.types):
        yield f"is removed because of '{removal.why}', and its type is {'still there' if node.type in case.types else 'gone'}"
    if removal.why is Why.OUTDATED and not node.outdated:
        yield "is removed as outdated and is not"
    if removal.why is Why.IDLE:
        yield from faults_of_idle_removal(case, node, removal)


def faults_of_idle_removal(case: Case, node: Node, removal: Removal) -> Found:
    kind = case.types.get(node.type)
    timeout = case.policy.idle_timeout_s if kind is None or kind.idle_timeout_s is None else kind.idle_timeout_s
    if node.status is not Status.IDLE:
        yield f"is removed as idle and is {node.status}"
    if timeout is None or node.idle_s < timeout:
        yield f"is removed after {node.idle_s:g} s without work, and its time is {timeout} s"
    if removal.how is not How.DRAIN_IDLE:
        yield f"is removed as idle by '{removal.how}'"


def idle_nodes_are_of_no_use(case: Case) -> Found:
    """What is removed for being idle could serve nothing that waits for other machines, or for ever."""
    work = [demand for demand, answer in answered(case) if wants_machines(demand, answer)]
    unplaced = [demand for demand, answer in requests(case) if answer.unplaced > 0]
    for lot in case.given_up:
        useful = [one for one in work if lot.has_room_for(one)] + [one for one in unplaced if lot.could_hold(one)]
        yield from (f"{lot.name} is removed as idle and could hold {shown(demand.shape)}" for demand in useful)


def wants_machines(demand: Demand, answer: Answer) -> bool:
    """Whether any node would help; one that a later selector takes may be declined for a new one of an earlier selector."""
    return answer.unplaced > 0 or (answer.launched + answer.held_back > 0 and len(demand.selectors) <= 1)


def gone_types_are_removed(case: Case) -> Found:
    for node in case.workers:
        if node.type not in case.types and node.status is not Status.DRAINING and node.id not in case.removed:
            yield f"{node.id} is of the type {node.type}, which is gone, and stays"


def removals_spare_the_minimum(case: Case) -> Found:
    """Nothing takes a type below its min_workers, but for outdated nodes whose replacements have no room before they go."""
    whys = Counter((removal.type, removal.why) for removal in case.plan.removals)
    for name, kind in case.types.items():
        excused = whys[name, Why.OUTDATED] if is_full(case, kind) and not whys[name, Why.IDLE] else 0
        sparing = sum(whys[name, why] for why in SPARING) - excused
        staying = case.staying(name)
        if sparing > 0 and staying + excused < min(kind.min_workers, kind.max_workers):
            yield f"{sparing} of {name} are removed, {staying} stay, and its min_workers is {kind.min_workers}"


def is_full(case: Case, kind: NodeType) -> bool:
    """Whether the machines that are there leave no room for one more of the type."""
    return case.alive[kind.name] >= kind.max_workers or len(case.workers) >= case.policy.max_workers


def removals_for_maximums_are_no_more_than_needed(case: Case) -> Found:
    whys = Counter((removal.why, removal.type) for removal in case.plan.removals)
    staying = Counter(node.type for node in case.workers if node.status is not Status.DRAINING)
    for name, kind in case.types.items():
        over = max(0, staying[name] - kind.max_workers)
        if whys[Why.TYPE_MAXIMUM, name] > over:
            yield f"{whys[Why.TYPE_MAXIMUM, name]} of {name} are removed for its max_workers, and {over} are too many"
    over = max(0, staying.total() - case.policy.max_workers)
    removed = sum(count for (why, _), count in whys.items() if why is Why.MAXIMUM)
    if removed > over:
        yield f"{removed} are removed for max_workers, and {over} are too many"


def outdated_nodes_go_by_and_by(case: Case) -> Found:
    draining = sum(node.status is Status.DRAINING for node in case.workers)
    outdated = sum(removal.why is Why.OUTDATED for removal in case.plan.removals)
    most = max(1, math.ceil(len(case.workers) / OUTDATED_ONE_IN))
    if outdated > 0 and draining + outdated > most:
        yield f"{outdated} outdated nodes are removed while {draining} are draining, and {most} at a time is allowed"
