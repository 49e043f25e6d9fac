# SPDX-License-Identifier: Apache-2.0
"""What is said of `request_resources()` is possible."""

from __future__ import annotations

from rayctl.gcs.view import Demand

from .answers import requests
from .case import Case, Found
from .demands import SLACK, amount_of, amounts, likes, room, shown, summed, times
from .lots import Lot, Stage


def requests_fit_in_total(case: Case) -> Found:
    """What is said of requests is possible; whether it can be packed as well is not looked at."""
    here = [lot for lot in case.existing if lot.stage is Stage.HERE]
    coming = [lot for lot in case.existing if lot.stage is Stage.COMING]
    launched = [case.lot_of_type(name, count) for name, count in case.launched.items() if count > 0]
    answers = list(requests(case))
    yield from overbooked("joined nodes", here, [(demand, answer.here) for demand, answer in answers])
    yield from overbooked("pending nodes", coming, [(demand, answer.coming) for demand, answer in answers])
    yield from overbooked("launched machines", launched, [(demand, answer.launched) for demand, answer in answers])


def overbooked(what: str, lots: list[Lot], placed: list[tuple[Demand, int]]) -> Found:
    """Requests that cannot be all on these machines, empty as they may be."""
    if any(lot.total is None for lot in lots):
        return
    for name, amount in summed(placed).items():
        have = sum((room(lot.total or {}, name) + SLACK) * lot.count for lot in lots)
        if amount > max(0, have):
            yield f"requests for {amount_of(amount)} {name} are said to fit on {what}, which have {amount_of(have)}"
    for demand, count in placed:
        most = capacity_for(demand, lots, count)
        if most < count:
            yield f"{count} requests for {shown(demand.shape)} are said to fit on {what}, where {most} fit at most"


def capacity_for(demand: Demand, lots: list[Lot], most: int) -> int:
    """How many of the demand fit on the machines, were they empty."""
    need = amounts(demand.shape)
    return sum(times(need, lot.total or {}, most) * lot.count for lot in lots if likes(demand, lot.labels))
