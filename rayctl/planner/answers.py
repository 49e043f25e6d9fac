# SPDX-License-Identifier: Apache-2.0
"""What becomes of each demand, in numbers, and why what has no place has none, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

from rayctl.gcs.view import Demand
from rayctl.planner.amounts import GRAINS
from rayctl.planner.fleet import Fleet, Item, Seen, Space
from rayctl.planner.launches import Launches
from rayctl.planner.model import Answer, Node, Placement, Snapshot, Status
from rayctl.planner.wording import amount, listed

NOBODY = "there is no node type that may have workers"
BUSY = "the nodes that could hold it are busy, and no node type could"


class Obstacles:
    """Why demand has no place, as the types and the limits stand at the end of a decision."""

    def __init__(self, snapshot: Snapshot, space: Space, there: Fleet, launches: Launches) -> None:
        self.snapshot = snapshot
        self.space = space
        self.types = launches.types
        self.kinds = there.kinds[: len(launches.types)]
        self.launches = launches

    def ever(self, item: Item) -> bool:
        """Whether one of it could be held by some type, or by a node that is there if it were empty."""
        if item.pinned or self._unlearnt() or any(self.refusal(number, item) is None for number in range(len(self.types))):
            return True
        return any(self.space.could_hold(seen, [item]) for seen in self.joined)

    @cached_property
    def joined(self) -> Counter[Seen]:
        """The nodes that joined, as if they were empty."""
        nodes = (node for node in self.snapshot.nodes if node.status is not Status.PENDING)
        return Counter(self.space.seen(node, node.total) for node in nodes)

    def never(self, item: Item) -> str:
        """Why nothing could ever hold it."""
        refusals = [refusal for n in range(len(self.types)) if (refusal := self.refusal(n, item))]
        return "no node type can hold it: " + listed(refusals) if refusals else NOBODY

    def now(self, items: Sequence[Item]) -> str:
        """Why nothing more can be launched for it now."""
        if any(item.pinned for item in items):
            return "it asks for one particular node, which no new machine can be"
        able = [n for n in range(len(self.types)) if any(self.refusal(n, item) is None for item in items)]
        limits = dict.fromkeys(limit for n in able if (limit := self.limit(n)))
        if able:
            return listed(limits) or "it needs more machines than max_workers allows"
        busy = any(self.space.could_hold(seen, items) for seen in self.joined)
        return "; ".join(self._unlearnt()) or (
            "the nodes that could hold it are busy, and no node type could" if busy else NOBODY
        )

    def refusal(self, number: int, item: Item) -> str | None:
        """Why a machine of this type could not hold one of it, were it empty."""
        node_type, kind = self.types[number], self.kinds[number]
        if not node_type.max_workers:
            return f"{node_type.name} may have no workers"
        for dimension, wanted in item.need:
            if kind.capacity[dimension] < wanted:
                name = self.space.dimensions[dimension]
                has = amount(name, kind.capacity[dimension] / GRAINS) if kind.capacity[dimension] else "no"
                return f"{node_type.name} has {has} {name}"
        if item.depth(kind.fulfils) is None:
            return f"{node_type.name} has other labels"
        return None

    def limit(self, number: int) -> str:
        """Why no machine of this type can be added."""
        node_type = self.types[number]
        setback = self.snapshot.setbacks.get(node_type.name)
        if setback and setback.retry_in_s > 0:
            return f"{node_type.name} could not be launched ({setback.reason}), next try in {setback.retry_in_s:.0f} s"
        if self.launches.room[number] <= 0:
            return f"{node_type.name} has its max_workers ({node_type.max_workers})"
        return f"max_workers ({self.snapshot.policy.max_workers}) is reached" if self.launches.total <= 0 else ""

    def _unlearnt(self) -> list[str]:
        unknown = (node_type.name for node_type in self.types if not node_type.resources and node_type.max_workers)
        return [f"what {name} has is learnt from the first one" for name in unknown]


def tally(
    asked: Sequence[Demand], placements: Iterable[Placement], nodes: Iterable[Node], launched: Mapping[str, int]
) -> list[Answer]:
    """The numbers of plain demand, as far as it is placed. `launched`: how many machines of each type come with this plan."""
    coming = {node.id for node in nodes if node.status is Status.PENDING}
    found = [[0, 0, 0, 0] for _ in asked]
    for placement in placements:
        for index, each in placement.holds:
            for place, machines in enumerate(_split(placement, coming, launched)):
                found[index][place] += machines * each
    return [Answer(demand.count, here, late, new, held) for demand, (here, late, new, held) in zip(asked, found, strict=True)]


def _split(placement: Placement, coming: set[str], launched: Mapping[str, int]) -> tuple[int, int, int, int]:
    """How many of the machines are here, coming, launched and held back."""
    if placement.nodes:
        late = sum(node in coming for node in placement.nodes) if coming else 0
        return len(placement.nodes) - late, late, 0, 0
    soon = launched_now(placement, launched)
    return 0, 0, soon, placement.machines - soon


def launched_now(placement: Placement, launched: Mapping[str, int]) -> int:
    """How many of the new machines of a placement are among the first ones of their type, which are launched now."""
    return max(0, min(placement.machines, launched.get(placement.type, 0) - placement.first))
