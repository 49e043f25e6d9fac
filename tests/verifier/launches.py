# SPDX-License-Identifier: Apache-2.0
"""Machines are launched for causes that are there."""

from __future__ import annotations

from collections import Counter

from rayctl.planner.model import Cause

from .case import GROUP_LABEL, Case, Found
from .lots import size_of_type


def launches_make_sense(case: Case) -> Found:
    for launch in case.plan.launches:
        if launch.type not in case.types:
            yield f"{launch.type} is launched and is no type of the policy"
        if launch.count < 1:
            yield f"{launch.count} of {launch.type} are launched"
        if sum(launch.causes.values()) != launch.count or min(launch.causes.values(), default=0) < 0:
            yield f"{launch.count} of {launch.type} are launched for {sum(launch.causes.values())} causes"
        if not launch.reason:
            yield f"{launch.type} is launched for no reason"


def launches_have_their_cause(case: Case) -> Found:
    """Nothing is launched for a cause that is not there, and not more than is missing."""
    snapshot = case.snapshot
    there = {
        Cause.REQUESTED: bool(snapshot.requested),
        Cause.GANG: bool(snapshot.gangs),
        Cause.DEMAND: bool(snapshot.pending),
        Cause.UTILIZATION: case.policy.utilization is not None,
    }
    for name in case.launched.keys() & case.types.keys():
        causes = causes_of(case, name)
        yield from (f"{name} is launched for {cause}, and there is none" for cause in causes if not there.get(cause, True))
        missing = max(0, case.types[name].min_workers - case.staying(name))
        if causes[Cause.MINIMUM] > missing:
            yield f"{causes[Cause.MINIMUM]} of {name} are launched for its min_workers, of which {missing} are missing"


def causes_of(case: Case, name: str) -> Counter[Cause]:
    """How many machines of a type are launched for which cause; causes of no machine are left out."""
    found: Counter[Cause] = Counter()
    for launch in case.plan.launches:
        if launch.type == name:
            found.update(launch.causes)
    return +found


def launches_for_work_hold_some(case: Case) -> Found:
    """A machine that is launched for queued work or a gang holds something, unless nobody knows yet what it could hold."""
    busy: Counter[str] = Counter()
    for lot in case.coming_up:
        busy[lot.labels[GROUP_LABEL]] += lot.count if lot.held else 0
    for name in case.launched:
        causes = causes_of(case, name)
        wanted = causes[Cause.DEMAND] + causes[Cause.GANG]
        if wanted > busy[name] and size_of_type(case.snapshot, case.types, name) is not None:
            yield f"{wanted} of {name} are launched for queued work and gangs, and {busy[name]} new ones hold anything"
