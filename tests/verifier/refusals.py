# SPDX-License-Identifier: Apache-2.0
"""What has no place could have none."""

from __future__ import annotations

from rayctl.gcs.view import Demand
from rayctl.planner.model import Answer

from .answers import answered, requests
from .case import Case, Found
from .demands import shown
from .limits import may_be_launched
from .lots import Lot


def no_room_is_forgotten(case: Case) -> Found:
    """Nothing of a demand without a place fits beside what the plan puts on the machines."""
    for number, (demand, answer) in enumerate(answered(case)):
        place = next((lot for lot in case.with_room if lot.has_room_for(demand)), None) if answer.unplaced > 0 else None
        if place is not None:
            yield f"demand {number}, {shown(demand.shape)}, has no place for {answer.unplaced}, and {place.name} has room"


def refusals_are_true(case: Case) -> Found:
    """What is never to be has no machine it fits on, what waits has none that may be launched."""
    for number, (demand, answer) in enumerate(answered(case)):
        yield from (f"demand {number}, {shown(demand.shape)}, {fault}" for fault in faults_of_refusal(case, demand, answer))
    for number, (demand, answer) in enumerate(requests(case)):
        yield from (f"request {number}, {shown(demand.shape)}, {fault}" for fault in faults_of_refusal(case, demand, answer))


def faults_of_refusal(case: Case, demand: Demand, answer: Answer) -> Found:
    if answer.never > 0:
        types = [name for name, kind in case.types.items() if kind.max_workers > 0]
        able = able_to_hold(demand, [case.lot_of_type(name, 1) for name in types] + case.existing)
        yield from (f"is never to be, and {name} could hold it" for name in able[:1])
    if answer.waiting > 0:
        able = able_to_hold(demand, [case.lot_of_type(name, 1) for name in case.types if may_be_launched(case, name)])
        yield from (f"waits, and {name} may be launched" for name in able[:1])


def able_to_hold(demand: Demand, lots: list[Lot]) -> list[str]:
    return [lot.name for lot in lots if lot.could_hold(demand)]
