# SPDX-License-Identifier: Apache-2.0
"""All bundles of a gang have a place that its strategy allows, or none has."""

from __future__ import annotations

from collections import Counter

from rayctl.gcs.view import Gang
from rayctl.planner.model import Answer

from .answers import all_gangs
from .case import Case, Found, new_machine, stage_of
from .lots import Stage
from .placing import unusable


def gangs_have_places(case: Case) -> Found:
    """All bundles of a gang have a place that takes them, or none has."""
    for number, (gang, places, answer) in enumerate(all_gangs(case)):
        if (places is None) is not (answer.unplaced > 0):
            yield f"gang {number} has {'no places' if places is None else 'places'} and {answer.unplaced} unplaced"
        if places is not None:
            yield from (f"gang {number} {fault}" for fault in faults_of_places(case, gang, places))
            yield from (f"gang {number} {fault}" for fault in faults_of_strategy(case, gang, places))
            yield from (f"gang {number} {fault}" for fault in faults_of_stage(case, places, answer))


def faults_of_places(case: Case, gang: Gang, places: tuple[str, ...]) -> Found:
    bundles = sum(bundle.count for bundle in gang.bundles)
    if len(places) != bundles:
        yield f"has {len(places)} places for {bundles} bundles"
    for place in dict.fromkeys(places):
        if place in case.nodes or new_machine(place) is None:
            yield from (f"is on {place}, which {why}" for why in unusable(case, place))


def faults_of_strategy(case: Case, gang: Gang, places: tuple[str, ...]) -> Found:
    if gang.strategy == "STRICT_PACK" and len(set(places)) > 1:
        yield "is STRICT_PACK and on several nodes"
    if gang.strategy == "STRICT_SPREAD":
        yield from (f"is STRICT_SPREAD and has {n} bundles on {place}" for place, n in Counter(places).items() if n > 1)
        taken = [place for place in dict.fromkeys(places) if place in case.nodes and gang.group_id in case.nodes[place].groups]
        yield from (f"is STRICT_SPREAD and has a bundle on {place} already" for place in taken)


def faults_of_stage(case: Case, places: tuple[str, ...], answer: Answer) -> Found:
    """A gang is as far as its last bundle's machine is."""
    stages = {stage_of(case, place) for place in places}
    last = Stage.NEW if Stage.NEW in stages else Stage.COMING if Stage.COMING in stages else Stage.HERE
    said = {Stage.HERE: answer.here, Stage.COMING: answer.coming, Stage.NEW: answer.launched + answer.held_back}
    if not answer.unplaced and said[last] != 1:
        yield f"is on machines of which the last is {last}, and the answer is {said}"
