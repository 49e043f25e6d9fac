# SPDX-License-Identifier: Apache-2.0
"""The verifier finds each fault in what is launched and removed: right plans, changed in one thing at a time."""

from __future__ import annotations

import pytest

from rayctl.planner.model import Answer, Cause, How, Setback, Status, Utilization, Why
from tests.unit.planner.examples import ZONE_A, Example, cpus, idle, launch, node, removal, waiting
from tests.unit.planner.right_plans import GONE, HELD_BACK, IDLE, MINIMUM, OUTDATED, REQUESTED, TOO_MANY, WORK
from tests.verifier import violations

FAULTS = (
    # launches
    (WORK.launch(1, type="huge"), "huge is launched and is no type of the policy"),
    (WORK.launch(1, count=0, causes={}), "0 of gpu are launched"),
    (WORK.launch(0, causes={Cause.DEMAND: 1}), "2 of small are launched for 1 causes"),
    (WORK.launch(0, reason=""), "small is launched for no reason"),
    (WORK.launch(0, causes={Cause.UTILIZATION: 2}), "small is launched for target_utilization_fraction, and there is none"),
    (WORK.launch(0, causes={Cause.GANG: 2}), "small is launched for placement groups, and there is none"),
    (
        MINIMUM.launch(0, count=9, causes={Cause.MINIMUM: 9}),
        "9 of small are launched for its min_workers, of which 8 are missing",
    ),
    (
        WORK.launch(0, count=3, causes={Cause.DEMAND: 3}),
        "3 of small are launched for queued work and gangs, and 2 new ones hold",
    ),
    # limits
    (WORK.small(max_workers=5), "4 workers of small and 2 new ones are more than its max_workers 5"),
    (WORK.policy(max_workers=6), "4 workers and 3 new ones are more than max_workers 6"),
    (HELD_BACK.policy(max_workers=6), "0 workers and 7 new ones are more than max_workers 6"),
    (WORK.given(setbacks={"gpu": Setback("no quota", 1)}), "1 of gpu are to be launched, which failed"),
    (
        HELD_BACK.launch(0, count=6, causes={Cause.DEMAND: 6}),
        "6 of small are launched for queued work, 0 are pending: upscaling_speed allows 5",
    ),
    (HELD_BACK.with_nodes(node("c", status=Status.PENDING)), "5 of small are launched for queued work, 1 are pending"),
    (
        HELD_BACK.launch(0, count=4, causes={Cause.DEMAND: 4}),
        "3 of small are held back, and upscaling_speed allows 5 at a time",
    ),
    # min_workers
    (MINIMUM.launch(0, count=7, causes={Cause.MINIMUM: 7}), "small has 8 workers after the plan, and its min_workers is 9"),
    (MINIMUM.planned(removals=(removal("a", Why.OUTDATED),)), "small has 8 workers after the plan"),
    (
        MINIMUM.policy(max_workers=9, utilization=Utilization()).planned(
            launches=(launch("small", 6, Cause.MINIMUM), launch("gpu", 1, Cause.UTILIZATION))
        ),
        "small has 7 workers after the plan, and its min_workers is 9",
    ),
    (IDLE.small(min_workers=2), "2 of small are removed, 1 stay, and its min_workers is 2"),
    (TOO_MANY.small(max_workers=4, min_workers=4), "3 of small are removed, 3 stay, and its min_workers is 4"),
    (OUTDATED.small(min_workers=11), "2 of small are removed, 10 stay, and its min_workers is 11"),
    (OUTDATED.small(min_workers=12, max_workers=13), "2 of small are removed, 10 stay, and its min_workers is 12"),
    (OUTDATED.small(min_workers=12).policy(max_workers=13), "2 of small are removed, 10 stay"),
    (
        OUTDATED.small(min_workers=12).planned(launches=(launch("small", 2, Cause.MINIMUM),)),  # not after they have gone
        "2 of small are removed, 10 stay, and its min_workers is 12",
    ),
    (
        OUTDATED.small(min_workers=12, max_workers=12)
        .node("n1", status=Status.IDLE, idle_s=301)
        .planned(removals=(removal("n0", Why.OUTDATED), idle("n1"))),
        "2 of small are removed, 10 stay, and its min_workers is 12",
    ),
    (
        OUTDATED.small(min_workers=12).policy(max_workers=11).removal(1, why=Why.MAXIMUM),
        "1 of small are removed, 10 stay, and its min_workers is 12",
    ),
    # removals
    (OUTDATED.removal(0, node="head", type="head"), "head is the head and removed"),
    (OUTDATED.removal(0, node="ghost"), "ghost is removed and does not exist"),
    (OUTDATED.node("n0", ours=False), "n0 is not ours and removed"),
    (OUTDATED.node("n0", status=Status.DRAINING), "n0 is draining already and removed"),
    (OUTDATED.removal(0, node="n1"), "n1 is removed 2 times"),
    (OUTDATED.removal(0, type="gpu"), "n0 is removed as a gpu and is a small"),
    (OUTDATED.removal(0, reason=""), "n0 is removed for no reason"),
    (OUTDATED.node("n0", status=Status.PENDING), "n0 has not joined and is not terminated"),
    (OUTDATED.removal(0, how=How.TERMINATE), "n0 has joined and is terminated"),
    (OUTDATED.node("n0", outdated=""), "n0 is removed as outdated and is not"),
    (OUTDATED.removal(0, why=Why.TYPE_REMOVED), "n0 is removed because of 'its type is gone', and its type is still there"),
    (GONE.removal(0, why=Why.MAXIMUM), "a is removed because of 'max_workers', and its type is gone"),
    (GONE.planned(removals=GONE.plan.removals[:1]), "c is of the type small, which is gone, and stays"),
    (IDLE.node("n1", status=Status.RUNNING), "n1 is removed as idle and is running"),
    (IDLE.node("n1", idle_s=299), "n1 is removed after 299 s without work, and its time is 300.0 s"),
    (IDLE.small(min_workers=1, idle_timeout_s=600), "n1 is removed after 301 s without work, and its time is 600 s"),
    (IDLE.policy(idle_timeout_s=None), "its time is None s"),
    (IDLE.removal(0, how=How.DRAIN), "n1 is removed as idle by 'drain'"),
    (IDLE.placement(0, nodes=("n1",)), "a placement is on n1, which is removed by this plan"),
    (IDLE.planned(pending=(waiting(1),), placements=()), "n1 is removed as idle and could hold {CPU: 4}"),
    (
        IDLE.given(requested=(cpus(4, 2),)).planned(requested=(Answer(2, here=1, waiting=1, why="x"),)),
        "n1 is removed as idle and could",
    ),
    (TOO_MANY.small(max_workers=5), "2 of small are removed for its max_workers, and 1 are too many"),
    (TOO_MANY.policy(max_workers=6), "1 are removed for max_workers, and 0 are too many"),
    (OUTDATED.given(nodes=OUTDATED.snapshot.nodes[:11]), "2 outdated nodes are removed while 0 are draining, and 1 at a time"),
    (OUTDATED.node("n5", status=Status.DRAINING), "2 outdated nodes are removed while 1 are draining, and 2 at a time"),
    # request_resources
    (REQUESTED.answer("requested", 0, here=4, launched=1), "requests for 8 CPU are said to fit on joined nodes, which have 6"),
    (
        REQUESTED.answer("requested", 0, coming=3, launched=1),
        "requests for 6 CPU are said to fit on pending nodes, which have 4",
    ),
    (
        REQUESTED.answer("requested", 0, here=2, launched=3),
        "requests for 6 CPU are said to fit on launched machines, which have 4",
    ),
    (
        REQUESTED.given(requested=(cpus(3, 7), cpus(100))),
        "3 requests for {CPU: 3} are said to fit on joined nodes, where 1 fit",
    ),
    (
        REQUESTED.given(requested=(cpus(2, 7, ZONE_A), cpus(100))),
        "2 requests for {CPU: 2} are said to fit on pending nodes, where 0 fit",
    ),
    (REQUESTED.node("a", status=Status.DRAINING), "requests for 6 CPU are said to fit on joined nodes, which have 2"),
    (
        REQUESTED.answer("requested", 0, launched=0, waiting=2, why="x"),
        "request 0, {CPU: 2}, waits, and a new small may be launched",
    ),
)


@pytest.mark.parametrize(("example", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_a_fault_is_found(example: Example, sentence: str) -> None:
    assert sentence in "\n".join(violations(example.snapshot, example.plan))
