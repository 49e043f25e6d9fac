# SPDX-License-Identifier: Apache-2.0
"""Placements name machines that there are, and put there what fits and what their labels allow."""

from __future__ import annotations

from collections import Counter

from rayctl.planner.model import Placement, Status

from .case import Case, Found
from .demands import SLACK, amount_of, likes, shown


def placements_name_machines(case: Case) -> Found:
    """Every node takes work and is named once."""
    named = Counter(node for placement in case.plan.placements for node in placement.nodes)
    for node, count in named.items():
        yield from (f"a placement is on {node}, which {why}" for why in unusable(case, node))
        if count > 1:
            yield f"{node} is in {count} placements"
    for placement in case.plan.placements:
        others = [node for node in placement.nodes if node in case.nodes and case.nodes[node].type != placement.type]
        yield from (f"{node} is not a {placement.type}, as its placement says" for node in others)


def unusable(case: Case, node: str) -> Found:
    """Why nothing can be put on a node."""
    if node not in case.nodes:
        yield "does not exist"
        return
    if case.nodes[node].status is Status.DRAINING:
        yield "is draining"
    if node in case.removed:
        yield "is removed by this plan"


def placements_count_machines(case: Case) -> Found:
    """The numbers of a placement make sense by themselves."""
    for number, placement in enumerate(case.plan.placements):
        if placement.nodes and placement.machines != len(placement.nodes):
            yield f"placement {number} counts {placement.machines} machines and names {len(placement.nodes)}"
        if placement.machines < 1:
            yield f"placement {number} is on {placement.machines} machines"
        yield from (f"placement {number} {fault}" for fault in faults_of_holds(placement, len(case.snapshot.pending)))


def faults_of_holds(placement: Placement, demands: int) -> Found:
    if not placement.holds:
        yield "holds nothing"
    indices = Counter(index for index, _ in placement.holds)
    yield from (f"lists demand {index} {count} times" for index, count in indices.items() if count > 1)
    yield from (f"holds demand {index}, which does not exist" for index in indices if not 0 <= index < demands)
    yield from (f"holds demand {index} {count} times" for index, count in placement.holds if count < 1)


def new_machines_are_numbered(case: Case) -> Found:
    """New machines are of a known type and have numbers of their own, beyond those launched only if some are held back."""
    held_back = any(answer.held_back > 0 for answer in case.answers)
    for name, count in case.new.items():
        if name not in case.types:
            yield f"new machines of {name} are spoken of, which is no type of the policy"
        if count > case.launched[name] and not held_back:
            yield f"{count} new machines of {name} are spoken of, {case.launched[name]} are launched and nothing is held back"
    for name, placements in case.new_placements.items():
        yield from overlaps(name, placements)


def overlaps(name: str, placements: list[Placement]) -> Found:
    """Numbers that two placements of a type share; they come in the order of their first numbers."""
    end = 0
    for placement in placements:
        if placement.first < 0:
            yield f"a placement numbers new machines of {name} from {placement.first}"
        elif placement.first < end:
            yield f"new machines of {name} from number {placement.first} on are in two placements"
        end = max(end, placement.first + placement.machines)


def machines_hold_what_fits(case: Case) -> Found:
    for lot in case.machines:
        for name, left in (lot.free or {}).items():
            load = lot.load.get(name, 0)
            if load > 0 and left < -SLACK:
                yield f"{lot.name} has {amount_of(left + load)} {name} to give and holds demand for {amount_of(load)}"


def machines_have_the_labels(case: Case) -> Found:
    for lot in case.machines:
        for demand, _ in lot.held:
            if not likes(demand, lot.labels):
                yield f"{lot.name} holds {shown(demand.shape)} and none of its selectors takes the labels {dict(lot.labels)}"
