# SPDX-License-Identifier: Apache-2.0
"""Nodes, node types and demand in the form that packing works on: groups of what is alike.

A thousand nodes have few distinct states and a million tasks have few distinct shapes, so the work that follows depends on
the numbers of those alone. All lists are in an order that does not depend on the order of the input.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rayctl.gcs.view import IMPLICIT_RESOURCE, Demand, Gang, Selector, in_placement_group, with_group
from rayctl.planner.amounts import GRAIN, Need, Vector, copies, grains, vector
from rayctl.planner.costs import ACCELERATORS, accelerated
from rayctl.planner.model import Node, NodeType, Status

Level = tuple[int, ...]
"""Selectors, by number, that a node must all fulfil."""

Seen = tuple[Vector, tuple[bool, ...]]
"""What a node has of each dimension, and which selectors it fulfils."""


class Kind(NamedTuple):
    """Machines between which labels make no difference. `capacity` is what an unused one has; `groups` are on it already."""

    name: str
    fulfils: tuple[bool, ...]
    accelerated: bool
    groups: frozenset[str] = frozenset()
    capacity: Vector = ()


class Bin(NamedTuple):
    """So many machines of one kind, each with the same left and the same in it: (item, how many).

    `source` says which nodes these are, see `Fleet`; what is below zero are unused machines of the type ~source.
    """

    free: Vector
    kind: int
    machines: int
    source: int
    holds: tuple[tuple[int, int], ...] = ()

    @property
    def unused(self) -> bool:
        """Whether nothing is on these machines, neither now nor by this plan."""
        return self.source < 0 and not self.holds


class Item(NamedTuple):
    """Equal requests. A node must fulfil one of `levels`, better the first; `device` when they need an accelerator."""

    need: Need
    levels: tuple[Level, ...]
    device: bool
    pinned: bool = False

    def pleased(self, fulfils: Sequence[bool], depth: int) -> bool:
        """Whether a node that fulfils these selectors is right for the level of this depth."""
        return all(fulfils[selector] for selector in self.levels[depth])

    def depth(self, fulfils: Sequence[bool]) -> int | None:
        """The first level for which such a node is right."""
        return next((depth for depth in range(len(self.levels)) if self.pleased(fulfils, depth)), None)


@dataclass(frozen=True)
class Space:
    """What amounts and selectors are talked of at all: only what somebody asks for is a dimension."""

    dimensions: tuple[str, ...]
    selectors: tuple[Selector, ...]
    label_keys: tuple[str, ...]
    floor: tuple[float, ...]

    @classmethod
    def of(cls, demands: Sequence[Demand]) -> Space:
        """The space of these demands. `floor`: a node with less of some dimension can take none of them."""
        selectors = {selector for demand in demands for selector in demand.selectors if selector}
        keys = {rule.key for selector in selectors for rule in selector}
        names = tuple(sorted({name for demand in demands for name, amount in demand.shape.items() if grains(amount) > 0}))
        floor = tuple(
            0.0 if name.startswith(IMPLICIT_RESOURCE) else min(d.shape.get(name, 0.0) for d in demands) for name in names
        )
        return cls(names, tuple(sorted(selectors)), tuple(sorted(keys)), floor)

    def item(self, demand: Demand) -> Item:
        """A demand as an item."""
        index = {name: place for place, name in enumerate(self.dimensions)}
        names = [name for name, amount in demand.shape.items() if grains(amount) > 0]
        need = tuple(sorted((index[name], grains(demand.shape[name])) for name in names))
        levels = tuple(self.level(selector) for selector in demand.selectors) or ((),)
        return Item(need, levels, any(name in ACCELERATORS for name in names), any(map(_is_pinned, names)))

    def level(self, selector: Selector) -> Level:
        """A selector as a level; the empty one takes any node."""
        return (self.selectors.index(selector),) if selector else ()

    def vector(self, resources: Mapping[str, float]) -> Vector:
        """What a machine with these resources has of each dimension."""
        return vector(map(resources.get, self.dimensions), self.dimensions)

    def seen(self, node: Node, amounts: Mapping[str, float]) -> Seen:
        """A node with these amounts, as far as it matters here."""
        return self.vector(amounts), self.fulfils(with_group(node.type, node.labels))

    def could_hold(self, seen: Seen, items: Iterable[Item]) -> bool:
        """Whether such a node can hold one of any of these items."""
        free, fulfils = seen
        return any(copies(free, item.need) and item.depth(fulfils) is not None for item in items)

    def fulfils(self, labels: Mapping[str, str]) -> tuple[bool, ...]:
        """Which of the selectors a node with these labels fulfils."""
        return tuple(all(rule.holds(labels) for rule in selector) for selector in self.selectors)


def _is_pinned(resource: str) -> bool:
    """Whether only one particular node, or a placement group's, has this: no new machine would."""
    return (resource.startswith("node:") and not resource.startswith(IMPLICIT_RESOURCE)) or in_placement_group(resource)


