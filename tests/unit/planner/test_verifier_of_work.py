# SPDX-License-Identifier: Apache-2.0
"""The verifier finds each fault in where work goes: right plans, changed in one thing at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayctl.gcs.view import Demand, Gang
from rayctl.planner.model import Status, Why
from tests.unit.planner.examples import GPU, IMPLICIT, SMALL, ZONE_A, Example, cpus, removal, waiting
from tests.unit.planner.right_plans import (
    BOTH,
    GANGS,
    IMPLICIT_RESOURCES,
    LABELS,
    LEARNT,
    MINIMUM,
    NEVER,
    REQUESTED,
    WAITING,
    WORK,
)
from tests.verifier import violations

FAULTS = (
    # placements
    (WORK.placement(0, nodes=("ghost",)), "a placement is on ghost, which does not exist"),
    (WORK.placement(0, nodes=("d",)), "a placement is on d, which is draining"),
    (WORK.planned(removals=(removal("a", Why.OUTDATED),)), "a placement is on a, which is removed by this plan"),
    (WORK.placement(0, nodes=("b",)), "b is in 2 placements"),
    (WORK.placement(0, type="gpu"), "a is not a gpu"),
    (WORK.placement(0, machines=2), "placement 0 counts 2 machines and names 1"),
    (WORK.placement(3, machines=0), "placement 3 is on 0 machines"),
    (WORK.placement(0, holds=()), "placement 0 holds nothing"),
    (WORK.placement(0, holds=((0, 4), (2, 0))), "placement 0 holds demand 2 0 times"),
    (WORK.placement(0, holds=((0, 2), (0, 2))), "placement 0 lists demand 0 2 times"),
    (WORK.placement(0, holds=((0, 4), (3, 1))), "placement 0 holds demand 3, which does not exist"),
    (WORK.placement(5, type="huge"), "new machines of huge are spoken of, which is no type"),
    (WORK.placement(4, first=7), "8 new machines of small are spoken of, 2 are launched and nothing is held back"),
    (GANGS.place(0, "a", "c", "new:small:1"), "2 new machines of small are spoken of"),
    (WORK.placement(4, first=0), "new machines of small from number 0 on are in two placements"),
    (WORK.placement(3, first=-1), "a placement numbers new machines of small from -1"),
    # capacity
    (WORK.node("a", available={"CPU": 3}), "a has 3 CPU to give and holds demand for 4"),
    (WORK.node("a", available={"CPU": 3.9998}), "a has 3.9998 CPU to give"),
    (WORK.node("a", available={}), "a has 0 CPU to give"),
    (WORK.small(resources={"CPU": 3}), "c has 3 CPU to give"),
    (WORK.small(resources={"CPU": 3}), "new:small:0..0 has 3 CPU to give"),
    (WORK.placement(4, holds=((0, 5),)), "new:small:1..1 has 4 CPU to give and holds demand for 5"),
    (GANGS.node("a", available={"CPU": 3}), "a has 3 CPU to give and holds demand for 4"),
    (GANGS.place(1, "new:small:0", "new:small:0"), "new:small:0 has 4 CPU to give and holds demand for 5"),
    (GANGS.place(1, "b", "c").node("b", available={"CPU": 0.5}), "b has 0.5 CPU to give and holds demand for 1"),
    (BOTH, "new:small:0 has 4 CPU to give and holds demand for 5"),
    (LEARNT.placement(0, holds=((0, 4),)), "new:small:0..0 has 3 CPU to give"),
    (IMPLICIT_RESOURCES.placement(0, holds=((0, 3),)), f"head has 1 {IMPLICIT} to give and holds demand for 1.5"),
    (IMPLICIT_RESOURCES.node("a", available={IMPLICIT: 0.5}), f"a has 0.5 {IMPLICIT} to give"),
    # labels
    (WORK.policy(types=(SMALL, replace(GPU, labels={}))), "new:gpu:0..0 holds {CPU: 1, GPU: 1} and none of its selectors"),
    (LABELS.node("b", labels={"zone": "a"}), "b holds {CPU: 1} and none of its selectors takes the labels"),
    (LABELS.node("a", labels={"ray.io/node-group": "other"}), "a holds {CPU: 1} and none of its selectors"),
    (
        GANGS.given(
            gangs=(*GANGS.snapshot.gangs[:1], Gang("pack", "STRICT_PACK", (cpus(1, 2, ZONE_A),)), GANGS.snapshot.gangs[2])
        ),
        "a holds",
    ),
    # answers
    (WORK.planned(pending=WORK.plan.pending[:2]), "there are 2 answers to pending demand, not 3"),
    (GANGS.planned(gangs=GANGS.plan.gangs[:2]), "there are 2 answers to gangs, not 3"),
    (GANGS.planned(places=GANGS.plan.places[:2]), "there are 2 places of gangs, not 3"),
    (REQUESTED.planned(requested=()), "there are 0 answers to requests, not 2"),
    (WORK.answer("pending", 2, count=4, never=4), "the answer to demand 2 counts 4, not 3"),
    (GANGS.answer("gangs", 1, count=2, here=2), "the answer to gang 1 counts 2, not 1"),
    (WORK.answer("pending", 2, never=2), "the parts of the answer to demand 2 are 2 together, not 3"),
    (WORK.answer("pending", 2, waiting=-1, never=4), "the answer to demand 2 has a negative part"),
    (WORK.answer("pending", 2, why=""), "the answer to demand 2 does not say why"),
    (REQUESTED.answer("requested", 1, why=""), "the answer to request 1 does not say why"),
    (WORK.answer("pending", 0, here=6, coming=3), "demand 0: the answer puts 6 on here machines, the placements 5"),
    (WORK.answer("pending", 0, here=6, coming=3), "demand 0: the answer puts 3 on coming machines, the placements 4"),
    (WORK.answer("pending", 0, here=6, launched=4), "demand 0: the answer puts 4 on new machines, the placements 5"),
    # gangs
    (GANGS.place(0, "a", "c"), "gang 0 has 2 places for 3 bundles"),
    (GANGS.place(0, "a", "ghost", "new:small:0"), "gang 0 is on ghost, which does not exist"),
    (GANGS.place(0, "a", "new:small:x", "new:small:0"), "gang 0 is on new:small:x, which does not exist"),
    (GANGS.node("c", status=Status.DRAINING), "gang 0 is on c, which is draining"),
    (GANGS.planned(removals=(removal("c", Why.OUTDATED),)), "gang 0 is on c, which is removed by this plan"),
    (GANGS.place(2, "b"), "gang 2 has places and 1 unplaced"),
    (GANGS.planned(places=(*GANGS.plan.places[:1], None, None)), "gang 1 has no places and 0 unplaced"),
    (GANGS.place(0, "b", "b", "new:small:0"), "gang 0 is STRICT_SPREAD and has 2 bundles on b"),
    (GANGS.node("c", groups=frozenset({"spread"})), "gang 0 is STRICT_SPREAD and has a bundle on c already"),
    (GANGS.place(1, "a", "b"), "gang 1 is STRICT_PACK and on several nodes"),
    (GANGS.answer("gangs", 0, launched=0, coming=1), "gang 0 is on machines of which the last is new"),
    # refusals
    (WAITING.node("b", available={"CPU": 2}), "demand 0, {CPU: 2}, has no place for 5, and b has room"),
    (
        WORK.given(pending=(*WORK.snapshot.pending[:2], cpus(0.5, 3))),
        "demand 2, {CPU: 0.5}, has no place for 3, and b has room",
    ),
    (WORK.given(pending=(*WORK.snapshot.pending[:2], Demand({"GPU": 1}, 3))), "has no place for 3, and new:gpu:0..0 has room"),
    (MINIMUM.given(pending=(cpus(4),)).node("a", available={}).planned(pending=(waiting(1),)), "and a new small has room"),
    (GANGS.given(pending=(cpus(1, 1),)).node("b", available={}).planned(pending=(waiting(1),)), "and c has room"),
    (WAITING.answer("pending", 0, waiting=0, never=5), "demand 0, {CPU: 2}, is never to be, and a new small could hold it"),
    (NEVER, "demand 0, {CPU: 2}, is never to be, and a could hold it"),
    (WAITING.policy(max_workers=4), "demand 0, {CPU: 2}, waits, and a new small may be launched"),
    (WAITING.policy(max_workers=4, types=(replace(SMALL, max_workers=3), GPU)).given(setbacks={}), "waits, and a new gpu may"),
)


@pytest.mark.parametrize(("example", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_a_fault_is_found(example: Example, sentence: str) -> None:
    assert sentence in "\n".join(violations(example.snapshot, example.plan))
