# SPDX-License-Identifier: Apache-2.0
"""The plan, put together from what was decided, with a reason for everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rayctl.gcs.view import Demand
from rayctl.planner.answers import Obstacles, launched_now, tally
from rayctl.planner.model import Answer, Cause, Launch, Plan, Status
from rayctl.planner.parts import Decided, Part
from rayctl.planner.refusals import Refusals
from rayctl.planner.wording import demand, gang, listed

Places = tuple[tuple[str, ...] | None, ...]


def plan(decided: Decided) -> Plan:
    """The plan of a decision."""
    places = _places(decided.work)
    snapshot = decided.snapshot
    return Plan(
        launches=_launches(decided, places),
        removals=tuple(sorted(decided.going.values(), key=lambda removal: (removal.why.value, removal.type, removal.node))),
        pending=_answers(decided, snapshot.pending, decided.work),
        gangs=_gang_answers(decided, places),
        requested=_answers(decided, snapshot.requested, decided.requested),
        placements=tuple(decided.work.seating.placements),
        places=places,
        waits=decided.waits + _waits(decided),
    )


def _places(work: Part) -> Places:
    """Per gang the node of each bundle, in the order of the bundles."""
    found: list[tuple[str, ...] | None] = []
    for (asked, items), seated in zip(work.asked.gangs, work.settled.seats.seated, strict=True):
        places = [place for index, _ in items for place in work.seating.places[index]]
        if asked.strategy == "STRICT_PACK":
            places *= sum(bundle.count for bundle in asked.bundles)
        found.append(tuple(places) if seated else None)
    return tuple(found)


def _waits(decided: Decided) -> tuple[str, ...]:
    speed = decided.snapshot.policy.upscaling_speed
    slow = [
        f"{count} more {node_type.name} wait for those that are pending: upscaling_speed is {speed:g}"
        for node_type, count in zip(decided.launches.types, decided.held, strict=True)
        if count
    ]
    failed = [
        f"{name} waits {setback.retry_in_s:.0f} s after a failed launch: {setback.reason}"
        for name, setback in sorted(decided.snapshot.setbacks.items())
        if setback.retry_in_s > 0
    ]
    return (*slow, *failed)


def _launches(decided: Decided, places: Places) -> tuple[Launch, ...]:
    found = []
    for kind, node_type in enumerate(decided.launches.types):
        causes = {cause: counts[kind] for cause, counts in decided.launches.counts.items() if counts[kind]}
        if decided.held[kind]:
            causes[Cause.DEMAND] -= decided.held[kind]
        causes = {cause: count for cause, count in causes.items() if count}
        if causes:
            reason = "; ".join(_reason(decided, places, cause, node_type.name) for cause in causes)
            found.append(Launch(node_type.name, sum(causes.values()), causes, reason))
    return tuple(found)


def _reason(decided: Decided, places: Places, cause: Cause, name: str) -> str:
    policy = decided.snapshot.policy
    match cause:
        case Cause.MINIMUM:
            return f"min_workers is {next(t.min_workers for t in policy.types if t.name == name)}"
        case Cause.REPLACEMENT:
            return "outdated nodes go when these have joined"
        case Cause.REQUESTED:
            return f"request_resources() asks for {listed(map(demand, decided.snapshot.requested))}"
        case Cause.GANG:
            return f"placement groups: {listed(_gangs_on(decided, places, name)) or _learning(name)}"
        case Cause.UTILIZATION:
            return f"target_utilization_fraction is {policy.utilization.fraction if policy.utilization else 1:g}"
        case Cause.DEMAND:
            return f"queued work: {listed(_work_on(decided, name)) or _learning(name)}"


def _learning(name: str) -> str:
    return f"what {name} has is learnt from the first one"


def _gangs_on(decided: Decided, places: Places, name: str) -> list[str]:
    counts = Counter(
        gang(asked)
        for asked, own in zip(decided.snapshot.gangs, places, strict=True)
        if own and any(place.startswith(f"new:{name}:") for place in own)
    )
    return [f"{text}{f' ({count} times)' if count > 1 else ''}" for text, count in counts.items()]


def _work_on(decided: Decided, name: str) -> list[str]:
    """What is on the machines of a type that are launched now, those held back left out."""
    counts: Counter[int] = Counter()
    for placement in decided.work.seating.placements:
        if placement.type == name and not placement.nodes:
            for index, each in placement.holds:
                counts[index] += each * launched_now(placement, decided.launched)
    counts = +counts
    return [demand(decided.snapshot.pending[index], count) for index, count in counts.items()]


def _answers(decided: Decided, asked: Sequence[Demand], part: Part) -> tuple[Answer, ...]:
    obstacles = Obstacles(decided.snapshot, part.asked.space, part.fleet, decided.launches)
    found = tally(asked, part.seating.placements, decided.snapshot.nodes, decided.launched)
    for index, left in enumerate(part.settled.left[: len(asked)]):
        if left:
            item = part.task.items[index]
            if obstacles.ever(item):
                found[index] = replace(found[index], waiting=left, why=obstacles.now([item]))
            else:
                found[index] = replace(found[index], never=left, why=obstacles.never(item))
    return tuple(found)


def _gang_answers(decided: Decided, places: Places) -> tuple[Answer, ...]:
    work = decided.work
    coming = {node.id for node in decided.snapshot.nodes if node.status is Status.PENDING}
    obstacles = Obstacles(decided.snapshot, work.asked.space, work.fleet, decided.launches)
    refusals = Refusals(obstacles, work.task)
    return tuple(
        refusals.answer(bundles) if own is None else _seated(own, coming)
        for bundles, own in zip(work.asked.gangs, places, strict=True)
    )


def _seated(places: Sequence[str], coming: set[str]) -> Answer:
    """A gang is where the last of its bundles is."""
    if any(place.startswith("new:") for place in places):
        return Answer(1, launched=1)
    return Answer(1, coming=1) if coming.intersection(places) else Answer(1, here=1)
