# SPDX-License-Identifier: Apache-2.0
"""A short way to write down a cluster, what is asked of it, and what is to be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayctl.gcs.view import Demand, Gang, LabelRule, Selector
from rayctl.planner import Plan, Snapshot
from rayctl.planner.model import Node, NodeType, Policy, Status
from tests.unit.planner.checked import plan

GIB = 2**30
HEAD = Node("head", "head", Status.RUNNING, {"CPU": 2.0}, {"CPU": 0.0}, is_head=True)

SMALL = NodeType("small", {"CPU": 4.0}, 10, price=0.2)
BIG = NodeType("big", {"CPU": 16.0}, 10, price=0.7)
GPU = NodeType("gpu", {"CPU": 8.0, "GPU": 1.0}, 10, price=1.2)


def policy(*types: NodeType, max_workers: int = 20, **more: Any) -> Policy:
    """A policy that lets 20 workers be launched at once."""
    return Policy(types, max_workers, **({"upscaling_speed": 100.0} | more))


def busy(name: str, node_type: NodeType, free: float = 0.0, **more: Any) -> Node:
    """A node on which something runs; so many of its CPUs are free."""
    available = dict(node_type.resources) | {"CPU": free}
    return Node(name, node_type.name, Status.RUNNING, node_type.resources, available, labels=node_type.labels, **more)


def idle(name: str, node_type: NodeType, idle_s: float = 10.0, **more: Any) -> Node:
    """A node on which nothing has run for so long."""
    own = node_type.resources
    return Node(name, node_type.name, Status.IDLE, own, own, idle_s, labels=node_type.labels, **more)


def pending(name: str, node_type: NodeType, **more: Any) -> Node:
    """A machine that has not joined yet."""
    return Node(name, node_type.name, Status.PENDING, **more)


def draining(name: str, node_type: NodeType) -> Node:
    """A node that takes no more work."""
    return Node(name, node_type.name, Status.DRAINING, node_type.resources, node_type.resources)


def want(count: int = 1, *selectors: Selector, **shape: float) -> Demand:
    """Queued work: `want(3, CPU=2)` are three tasks of two CPUs."""
    return Demand({name: float(amount) for name, amount in shape.items()}, count, selectors)


def labelled(**labels: str) -> Selector:
    """A selector that wants these labels."""
    return tuple(LabelRule(key, (value,)) for key, value in labels.items())


def gang(strategy: str, count: int, group: str = "g", **shape: float) -> Gang:
    """A placement group of equal bundles."""
    return Gang(group, strategy, (want(count, **shape),))


def decide(policy: Policy, *nodes: Node, head: Node = HEAD, **asked: Any) -> Plan:
    """The plan, after the verifier has looked at it."""
    return plan(Snapshot(policy, (head, *nodes), **asked))


def launched(found: Plan) -> Mapping[str, int]:
    """How many of each type are launched."""
    return {launch.type: launch.count for launch in found.launches}


def going(found: Plan) -> Mapping[str, str]:
    """Which nodes go, and why."""
    return {removal.node: removal.why.value for removal in found.removals}
