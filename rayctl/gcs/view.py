# SPDX-License-Identifier: Apache-2.0
"""What a Ray head knows of its cluster at one moment, as plain data.

Resource amounts are Ray's own units: cores, devices, bytes of memory. All of it is a snapshot some hundred milliseconds
old: the head hears from its nodes about once a second, and of load and usage not at the same time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

HEAD_RESOURCE = "node:__internal_head__"
GROUP_LABEL = "ray.io/node-group"  # a label that Ray gives every node: its node type
IMPLICIT_RESOURCE = "node:__internal_implicit_resource_"  # every node has 1.0 of each; listed only where some is in use
_GROUP_RESOURCE = re.compile(r"_group_(\d+_)?([0-9a-f]{32}|[0-9a-f]{36})$")


class RayState(StrEnum):
    """A node's state as the head tells it; whether its machine runs is the provider's to say."""

    RUNNING = "running"
    DEAD = "dead"
    IDLE = "idle"
    DRAINING = "draining"

    @property
    def alive(self) -> bool:
        """Whether Ray runs on the node, be it only to finish its work."""
        return self is not RayState.DEAD


@dataclass(frozen=True)
class RayNode:
    """One raylet. `instance_id` and `node_type` are what we gave it at its start, "" for a node that is not ours.

    `total` and `available` hold what tasks may ask for (see `plain_resources`); both are empty for a dead node, which
    Ray does not describe further. `idle_s` counts from the start of the raylet, some seconds before it joined. `groups`
    are the placement groups that have a bundle there.
    """

    node_id: str
    instance_id: str
    node_type: str
    address: str
    state: RayState
    total: Mapping[str, float] = field(default_factory=dict)
    available: Mapping[str, float] = field(default_factory=dict)
    idle_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, order=True)
class LabelRule:
    """A node's label `key` must have one of `values`, or none of them where `negated`."""

    key: str
    values: tuple[str, ...]
    negated: bool = False

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fulfil it. Ray's way: without the label `not in` is fulfilled, and `in` is not."""
        return (labels.get(self.key) in self.values) != self.negated


Selector = tuple[LabelRule, ...]
"""Rules that a node must all fulfil; the empty selector takes any node."""


@dataclass(frozen=True)
class Demand:
    """`count` equal requests of one shape.

    `selectors` are in order of preference: the first that some node can fulfil is used. None at all: any node will do.
    """

    shape: Mapping[str, float]
    count: int
    selectors: tuple[Selector, ...] = ()


@dataclass(frozen=True)
class Gang:
    """Bundles of a placement group that still need a place, all of them or none.

    `strategy` is PACK, SPREAD, STRICT_PACK or STRICT_SPREAD. A group that lost a node lists the lost bundles only.
    """

    group_id: str
    strategy: str
    bundles: tuple[Demand, ...]

    def parts(self) -> tuple[Demand, ...]:
        """What has to find a place: each bundle by itself, of STRICT_PACK all bundles as one request.

        One node must be what each of them wants first; fall-backs of several bundles have no order among each other.
        """
        bundles = tuple(bundle for bundle in self.bundles if bundle.count > 0)
        if self.strategy != "STRICT_PACK" or not bundles:
            return bundles
        shape: dict[str, float] = {}
        for bundle in bundles:
            for name, amount in bundle.shape.items():
                shape[name] = shape.get(name, 0.0) + amount * bundle.count
        rules = sorted({rule for bundle in bundles for selector in bundle.selectors[:1] for rule in selector})
        return (Demand(shape, 1, (tuple(rules),) if rules else ()),)


@dataclass(frozen=True)
class ClusterView:
    """The cluster as its head sees it.

    `nodes` include dead ones. `pending` is the queued load of tasks and actors, equal requests added up; what waits
    inside a placement group is left out, for its group is in `gangs`. `requested` is what `request_resources()` asked
    the cluster to hold in total, used or not.
    """

    session_name: str
    nodes: tuple[RayNode, ...] = ()
    pending: tuple[Demand, ...] = ()
    gangs: tuple[Gang, ...] = ()
    requested: tuple[Demand, ...] = ()


def with_group(node_type: str, labels: Mapping[str, str]) -> dict[str, str]:
    """A node's labels, with the one that Ray gives it by its type."""
    return {GROUP_LABEL: node_type, **labels}


def in_placement_group(resource: str) -> bool:
    """Whether Ray made this resource up for a placement group (`CPU_group_0_<id>`, `bundle_group_<id>`)."""
    return _GROUP_RESOURCE.search(resource) is not None


def plain_resources(resources: Mapping[str, float]) -> dict[str, float]:
    """What is left without the resources Ray makes up itself (placement groups', `node:<address>`, marks), by name."""
    return {
        name: amount
        for name, amount in sorted(resources.items())
        if not (name.startswith("node:") or "__internal" in name or in_placement_group(name))
    }
