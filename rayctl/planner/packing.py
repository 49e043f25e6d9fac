# SPDX-License-Identifier: Apache-2.0
"""Demand onto groups of machines, and the machines that are missing then.

`fill` puts items into bins: the hardest item first, each where the least is left over. `cover` finds machines for what is
left: again and again the machine that holds the most for its cost, as often as there is enough to fill it. What an item is
worth is what the cheapest machine costs for it alone, so a machine whose leftovers serve other items too wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rayctl.planner.amounts import Need, Vector, less
from rayctl.planner.fleet import Bin, Item, Kind, Level
from rayctl.planner.wishes import Wish

Holds = tuple[tuple[int, int], ...]
_VERY_OFTEN = 1 << 40
_EQUAL = 1 + 1e-9  # scores that differ by less are the same


@dataclass(frozen=True)
class Task:
    """What is to be packed onto what: items, what each wants, the kinds of machines, what one more of each type costs."""

    items: Sequence[Item]
    wishes: Sequence[Wish]
    kinds: Sequence[Kind]
    costs: Sequence[float]

    def hardness(self, index: int) -> tuple[bool, bool, bool, float, object]:
        """A key by which the hardest item comes first: labels, devices, what no type could hold, then the dearest."""
        item, wish = self.items[index], self.wishes[index]
        return not any(item.levels), not item.device, bool(wish.tiers), -wish.worth, (item.need, item.levels)


@dataclass
class Supply:
    """Machines that can be had, by type: unused ones, and room for so many more; `total` for all types.

    `here`: how many of the unused ones have joined. The others are coming, or are to be launched anyway.
    """

    unused: list[int]
    room: list[int]
    total: int
    here: list[int]

    def copy(self) -> Supply:
        """One of its own, to be used up."""
        return Supply(list(self.unused), list(self.room), self.total, self.here)

    def add(self, counts: Sequence[int]) -> None:
        """Turn room into machines that will be there."""
        for kind, count in enumerate(counts):
            self.unused[kind] += count
            self.room[kind] -= count
            self.total -= count

    def bought_since(self, before: Supply) -> list[int]:
        """How many new machines of each type were taken since then."""
        return [had - has for had, has in zip(before.room, self.room, strict=True)]

    def has(self, kind: int) -> int:
        """How many machines of this type can be had."""
        return self.unused[kind] + max(0, min(self.room[kind], self.total))

    def take(self, kind: int, count: int) -> None:
        """Use so many, those that are there first."""
        new = max(0, count - self.unused[kind])
        self.unused[kind] -= count - new
        self.room[kind] -= new
        self.total -= new


def fulfils(kind: Kind, level: Level) -> bool:
    """Whether the labels of such machines are right for this level of an item."""
    return all(kind.fulfils[selector] for selector in level)


def fill(bins: Sequence[Bin], task: Task, left: list[int], order: Sequence[int]) -> list[Bin]:
    """The bins with as much of the items in `order` as fits; what does not fit stays in `left`, the count of each item."""
    filled = list(bins)
    for depth in range(max((len(task.items[index].levels) for index in order), default=0)):
        for index in order:
            if left[index] and depth < len(task.items[index].levels):
                _put(filled, task, index, depth, left)
    return filled


def tightest(bins: Sequence[Bin], task: Task, index: int, depth: int) -> list[tuple[bool, bool, int, int]]:
    """The bins that can take an item, best first.

    As (whether an accelerator would lie idle for it, whether the machines are unused, how many fit on each, which bin).
    """
    item, kinds = task.items[index], task.kinds
    level, need = item.levels[depth], item.need
    wasteful = [kind.accelerated and not item.device for kind in kinds]
    found = []
    for place, (free, kind, _, source, holds) in enumerate(bins):
        fit = _VERY_OFTEN
        for dimension, amount in need:
            n = free[dimension] // amount
            if n < fit:
                fit = n
        if fit > 0 and (not level or fulfils(kinds[kind], level)):
            found.append((wasteful[kind], source < 0 and not holds, fit, place))
    found.sort()
    return found


def _put(bins: list[Bin], task: Task, index: int, depth: int, left: list[int]) -> None:
    for _, _, fit, place in tightest(bins, task, index, depth):
        n = left[index]
        if not n:
            return
        left[index] -= min(n, fit * bins[place].machines)
        parts = _split(bins[place], index, task.items[index].need, n, fit)
        bins[place] = parts[0]
        bins += parts[1:]


def _split(bin: Bin, index: int, need: Need, n: int, fit: int) -> list[Bin]:
    """n of an item on the machines of one bin, `fit` on each; the last one may get fewer, the rest stays as it is."""
    full = min(bin.machines, n // fit)
    rest = n - full * fit if full < bin.machines else 0
    parts = [into(bin, index, need, fit, full)] if full else []
    if rest:
        parts.append(into(bin, index, need, rest, 1))
    if untouched := bin.machines - full - bool(rest):
        parts.append(bin._replace(machines=untouched))
    return parts


def into(bin: Bin, index: int, need: Need, each: int, count: int) -> Bin:
    """So many machines of a bin with so many more of an item on each."""
    return Bin(less(bin.free, need, each), bin.kind, count, bin.source, (*bin.holds, (index, each)))


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
    made: list[Bin] = []
    tiers = dict.fromkeys(order, 0)
    while True:
        has = [supply.has(kind) for kind in range(len(task.costs))]
        live = [index for index in order if left[index] and _seeks(task.wishes[index], tiers, index, has)]
        buys = {index: task.wishes[index].tiers[tiers[index]] for index in live}
        best = _best(task, left, has, buys, list(arrange(task, left, live)))
        if best is None:
            return made
        kind, holds, free = best
        count = min(has[kind], *(left[index] // n for index, n in holds))
        for index, n in holds:
            left[index] -= n * count
        supply.take(kind, count)
        made.append(Bin(free, kind, count, ~kind, holds))


def _seeks(wish: Wish, tiers: dict[int, int], index: int, has: Sequence[int]) -> bool:
    """Go on to the first group of types of which there are machines; whether there is one."""
    while tiers[index] < len(wish.tiers):
        if any(has[kind] for kind in wish.tiers[tiers[index]]):
            return True
        tiers[index] += 1
    return False


def _best(
    task: Task, left: list[int], has: Sequence[int], buys: dict[int, frozenset[int]], orders: list[list[int]]
) -> tuple[int, Holds, Vector] | None:
    """The machine that holds the most for its cost, the bigger of two equals; and what it holds and has left."""
    best, best_score = None, 0.0
    for kind, cost in enumerate(task.costs):
        wanted = {index for index, kinds in buys.items() if kind in kinds} if has[kind] else None
        if not wanted:
            continue
        for order in orders:
            holds, worth, free = _filled(task, left, kind, order)
            score = worth / cost
            if score * _EQUAL < best_score or wanted.isdisjoint(index for index, _ in holds):
                continue
            if best is None or score > best_score * _EQUAL or cost > task.costs[best[0]]:
                best, best_score = (kind, holds, free), score
    return best


def _filled(task: Task, left: list[int], kind: int, order: Sequence[int]) -> tuple[Holds, float, Vector]:
    """An unused machine filled in this order: what it holds, what that is worth, and what is still free."""
    free = list(task.kinds[kind].capacity)
    items, wishes = task.items, task.wishes
    holds, worth = [], 0.0
    for index in order:
        if kind not in wishes[index].rides:
            continue
        n = left[index]
        for dimension, amount in items[index].need:
            fit = free[dimension] // amount
            n = min(n, fit)
        if n > 0:
            for dimension, amount in items[index].need:
                free[dimension] -= amount * n
            holds.append((index, n))
            worth += wishes[index].worth * n
    return tuple(holds), worth, tuple(free)
