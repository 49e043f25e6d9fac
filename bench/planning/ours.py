# SPDX-License-Identifier: Apache-2.0
"""rayctl's planner: from the list of nodes, one by one as they are, to the plan."""

from __future__ import annotations

from collections.abc import Iterator

from bench.planning.deciders import Decision, Place, Question
from bench.planning.scenario import Amounts, DemandSpec, GangSpec, NodeSpec, Scenario, TypeSpec
from rayctl.gcs.view import Demand, Gang, plain_resources
from rayctl.planner import Plan, Snapshot, plan
from rayctl.planner.model import Node, NodeType, Placement, Policy, Status


def prepare(scenario: Scenario) -> Question:
    """What is timed is `plan()` and nothing else."""
    snapshot = snapshot_of(scenario)
    return Question(lambda: plan(snapshot), lambda answer: _decision(scenario, answer), lambda answer: _check(snapshot, answer))


def snapshot_of(scenario: Scenario) -> Snapshot:
    """One object per node, per shape and per placement group."""
    return Snapshot(
        policy=_policy(scenario),
        nodes=tuple(map(_node, scenario["nodes"])),
        pending=tuple(map(_demand, scenario["demands"])),
        gangs=tuple(_gang(number, spec) for number, spec in enumerate(scenario["gangs"])),
        requested=tuple(map(_demand, scenario["constraints"])),
    )


def _policy(scenario: Scenario) -> Policy:
    return Policy(
        types=tuple(_type(name, spec) for name, spec in scenario["node_types"].items()),
        max_workers=scenario["max_workers"],
        upscaling_speed=scenario["upscaling_speed"],
        idle_timeout_s=scenario["idle_timeout_s"],
        machine_overhead=scenario["machine_overhead"],
    )


def _type(name: str, spec: TypeSpec) -> NodeType:
    return NodeType(
        name=name,
        resources=_amounts(spec["resources"]),
        min_workers=spec["min"],
        max_workers=spec["max"],
        labels=dict(spec["labels"]),
        price=spec["price"],
    )


def _node(spec: NodeSpec) -> Node:
    return Node(
        id=spec["id"],
        type=spec["type"],
        status=Status.IDLE if spec["idle_ms"] else Status.RUNNING,
        total=_amounts(spec["total"]),
        available=_amounts(spec["avail"]),
        idle_s=spec["idle_ms"] / 1000,
        is_head=spec["head"],
    )


def _amounts(amounts: Amounts) -> dict[str, float]:
    """As a head tells them: numbers of one kind, and nothing of what there is none of."""
    return {name: float(amount) for name, amount in plain_resources(amounts).items() if amount}


def _demand(spec: DemandSpec) -> Demand:
    return Demand(_amounts(spec["shape"]), spec["count"])


def _gang(number: int, spec: GangSpec) -> Gang:
    return Gang(f"{number:032x}", spec["strategy"], tuple(Demand(_amounts(bundle), 1) for bundle in spec["bundles"]))


def _decision(scenario: Scenario, answer: Plan) -> Decision:
    """What is held back has no machine in this plan, so it counts as without a place."""
    lost = [len(spec["bundles"]) for spec, place in zip(scenario["gangs"], answer.places, strict=True) if place is None]
    return Decision(
        launch={launch.type: launch.count for launch in answer.launches},
        unplaced=sum(told.unplaced + told.held_back for told in answer.pending),
        unplaced_gangs=len(lost),
        unplaced_bundles=sum(lost),
        ended=len(answer.removals),
        placement=[place for placement in answer.placements for place in _places(placement)],
        gangs=[None if place is None else list(place) for place in answer.places],
    )


def _places(placement: Placement) -> Iterator[Place]:
    """The nodes that are there, each for itself, or the new machines together."""
    holds = [list(pair) for pair in placement.holds]
    for node in placement.nodes:
        yield Place(node=node, type=placement.type, machines=1, first=None, holds=holds)
    if not placement.nodes:
        yield Place(node=None, type=placement.type, machines=placement.machines, first=placement.first, holds=holds)


def _check(snapshot: Snapshot, answer: Plan) -> list[str]:
    from tests.verifier import violations  # not there where only rayctl is installed

    return [str(violation) for violation in violations(snapshot, answer)]
