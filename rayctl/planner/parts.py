# SPDX-License-Identifier: Apache-2.0
"""One part of the demand, from what is asked to where it lies: `request_resources()` is one, gangs and queued work another.

The two differ in what they look at: the first at what nodes have, the second at what they have left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count

from rayctl.gcs.view import Demand, Gang
from rayctl.planner.costs import costs
from rayctl.planner.fleet import Fleet, Item, Space, fleet
from rayctl.planner.gangs import Bundles
from rayctl.planner.launches import Launches
from rayctl.planner.model import Cause, Node, Removal, Snapshot, Status
from rayctl.planner.packing import Supply, Task
from rayctl.planner.rounds import Settled, Stage, Wanted
from rayctl.planner.search import by_cause, pack
from rayctl.planner.seating import Seating, seating
from rayctl.planner.wishes import wish


@dataclass(frozen=True)
class Asked:
    """Demand as items: first the plain ones, `counts` of each, then the bundles of each gang."""

    space: Space
    items: Sequence[Item]
    counts: Sequence[int]
    gangs: Sequence[Bundles]

    @classmethod
    def of(cls, pending: Sequence[Demand], gangs: Sequence[Gang]) -> Asked:
        """What these ask for."""
        parts = [gang.parts() for gang in gangs]
        demands = [*pending, *chain.from_iterable(parts)]
        space, numbers = Space.of(demands), count(len(pending))
        seats = [
            Bundles(gang, tuple((next(numbers), part.count) for part in own)) for gang, own in zip(gangs, parts, strict=True)
        ]
        return cls(space, [space.item(demand) for demand in demands], [demand.count for demand in pending], seats)


@dataclass(frozen=True)
class Part:
    """Where all that was asked lies in the end. `added` are the machines it needs, by cause and type."""

    asked: Asked
    task: Task
    fleet: Fleet
    settled: Settled
    added: Mapping[Cause, Sequence[int]]
    seating: Seating

    def without_place(self) -> list[Item]:
        """Items of which some have no place, and those of gangs without a place."""
        plain = [self.asked.items[index] for index in range(len(self.asked.counts)) if self.settled.left[index]]
        gangs = (bundles for bundles, seated in zip(self.asked.gangs, self.settled.seats.seated, strict=True) if not seated)
        return plain + [self.asked.items[index] for bundles in gangs for index, _ in bundles.items]


@dataclass(frozen=True)
class Decided:
    """All that was decided: nodes that go, machines that come, how many of those have to wait, and who lies where."""

    snapshot: Snapshot
    going: Mapping[str, Removal]
    waits: tuple[str, ...]
    launches: Launches
    held: Sequence[int]
    requested: Part
    work: Part

    @property
    def launched(self) -> dict[str, int]:
        """How many machines of each type are launched now."""
        types = enumerate(self.launches.types)
        return {node_type.name: self.launches.of(kind) - self.held[kind] for kind, node_type in types}


def part(snapshot: Snapshot, asked: Asked, nodes: Sequence[Node], launches: Launches, *, totals: bool = False) -> Part:
    """Find places for all that is asked, on these nodes, on those that are to be launched anyway, and on more."""
    gangs = [bundles.gang for bundles in asked.gangs]
    there = fleet(asked.space, launches.types, nodes if asked.items else (), gangs, totals=totals)
    task = _task(snapshot, asked, there)
    hardest = sorted(range(len(asked.items)), key=task.hardness)
    rank = {index: place for place, index in enumerate(hardest)}
    wanted = Wanted(
        counts=[*asked.counts, *[0] * (len(asked.items) - len(asked.counts))],
        order=[index for index in hardest if index < len(asked.counts)],
        gangs=[Bundles(gang, tuple(sorted(items, key=lambda item: rank[item[0]]))) for gang, items in asked.gangs],
    )
    stage = Stage(task, there, _supply(there, launches))
    settled = pack(stage, wanted)
    seats = seating(settled.bins, there, len(asked.counts))
    return Part(asked, task, there, settled, by_cause(stage, wanted, settled), seats)


def _task(snapshot: Snapshot, asked: Asked, there: Fleet) -> Task:
    by_name = costs(snapshot.policy)
    prices = [by_name[node_type.name] for node_type in there.types]
    wishes = {item: wish(item, there, prices, snapshot.setbacks) for item in dict.fromkeys(asked.items)}
    return Task(asked.items, [wishes[item] for item in asked.items], there.kinds, prices)


def _supply(there: Fleet, launches: Launches) -> Supply:
    unused = [len(nodes) + launches.of(kind) for kind, nodes in enumerate(there.unused)]
    here = [sum(node.status is not Status.PENDING for node in nodes) for nodes in there.unused]
    return Supply(unused, list(launches.room), launches.total, here)
