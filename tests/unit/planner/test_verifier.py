# SPDX-License-Identifier: Apache-2.0
"""The verifier accepts plans that are right and finds each fault: one example per rule, changed in one thing at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from verifier import check, violations

from rayctl.gcs.view import Demand, Gang, LabelRule
from rayctl.planner.model import (
    Answer,
    Cause,
    How,
    Launch,
    Node,
    NodeType,
    Placement,
    Plan,
    Policy,
    Removal,
    Setback,
    Snapshot,
    Status,
    Utilization,
    Why,
)

SMALL = NodeType("small", {"CPU": 4}, max_workers=20)
GPU = NodeType("gpu", {"CPU": 8, "GPU": 2}, max_workers=4, labels={"zone": "a"})
POLICY = Policy((SMALL, GPU), max_workers=30)
HEAD = Node("head", "head", Status.RUNNING, {"CPU": 2}, {}, is_head=True)
ZONE_A = (LabelRule("zone", ("a",)),)
NOT_ZONE_A = (LabelRule("zone", ("a",), negated=True),)
IMPLICIT = "node:__internal_implicit_resource_x"


@dataclass(frozen=True)
class Example:
    """A snapshot and a plan for it."""

    snapshot: Snapshot
    plan: Plan

    def given(self, **changes: Any) -> Example:
        return replace(self, snapshot=replace(self.snapshot, **changes))

    def policy(self, **changes: Any) -> Example:
        return self.given(policy=replace(self.snapshot.policy, **changes))

    def small(self, **changes: Any) -> Example:
        return self.policy(types=(replace(SMALL, **changes), *self.snapshot.policy.types[1:]))

    def node(self, name: str, **changes: Any) -> Example:
        return self.given(nodes=tuple(replace(one, **changes) if one.id == name else one for one in self.snapshot.nodes))

    def with_nodes(self, *nodes: Node) -> Example:
        return self.given(nodes=(*self.snapshot.nodes, *nodes))

    def planned(self, **changes: Any) -> Example:
        return replace(self, plan=replace(self.plan, **changes))

    def answer(self, kind: str, number: int, **changes: Any) -> Example:
        answers = list(getattr(self.plan, kind))
        answers[number] = replace(answers[number], **changes)
        return self.planned(**{kind: tuple(answers)})

    def placement(self, number: int, **changes: Any) -> Example:
        placements = list(self.plan.placements)
        placements[number] = replace(placements[number], **changes)
        return self.planned(placements=tuple(placements))

    def launch(self, number: int, **changes: Any) -> Example:
        launches = list(self.plan.launches)
        launches[number] = replace(launches[number], **changes)
        return self.planned(launches=tuple(launches))

    def removal(self, number: int, **changes: Any) -> Example:
        removals = list(self.plan.removals)
        removals[number] = replace(removals[number], **changes)
        return self.planned(removals=tuple(removals))

    def place(self, number: int, *places: str) -> Example:
        found = list(self.plan.places)
        found[number] = places
        return self.planned(places=tuple(found))


def node(name: str, free: float = 4, status: Status = Status.RUNNING, **more: Any) -> Node:
    return Node(name, "small", status, {"CPU": 4}, {"CPU": free}, **more)


def nodes(count: int, status: Status = Status.RUNNING, free: float = 0, **more: Any) -> tuple[Node, ...]:
    return tuple(node(f"n{number}", free, status, **more) for number in range(count))


def cpus(amount: float, count: int = 1, *selectors: tuple[LabelRule, ...]) -> Demand:
    return Demand({"CPU": amount}, count, selectors)


def launch(kind: str, count: int, cause: Cause = Cause.DEMAND) -> Launch:
    return Launch(kind, count, {cause: count}, "a reason")


def removal(name: str, why: Why, how: How = How.DRAIN, kind: str = "small") -> Removal:
    return Removal(name, kind, why, how, "a reason")


def idle(name: str) -> Removal:
    return removal(name, Why.IDLE, How.DRAIN_IDLE)


def waiting(count: int) -> Answer:
    return Answer(count, waiting=count, why="limits")


WORK = Example(
    Snapshot(
        POLICY,
        (HEAD, node("a"), node("b", free=1.5), node("c", status=Status.PENDING), node("d", status=Status.DRAINING)),
        (cpus(1, 14), Demand({"CPU": 1, "GPU": 1}, 1, (ZONE_A,)), cpus(100, 3)),
    ),
    Plan(
        launches=(launch("small", 2), launch("gpu", 1)),
        pending=(Answer(14, here=5, coming=4, launched=5), Answer(1, launched=1), Answer(3, never=3, why="too big")),
        placements=(
            Placement("small", 1, ((0, 4),), ("a",)),
            Placement("small", 1, ((0, 1),), ("b",)),
            Placement("small", 1, ((0, 4),), ("c",)),
            Placement("small", 1, ((0, 4),)),
            Placement("small", 1, ((0, 1),), first=1),
            Placement("gpu", 1, ((1, 1),)),
        ),
    ),
)
GANGS = Example(
    Snapshot(
        POLICY,
        (HEAD, node("a", groups=frozenset({"other"})), node("b"), node("c", status=Status.PENDING)),
        gangs=(
            Gang("spread", "STRICT_SPREAD", (cpus(2, 2), cpus(3))),
            Gang("pack", "STRICT_PACK", (cpus(1, 2),)),
            Gang("huge", "PACK", (cpus(100),)),
        ),
    ),
    Plan(
        launches=(launch("small", 1, Cause.GANG),),
        gangs=(Answer(1, launched=1), Answer(1, here=1), Answer(1, never=1, why="too big")),
        places=(("a", "c", "new:small:0"), ("a", "a"), None),
    ),
)
WAITING = Example(  # at its limits, and one type failed
    Snapshot(
        Policy((SMALL, GPU), max_workers=3),
        (HEAD, node("a", 1), node("b", 1), node("d", status=Status.DRAINING)),
        (cpus(2, 5),),
        setbacks={"gpu": Setback("no quota", 60)},
    ),
    Plan(pending=(waiting(5),)),
)
HELD_BACK = Example(  # 7 machines wanted, 5 allowed at once
    Snapshot(POLICY, (HEAD,), (cpus(4, 7),)),
    Plan(
        launches=(launch("small", 5),),
        pending=(Answer(7, launched=5, held_back=2),),
        placements=(Placement("small", 7, ((0, 1),)),),
    ),
)
MINIMUM = Example(
    Snapshot(replace(POLICY, types=(replace(SMALL, min_workers=9), GPU)), (HEAD, node("a"), node("d", status=Status.DRAINING))),
    Plan(launches=(launch("small", 8, Cause.MINIMUM),)),
)
IDLE = Example(
    Snapshot(
        replace(POLICY, types=(replace(SMALL, min_workers=1), GPU)),
        (HEAD, *nodes(3, Status.IDLE, 4, idle_s=301)),
        (cpus(4),),
    ),
    Plan(
        removals=(idle("n1"), idle("n2")), pending=(Answer(1, here=1),), placements=(Placement("small", 1, ((0, 1),), ("n0",)),)
    ),
)
OUTDATED = Example(
    Snapshot(POLICY, (HEAD, *nodes(12, outdated="its image"))),
    Plan(removals=(removal("n0", Why.OUTDATED), removal("n1", Why.OUTDATED))),
)
GONE = Example(
    Snapshot(replace(POLICY, types=(GPU,)), (HEAD, node("a"), node("c", status=Status.PENDING))),
    Plan(removals=(removal("a", Why.TYPE_REMOVED), removal("c", Why.TYPE_REMOVED, How.TERMINATE))),
)
TOO_MANY = Example(
    Snapshot(Policy((replace(SMALL, max_workers=4),), max_workers=3), (HEAD, *nodes(6))),
    Plan(removals=(*(removal(f"n{n}", Why.TYPE_MAXIMUM) for n in (0, 1)), removal("n2", Why.MAXIMUM))),
)
REQUESTED = Example(
    Snapshot(POLICY, (HEAD, node("a", 0), node("c", status=Status.PENDING)), requested=(cpus(2, 7), cpus(100))),
    Plan(
        launches=(launch("small", 1, Cause.REQUESTED),),
        requested=(Answer(7, here=3, coming=2, launched=2), Answer(1, never=1, why="too big")),
    ),
)
LEARNT = Example(  # the resources of a type are the least of what its nodes have
    Snapshot(
        Policy((replace(SMALL, resources={}),), max_workers=30),
        (HEAD, node("a", 0), replace(node("b", 0), total={"CPU": 3, "disk": 1})),
        (cpus(1, 3),),
    ),
    Plan((launch("small", 1),), pending=(Answer(3, launched=3),), placements=(Placement("small", 1, ((0, 3),)),)),
)
IMPLICIT_RESOURCES = Example(
    Snapshot(Policy((replace(SMALL, max_workers=0),), max_workers=0), (HEAD, node("a", 0)), (Demand({IMPLICIT: 0.5}, 4),)),
    Plan(
        pending=(Answer(4, here=4),),
        placements=(Placement("head", 1, ((0, 2),), ("head",)), Placement("small", 1, ((0, 2),), ("a",))),
    ),
)
LABELS = Example(
    Snapshot(
        POLICY,
        (HEAD, node("a", labels={"zone": "b"}), node("b")),
        (
            cpus(1, 1, ZONE_A, NOT_ZONE_A),
            cpus(1, 1, NOT_ZONE_A),
            cpus(1, 1, (LabelRule("ray.io/node-group", ("small",)),)),
        ),
    ),
    Plan(
        pending=(Answer(1, here=1),) * 3,
        placements=(Placement("small", 1, ((0, 1), (2, 1)), ("a",)), Placement("small", 1, ((1, 1),), ("b",))),
    ),
)
BOTH = (  # a bundle and queued work on one new machine
    GANGS.given(pending=(cpus(2),)).planned(pending=(Answer(1, launched=1),), placements=(Placement("small", 1, ((0, 1),)),))
)
NEVER = (  # no type can be launched; the nodes that could hold it are full
    WAITING.policy(types=(replace(SMALL, max_workers=0),))
    .node("head", total={"CPU": 1})
    .answer("pending", 0, waiting=0, never=5)
)
RIGHT = {
    "work": WORK,
    "gangs": GANGS,
    "waiting": WAITING,
    "held back": HELD_BACK,
    "minimum": MINIMUM,
    "minimum beyond max_workers": MINIMUM.policy(max_workers=5).planned(launches=(launch("small", 3, Cause.MINIMUM),)),
    "minimum of a type that failed": MINIMUM.given(setbacks={"small": Setback("no quota", 60)}).planned(launches=()),
    "minimum beyond upscaling_speed": MINIMUM.policy(upscaling_speed=0.1),
    "type that failed long ago": WORK.given(setbacks={"small": Setback("no quota")}),
    "idle": IDLE,
    "idle by the time of its type": IDLE.small(idle_timeout_s=301).policy(idle_timeout_s=None),
    "outdated": OUTDATED,
    "gone": GONE,
    "too many": TOO_MANY,
    "requested": REQUESTED,
    "learnt": LEARNT,
    "nothing to learn from": LEARNT.given(nodes=(HEAD,)),
    "implicit resources": IMPLICIT_RESOURCES,
    "labels": LABELS,
    "a bundle and queued work on one new machine": BOTH.given(pending=(cpus(1),)),
    "never": NEVER.given(pending=(cpus(5, 5),)),
    "amounts as near as the planner looks": WORK.node("a", available={"CPU": 3.9999}),
}
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


@pytest.mark.parametrize("example", RIGHT.values(), ids=RIGHT)
def test_a_plan_that_is_right_is_accepted(example: Example) -> None:
    assert violations(example.snapshot, example.plan) == []
    check(example.snapshot, example.plan)


@pytest.mark.parametrize(("example", "sentence"), FAULTS, ids=[sentence for _, sentence in FAULTS])
def test_a_fault_is_found(example: Example, sentence: str) -> None:
    assert sentence in "\n".join(violations(example.snapshot, example.plan))


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