@dataclass
class Fleet:
    """The nodes that can take work, in groups. The first kinds are the policy's types, in the order of their names.

    `bins` are the nodes in use, `unused` the unused ones of each type; `sources` has the nodes of each bin.
    """

    types: list[NodeType]
    kinds: list[Kind]
    bins: list[Bin] = field(default_factory=list)
    sources: list[list[Node]] = field(default_factory=list)
    unused: list[list[Node]] = field(default_factory=list)


def fleet(
    space: Space, types: Sequence[NodeType], nodes: Iterable[Node], gangs: Iterable[Gang], *, totals: bool = False
) -> Fleet:
    """The nodes in groups; with `totals` as if nothing ran on them. Draining nodes take nothing, so they are left out."""
    kinds = [_kind(space, node_type) for node_type in types]
    found = Fleet(list(types), kinds, unused=[[] for _ in types])
    numbers = {kind._replace(capacity=()): number for number, kind in enumerate(kinds)}
    names = {kind.name: number for number, kind in enumerate(kinds)}
    alike: dict[tuple[int, Vector], list[Node]] = defaultdict(list)
    for (name, amounts, labels, groups), nodes_of in _reported(space, nodes, gangs, totals=totals).items():
        if amounts is None:
            if name in names:
                found.unused[names[name]] += nodes_of
            continue
        if any((amount or 0.0) < least - 2 * GRAIN for amount, least in zip(amounts, space.floor, strict=True)):
            continue
        free = vector(amounts, space.dimensions)
        own = {key: value for key, value in zip(space.label_keys, labels, strict=True) if value}
        kind = Kind(name, space.fulfils(with_group(name, own)), accelerated(nodes_of[0].total), groups)
        number = numbers.setdefault(kind, len(kinds))
        if number == len(kinds):
            kinds.append(kind)
        alike[number, free] += nodes_of
    _sort(found, alike)
    return found


def _kind(space: Space, node_type: NodeType) -> Kind:
    fulfils = space.fulfils(with_group(node_type.name, node_type.labels))
    return Kind(node_type.name, fulfils, accelerated(node_type.resources), capacity=space.vector(node_type.resources))


_Report = tuple[str, tuple[float | None, ...] | None, tuple[str, ...], frozenset[str]]


def _reported(space: Space, nodes: Iterable[Node], gangs: Iterable[Gang], *, totals: bool) -> dict[_Report, list[Node]]:
    """Nodes by what they report, word by word; the amounts of a node that has not joined are None."""
    names, keys = space.dimensions, space.label_keys
    wanted = frozenset(gang.group_id for gang in gangs)
    nowhere: frozenset[str] = frozenset()
    found: dict[_Report, list[Node]] = defaultdict(list)
    for node in nodes:
        status = node.status
        if status is Status.DRAINING:
            continue
        if status is Status.PENDING:
            found[node.type, None, (), nowhere].append(node)
            continue
        amounts = tuple(map((node.total if totals else node.available).get, names))
        labels = tuple([node.labels.get(key, "") for key in keys]) if keys else ()
        found[node.type, amounts, labels, node.groups & wanted if node.groups else nowhere].append(node)
    return found


def _sort(found: Fleet, alike: Mapping[tuple[int, Vector], list[Node]]) -> None:
    """Bins in an order of their own, and the unused nodes of each type apart."""
    by_name = sorted(alike, key=lambda key: (found.kinds[key[0]][:3], sorted(found.kinds[key[0]].groups), key[1]))
    for number, free in by_name:
        nodes = alike[number, free]
        if number < len(found.types) and found.types[number].max_workers and free == found.kinds[number].capacity:
            found.unused[number] += nodes
        else:
            found.bins.append(Bin(free, number, len(nodes), len(found.sources)))
            found.sources.append(nodes)
