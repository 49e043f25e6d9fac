# SPDX-License-Identifier: Apache-2.0
"""A short way to write down a cluster and a plan for it, and to change one thing in them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rayctl.gcs.view import Demand, LabelRule
from rayctl.planner.model import Answer, Cause, How, Launch, Node, NodeType, Plan, Policy, Removal, Snapshot, Status, Why

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
