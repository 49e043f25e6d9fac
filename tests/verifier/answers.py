# SPDX-License-Identifier: Apache-2.0
"""Everything asked for has its answer, and the numbers add up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from rayctl.gcs.view import Demand, Gang
from rayctl.planner.model import Answer

from .case import Case, Found, stage_of
from .lots import Stage


def answered(case: Case) -> Iterator[tuple[Demand, Answer]]:
    return zip(case.snapshot.pending, case.plan.pending, strict=False)


def requests(case: Case) -> Iterator[tuple[Demand, Answer]]:
    return zip(case.snapshot.requested, case.plan.requested, strict=False)


def all_gangs(case: Case) -> Iterator[tuple[Gang, tuple[str, ...] | None, Answer]]:
    return zip(case.snapshot.gangs, case.plan.places, case.plan.gangs, strict=False)


def there_is_an_answer_to_everything(case: Case) -> Found:
    snapshot, plan = case.snapshot, case.plan
    yield from differs("answers to pending demand", len(plan.pending), len(snapshot.pending))
    yield from differs("answers to gangs", len(plan.gangs), len(snapshot.gangs))
    yield from differs("answers to requests", len(plan.requested), len(snapshot.requested))
    yield from differs("places of gangs", len(plan.places), len(snapshot.gangs))


def differs(what: str, found: int, wanted: int) -> Found:
    if found != wanted:
        yield f"there are {found} {what}, not {wanted}"


def answers_add_up(case: Case) -> Found:
    snapshot, plan = case.snapshot, case.plan
    for number, (demand, answer) in enumerate(zip(snapshot.pending, plan.pending, strict=False)):
        yield from faults_of_answer(f"demand {number}", answer, demand.count)
    for number, (_, answer) in enumerate(zip(snapshot.gangs, plan.gangs, strict=False)):
        yield from faults_of_answer(f"gang {number}", answer, 1)
    for number, (demand, answer) in enumerate(zip(snapshot.requested, plan.requested, strict=False)):
        yield from faults_of_answer(f"request {number}", answer, demand.count)


def faults_of_answer(what: str, answer: Answer, count: int) -> Found:
    parts = (answer.here, answer.coming, answer.launched, answer.held_back, answer.waiting, answer.never)
    if answer.count != count:
        yield f"the answer to {what} counts {answer.count}, not {count}"
    if sum(parts) != answer.count:
        yield f"the parts of the answer to {what} are {sum(parts)} together, not {answer.count}"
    if min(parts) < 0:
        yield f"the answer to {what} has a negative part"
    if answer.waiting + answer.never > 0 and not answer.why:
        yield f"the answer to {what} does not say why it has no place"


def answers_agree_with_placements(case: Case) -> Found:
    """Of each pending demand as much is said to be somewhere as placements hold there."""
    placed = placed_by_stage(case)
    for number, answer in enumerate(case.plan.pending):
        said = {Stage.HERE: answer.here, Stage.COMING: answer.coming, Stage.NEW: answer.launched + answer.held_back}
        for stage, count in said.items():
            if count != placed[number, stage]:
                yield f"demand {number}: the answer puts {count} on {stage} machines, the placements {placed[number, stage]}"


def placed_by_stage(case: Case) -> Counter[tuple[int, Stage]]:
    placed: Counter[tuple[int, Stage]] = Counter()
    for placement in case.plan.placements:
        stages = Counter(stage_of(case, node) for node in placement.nodes) or {Stage.NEW: placement.machines}
        for index, count in placement.holds:
            for stage, machines in stages.items():
                placed[index, stage] += count * machines
    return placed
