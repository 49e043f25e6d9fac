# SPDX-License-Identifier: Apache-2.0
"""On which node a task or a placement group goes: the nodes that have joined, with what is free on them.

As Ray does it, in short: the first label selector that some node with room fulfils; work that needs no accelerator stays off
nodes that have one while others have room; of the rest the fullest node. Amounts are whole numbers of Ray's grain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rayctl.gcs.view import IMPLICIT_RESOURCE, Demand, with_group
from rayctl.planner.amounts import GRAINS, grains
from rayctl.planner.costs import ACCELERATORS, accelerated
from rayctl.planner.model import Node

_OFTEN = 1 << 40

Need = Mapping[str, int]
"""What one of something takes of each resource, in grains."""


@dataclass(eq=False)
class Member:
    """A node that has joined. `busy` counts what runs there; `idle_since` means something while that is nothing.

    `told`: how it was described last, None where that is no longer so.
    """

    name: str
    type: str
    number: int
    total: Mapping[str, float]
    labels: Mapping[str, str]
    idle_since: float
    is_head: bool = False
    draining: bool = False
    busy: int = 0
    groups: set[str] = field(default_factory=set)
    usage: float = 0.0
    told: Node | None = None

    def __post_init__(self) -> None:
        self.capacity = {name: grains(amount) for name, amount in self.total.items() if amount > 0}
        self.free = dict(self.capacity)
        self.accelerated = accelerated(self.total)

    def room(self, name: str) -> int:
        """How much of a resource is free."""
        return self.free.get(name, GRAINS if name.startswith(IMPLICIT_RESOURCE) else 0)

    def take(self, need: Need, times: int) -> None:
        """Use room, or give it back where `times` is below zero."""
        self.told = None
        for name, amount in need.items():
            self.free[name] = self.room(name) - amount * times
        self.usage = max((1 - self.free[name] / whole for name, whole in self.capacity.items()), default=0.0)

    @property
    def available(self) -> dict[str, float]:
        """What is free, in Ray's units."""
        return {name: self.free[name] / GRAINS if name in self.capacity else 0.0 for name in self.total}


class Shape:
    """Equal requests, and which nodes can take them."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.need = {name: grains(amount) for name, amount in demand.shape.items() if amount > 0}
        self.device = any(name in ACCELERATORS for name in self.need)
        self._ranks: dict[tuple[str, bool], int | None] = {}

    def rank(self, member: Member) -> int | None:
        """The place of the first selector that the node's labels fulfil; None where there is none. Labels are the type's."""
        key = member.type, member.is_head
        if key not in self._ranks:
            labels = with_group(member.type, member.labels)
            selectors = self.demand.selectors or ((),)
            fulfilled = (place for place, rules in enumerate(selectors) if all(rule.holds(labels) for rule in rules))
            self._ranks[key] = next(fulfilled, None)
        return self._ranks[key]

    def fit(self, member: Member) -> int:
        """How many more fit on a node."""
        most = _OFTEN
        for name, amount in self.need.items():
            fit = member.room(name) // amount
            if fit <= 0:
                return 0
            most = min(most, fit)
        return most

    def best(
        self, members: Iterable[Member], liked: Collection[Member] = (), shunned: Collection[Member] = ()
    ) -> Member | None:
        """The node for the next one; `liked` come first among those that labels do not tell apart, `shunned` last."""
        found, best = None, None
        for member in members:
            if member.draining or not self.fit(member):
                continue
            rank = self.rank(member)
            if rank is None:
                continue
            dear = member.accelerated and not self.device
            key = rank, member in shunned, member not in liked, dear, -member.usage, member.number
            if best is None or key < best:
                found, best = member, key
        return found


def seats(strategy: str, bundles: Sequence[tuple[Shape, int]], members: Collection[Member]) -> list[tuple[Member, Need]] | None:
    """A node for each bundle, its room taken; None, and nothing taken, where one of them has none."""
    taken: list[tuple[Member, Need]] = []
    for shape in (shape for shape, count in bundles for _ in range(count)):
        chosen = _next(strategy, shape, members, {member for member, _ in taken})
        if chosen is None:
            for member, need in taken:
                member.take(need, -1)
            return None
        chosen.take(shape.need, 1)
        taken.append((chosen, shape.need))
    return taken


def _next(strategy: str, shape: Shape, members: Collection[Member], used: set[Member]) -> Member | None:
    if strategy == "STRICT_SPREAD":
        return shape.best(member for member in members if member not in used)
    return shape.best(members, shunned=used) if strategy == "SPREAD" else shape.best(members, liked=used)
