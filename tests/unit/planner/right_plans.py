# SPDX-License-Identifier: Apache-2.0
"""Plans that are right, one or more for each rule of the verifier."""

from __future__ import annotations

from dataclasses import replace

from rayctl.gcs.view import Demand, Gang, LabelRule
from rayctl.planner.model import Answer, Cause, How, Placement, Plan, Policy, Setback, Snapshot, Status, Why
from tests.unit.planner.examples import (
    GPU,
    HEAD,
    IMPLICIT,
    NOT_ZONE_A,
    POLICY,
    SMALL,
    ZONE_A,
    Example,
    cpus,
    idle,
    launch,
    node,
    nodes,
    removal,
    waiting,
)

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
    "outdated down to min_workers": OUTDATED.small(min_workers=10),
    "outdated and no room for more of the type": OUTDATED.small(min_workers=12, max_workers=12),
    "outdated and no room in the cluster": OUTDATED.small(min_workers=12).policy(max_workers=12),
    "outdated and too many": OUTDATED.small(min_workers=11).policy(max_workers=11).removal(1, why=Why.MAXIMUM),
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
