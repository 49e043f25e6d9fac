# SPDX-License-Identifier: Apache-2.0
"""Demand onto groups of machines that are there: the hardest item first, each where the least is left over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rayctl.planner.amounts import Need, less
from rayctl.planner.fleet import Bin, Item, Kind
from rayctl.planner.wishes import Wish

Holds = tuple[tuple[int, int], ...]
_VERY_OFTEN = 1 << 40


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


def fill(bins: Sequence[Bin], task: Task, left: list[int], order: Sequence[int], *, together: bool = False) -> list[Bin]:
    """The bins with as much of the items in `order` as fits; what does not fit stays in `left`, the count of each item.

    `together`: on as few machines as it goes, instead of where the least is left over.
    """
    filled = list(bins)
    for depth in range(max((len(task.items[index].levels) for index in order), default=0)):
        for index in order:
            if left[index] and depth < len(task.items[index].levels):
                _put(filled, task, index, depth, left, together=together)
    return filled


def tightest(bins: Sequence[Bin], task: Task, index: int, depth: int) -> list[tuple[bool, bool, int, int]]:
    """The bins that can take an item, best first.

    As (whether the machines are unused, whether an accelerator would lie idle for it, how many fit on each, which bin).
    Unused ones come last, so that more of them never change what goes onto the others.
    """
    item, kinds = task.items[index], task.kinds
    need, anywhere = item.need, not item.levels[depth]
    wasteful = [kind.accelerated and not item.device for kind in kinds]
    found = []
    for place, (free, kind, _, source, holds) in enumerate(bins):
        fit = _VERY_OFTEN
        for dimension, amount in need:
            n = free[dimension] // amount
            if n < fit:  # noqa: PLR1730 - the innermost line of all
                fit = n
        if fit > 0 and (anywhere or item.pleased(kinds[kind].fulfils, depth)):
            found.append((source < 0 and not holds, wasteful[kind], fit, place))
    found.sort()
    return found


def _put(bins: list[Bin], task: Task, index: int, depth: int, left: list[int], *, together: bool) -> None:
    found = tightest(bins, task, index, depth)
    if together:
        found.sort(key=lambda place: (*place[:2], -min(place[2], left[index])))
    for _, _, fit, place in found:
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
