# SPDX-License-Identifier: Apache-2.0
"""The verifier accepts plans that are right, tells all faults at once, and is fast."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayctl.planner.model import Answer, Placement, Plan, Policy, Snapshot
from tests.unit.planner.examples import SMALL, Example, cpus, nodes
from tests.unit.planner.right_plans import RIGHT, WORK
from tests.verifier import check, violations


@pytest.mark.parametrize("example", RIGHT.values(), ids=RIGHT)
def test_a_plan_that_is_right_is_accepted(example: Example) -> None:
    assert violations(example.snapshot, example.plan) == []
    check(example.snapshot, example.plan)


def test_all_faults_are_told_at_once() -> None:
    example = WORK.launch(0, reason="").answer("pending", 2, why="")
    with pytest.raises(AssertionError) as failure:
        check(example.snapshot, example.plan)
    assert len(str(failure.value).splitlines()) == 2


def test_a_large_plan_is_judged_by_groups_of_tasks() -> None:
    """10,000 nodes and a million tasks: what counts is the number of placements."""
    members = nodes(10_000, free=4)
    demands = tuple(cpus(0.01 * (number + 1), 100_000) for number in range(10))
    holds = tuple((number, 5) for number in range(10))
    answers = (Answer(100_000, here=50_000, waiting=50_000, why="limits"),) * 10
    placements = (Placement("small", 10_000, holds, tuple(one.id for one in members)),)
    policy = Policy((replace(SMALL, max_workers=10_000),), max_workers=10_000)
    full = tuple(replace(one, available={"CPU": 2.75}) for one in members)
    assert violations(Snapshot(policy, full, demands), Plan(pending=answers, placements=placements)) == []
