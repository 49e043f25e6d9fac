# SPDX-License-Identifier: Apache-2.0
"""Machines for demand that has no place yet.

Again and again the machine is taken that holds the most for its cost, as often as there is enough to fill it. What an item
is worth is what the cheapest machine costs for it alone, so a machine whose leftovers serve other items too wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rayctl.planner.amounts import Need, Vector
from rayctl.planner.fleet import Bin
from rayctl.planner.packing import Holds, Supply, Task

_EQUAL = 1 + 1e-9  # scores that differ by less are the same

Arrange = Callable[[Task, list[int], list[int]], Iterable[list[int]]]
"""Task, what is left of each item, the items that want something -> the orders in which to try to fill a machine."""


def hardest_first(task: Task, left: list[int], live: list[int]) -> Iterable[list[int]]:
    """One order only: fastest, and good where the items are many."""
    del task, left
    return (live,)


def every_order(task: Task, left: list[int], live: list[int]) -> Iterable[list[int]]:
    """Also the smallest and the most frequent first, so that items are used up at the same pace; devices before the rest."""
    wishes, items = task.wishes, task.items
    smallest = sorted(live, key=lambda index: (not items[index].device, wishes[index].worth))
    frequent = sorted(live, key=lambda index: (not items[index].device, -left[index] * wishes[index].worth))
    return live, smallest, frequent


def cover(task: Task, left: list[int], supply: Supply, order: Sequence[int], arrange: Arrange = hardest_first) -> list[Bin]:
    """Machines of the supply that hold what is left of the items in `order`, as bins.

    `left` and `supply` are used up; what has no machine stays. Unused machines are worth as much as new ones here.
    """
    return _Cover(task, left, supply, order, arrange).machines()


class _Filling(NamedTuple):
    """A machine filled in some order: what it holds, what that is worth, and what is still free."""

    holds: Holds
    worth: float
    free: Vector


class _Cover:
    """One covering under way. `buyers` are, by type, the live items that want machines of it; others only use leftovers."""

    def __init__(self, task: Task, left: list[int], supply: Supply, order: Sequence[int], arrange: Arrange) -> None:
        self.task, self.left, self.supply, self.arrange = task, left, supply, arrange
        self.live = [index for index in order if left[index]]
        self.buyers: list[set[int]] = []
        self.open: list[bool] = []
        self.known: dict[int, _Filling] = {}
        self.scarce = _needed_by_all([task.items[index].need for index in self.live])

    def machines(self) -> list[Bin]:
        """Buy until nothing is left, or nothing can be had."""
        made: list[Bin] = []
        while True:
            self._look_at_supply()
            best = self._best()
            if best is None:
                return made
            kind, (holds, _, free) = best
            count = min(self.supply.has(kind), *(self.left[index] // n for index, n in holds))
            self.supply.take(kind, count)
            made.append(Bin(free, kind, count, ~kind, holds))
            for index, n in holds:
                self.left[index] -= n * count
                if not self.left[index]:
                    self._drop(index)

    def _look_at_supply(self) -> None:
        """When a type has run out, those that wanted it want the next group of types of which there is one."""
        is_open = [self.supply.has(kind) > 0 for kind in range(len(self.task.costs))]
        if is_open == self.open:
            return
        self.open, self.buyers = is_open, [set() for _ in is_open]
        for index in list(self.live):
            tier = next((tier for tier in self.task.wishes[index].tiers if any(is_open[kind] for kind in tier)), None)
            if tier is None:
                self.live.remove(index)
            for kind in tier or ():
                self.buyers[kind].add(index)

    def _drop(self, index: int) -> None:
        self.live.remove(index)
        for buyers in self.buyers:
            buyers.discard(index)

    def _best(self) -> tuple[int, _Filling] | None:
        """The machine that holds the most for its cost, the bigger of two equals."""
        best, best_score, costs = None, 0.0, self.task.costs
        orders = list(self.arrange(self.task, self.left, self.live))
        for kind, cost in enumerate(costs):
            if not self.open[kind] or not self.buyers[kind]:
                continue
            for number, order in enumerate(orders):
                filling = self._hardest(kind) if number == 0 else self._filled(kind, order)
                score = filling.worth / cost
                if score * _EQUAL < best_score or self.buyers[kind].isdisjoint(index for index, _ in filling.holds):
                    continue
                if best is None or score > best_score * _EQUAL or cost > costs[best[0]]:
                    best, best_score = (kind, filling), score
        return best

    def _hardest(self, kind: int) -> _Filling:
        """Filled with the hardest first; the last such filling will do as long as there is enough for it."""
        known = self.known.get(kind)
        if known is None or any(self.left[index] < n for index, n in known.holds):
            known = self.known[kind] = self._filled(kind, self.live)
        return known

    def _filled(self, kind: int, order: Sequence[int]) -> _Filling:
        """An unused machine, filled in this order."""
        free = list(self.task.kinds[kind].capacity)
        items, wishes, left = self.task.items, self.task.wishes, self.left
        holds, worth = [], 0.0
        for index in order:
            n = left[index]
            for dimension, amount in items[index].need:
                fit = free[dimension] // amount
                if fit < n:  # noqa: PLR1730 - the innermost line of all
                    n = fit
            if n <= 0 or kind not in wishes[index].rides:
                continue
            for dimension, amount in items[index].need:
                free[dimension] -= amount * n
            holds.append((index, n))
            worth += wishes[index].worth * n
            if any(free[dimension] < amount for dimension, amount in self.scarce):
                break
        return _Filling(tuple(holds), worth, tuple(free))


def _needed_by_all(needs: Sequence[Need]) -> Need:
    """What every one of them needs at least: a machine with less is full."""
    if not needs:
        return ()
    common = set.intersection(*({dimension for dimension, _ in need} for need in needs))
    return tuple((d, min(amount for need in needs for dimension, amount in need if dimension == d)) for d in sorted(common))
