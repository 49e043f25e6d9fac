# SPDX-License-Identifier: Apache-2.0
"""How many nodes of each type there are in which state, and what they have and use together (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rayctl.providers.base import Kind

if TYPE_CHECKING:
    from rayctl.operations.standing import NodeStatus

RUNNING, IDLE, PENDING, DRAINING = "running", "idle", "pending", "draining"
FAILED, LOST, UNKNOWN = "failed", "lost", "unknown"
STATES = (RUNNING, IDLE, PENDING, DRAINING, FAILED, LOST, UNKNOWN)


@dataclass(frozen=True)
class TypeCount:
    """The nodes of one type: each counts in exactly one of `states`, so those add up to `nodes`.

    `resources` and `used` are of those that Ray knows. `min_workers` and `max_workers` are the file's, None for the head's type
    and for one that the file does not know.
    """

    type: str
    nodes: int
    states: Mapping[str, int]
    resources: Mapping[str, float]
    used: Mapping[str, float]
    min_workers: int | None = None
    max_workers: int | None = None


def census(nodes: Iterable[NodeStatus], limits: Mapping[str, tuple[int, int]]) -> tuple[TypeCount, ...]:
    """A count for each type that there are nodes of, the head's first, then in the order of `limits`."""
    groups: dict[str, list[NodeStatus]] = {}
    for node in nodes:
        if node.counts_as:
            groups.setdefault(node.type, []).append(node)
    order = {name: place for place, name in enumerate(limits)}
    names = sorted(groups, key=lambda name: (groups[name][0].kind != Kind.HEAD, order.get(name, len(order)), name))
    return tuple(_count(name, groups[name], *limits.get(name, (None, None))) for name in names)


def total(types: Sequence[TypeCount]) -> TypeCount:
    """All types as one."""
    states = {state: sum(count.states[state] for count in types) for state in STATES}
    resources, used = (_sum(getattr(count, name) for count in types) for name in ("resources", "used"))
    return TypeCount("total", sum(count.nodes for count in types), states, resources, used)


def _count(name: str, nodes: Sequence[NodeStatus], least: int | None, most: int | None) -> TypeCount:
    states = dict.fromkeys(STATES, 0)
    for node in nodes:
        states[node.counts_as] += 1
    resources, used = _sum(node.resources for node in nodes), _sum(node.used for node in nodes)
    return TypeCount(name, len(nodes), states, resources, used, least, most)


def _sum(amounts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0.0) + amount
    return dict(sorted(found.items()))
