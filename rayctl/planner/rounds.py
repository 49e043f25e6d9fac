# SPDX-License-Identifier: Apache-2.0
"""From demand and a fleet to the machines that are missing, so that nothing is missing any more once they are there.

One round packs gangs and demand onto the nodes there are and finds machines for the rest. The next round packs again, as if
those machines were there: that is what the next decision will see. What is then still missing is added, and the last round
misses nothing. So a plan that was carried out is followed by none, though packing is greedy. Rounds end early only where
the next one would take a gang's place away: that is worse than a plan that may be followed by another.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import inf

from rayctl.planner.fleet import Bin, Fleet
from rayctl.planner.gangs import Bundles, seat, sequence
from rayctl.planner.packing import Supply, Task, fill
from rayctl.planner.ways import cheapest

_ROUNDS = 20  # each adds machines; more than three were never seen


@dataclass(frozen=True)
class Wanted:
    """What is to have a place: how many of each item of plain demand (in the task's numbering), and gangs."""

    counts: Sequence[int]
    order: Sequence[int]
    gangs: Sequence[Bundles] = ()


@dataclass(frozen=True)
class Settled:
    """How all of it lies in the last round. `left` is per item, `added` per type.

    `score` is better when it is lower: gangs and items without a place, machines of types that come later in the wishes of
    all they hold, what the added machines cost, how many they are.
    """

    bins: list[Bin]
    left: list[int]
    seats: Seats
    added: list[int]
    score: tuple[int, int, int, float, int]


@dataclass(frozen=True)
class Stage:
    """What every round of a decision has in common."""

    task: Task
    fleet: Fleet
    supply: Supply

    def nothing(self) -> list[int]:
        """No machine of any type."""
        return [0] * len(self.task.costs)

    def settle(self, wanted: Wanted, start: Sequence[int], ground: Settled | None = None) -> Settled:
        """Rounds until nothing is missing that can be had, when `start` are added from the beginning.

        `ground`: where the gangs settled with the same start.
        """
        settled = self.settle_below(inf, wanted, start, ground)
        assert settled
        return settled

    def settle_below(self, cost: float, wanted: Wanted, start: Sequence[int], ground: Settled | None = None) -> Settled | None:
        """The same, but None as soon as the added machines cost so much."""
        supply, added = self.supply.copy(), list(start)
        supply.add(start)
        seats = ground.seats if ground else self._seats(wanted, supply)
        for _ in range(_ROUNDS):
            settled = self._around(seats, wanted, supply, added)
            if self.cost(settled.added) >= cost:
                return None
            if settled.added == added:
                break
            supply.add(list(map(operator.sub, settled.added, added)))
            added = settled.added
            again = seats.beside(supply) if seats.among_the_used(wanted) else self._seats(wanted, supply)
            if sum(again.seated) < sum(seats.seated):  # a gang's own machine tempts another one: Ray will sort it out
                break
            seats = again
        return settled

    def around(self, ground: Settled, wanted: Wanted) -> Settled:
        """Plain demand around the gangs where these settled without it. No further round: a gang might lose its place."""
        return self._around(ground.seats, wanted, ground.seats.supply, ground.added)

    def _around(self, seats: Seats, wanted: Wanted, supply: Supply, added: Sequence[int]) -> Settled:
        """One round: `added` are there; what it needs beside them is added."""
        left = list(wanted.counts)
        used = fill(seats.used, self.task, left, wanted.order)
        found = cheapest(self.task, left, seats.supply, wanted.order)
        added = list(map(operator.add, added, found.supply.bought_since(supply)))
        bins = used + found.made
        score = seats.seated.count(False), sum(found.left), self._unwished(bins), self.cost(added), sum(added)
        return Settled(bins, found.left, seats, added, score)

    def cost(self, machines: Sequence[int]) -> float:
        """What machines cost, so many of each type."""
        return round(sum(cost * count for cost, count in zip(self.task.costs, machines, strict=True)), 9)

    def _unwished(self, bins: Iterable[Bin]) -> int:
        """How far down in the wishes of what they hold the new machines are: 0 when all are first choices for something."""
        spare, found = list(self.supply.unused), 0
        depths = [(self._depth(bin), bin.kind, bin.machines) for bin in bins if bin.source < 0 and bin.holds]
        for depth, kind, machines in sorted(depths, reverse=True):
            there = min(spare[kind], machines)
            spare[kind] -= there
            found += depth * (machines - there)
        return found

    def _depth(self, bin: Bin) -> int:
        return min(self.task.wishes[index].depth(bin.kind) for index, _ in bin.holds)

    def _seats(self, wanted: Wanted, supply: Supply) -> Seats:
        """Seat the gangs; where not all have places, those that prefer to spread do not, if that helps."""
        seats = self._seated(wanted, supply, apart=True)
        if all(seats.seated) or not any(bundles.gang.strategy == "SPREAD" for bundles in wanted.gangs):
            return seats
        closer = self._seated(wanted, supply, apart=False)
        return closer if sum(closer.seated) > sum(seats.seated) else seats

    def _seated(self, wanted: Wanted, supply: Supply, *, apart: bool) -> Seats:
        kinds, bins = self.task.kinds, list(self.fleet.bins)
        bins += [Bin(kinds[kind].capacity, kind, count, ~kind) for kind, count in enumerate(supply.unused) if count]
        rest = replace(supply.copy(), unused=self.nothing())
        seated, left = [False] * len(wanted.gangs), [0] * len(self.task.items)
        for number in sequence([bundles.gang for bundles in wanted.gangs]):
            found = seat(wanted.gangs[number], bins, self.task, left, rest, apart=apart)
            if found is not None:
                bins, seated[number] = found, True
        for bin in bins:
            if bin.unused:
                rest.unused[bin.kind] += bin.machines
        rest.here = list(map(min, supply.here, rest.unused))
        return Seats([bin for bin in bins if not bin.unused], seated, rest)


@dataclass(frozen=True)
class Seats:
    """Where the gangs are: the bins in use then, which gangs have a place, and what may still be had."""

    used: list[Bin]
    seated: list[bool]
    supply: Supply

    def among_the_used(self, wanted: Wanted) -> bool:
        """Whether all gangs are where they would be with any number of unused machines more.

        So it is when all have places, none on a machine that was unused, and none that prefers to spread has two bundles
        on one machine.
        """
        if not all(self.seated):
            return False
        spread = {
            index: number
            for number, (gang, items) in enumerate(wanted.gangs)
            if gang.strategy == "SPREAD"
            for index, _ in items
        }
        for bin in self.used:
            if bin.source < 0:
                return False
            bundles = Counter(spread[index] for index, each in bin.holds if index in spread for _ in range(each))
            if any(count > 1 for count in bundles.values()):
                return False
        return True

    def beside(self, supply: Supply) -> Seats:
        """The same places, with another supply beside them."""
        return replace(self, supply=supply.copy())
