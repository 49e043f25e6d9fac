# SPDX-License-Identifier: Apache-2.0
"""Placement groups: each gets a place for all its bundles or for none.

As Ray means them: STRICT_PACK wants one node for all bundles, STRICT_SPREAD a node of its own for each, also beside the
bundles that already have one; PACK and SPREAD only prefer so, and no machine is launched for a preference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rayctl.gcs.view import Gang
from rayctl.planner.fleet import Bin
from rayctl.planner.packing import Supply, Task, fill, into, tightest
from rayctl.planner.ways import cheapest


class Bundles(NamedTuple):
    """A gang in terms of items: (number of an item, how many), the hardest first."""

    gang: Gang
    items: tuple[tuple[int, int], ...]


def sequence(gangs: Sequence[Gang]) -> list[int]:
    """In which order gangs get their places: the strict ones first, then the big ones; ids decide between equals."""

    def key(number: int) -> tuple[bool, int, str, str]:
        gang = gangs[number]
        return not gang.strategy.startswith("STRICT"), -sum(b.count for b in gang.bundles), gang.strategy, gang.group_id

    return sorted(range(len(gangs)), key=key)


def seat(
    bundles: Bundles, bins: list[Bin], task: Task, left: list[int], supply: Supply, *, apart: bool = True
) -> list[Bin] | None:
    """The bins with the gang in them, with new ones from the supply where it needs them; None when it has no place.

    `left` is all zero before and after; of a gang without a place nothing is used. `apart`: SPREAD is heeded where it goes.
    """
    had = supply.copy()
    for index, n in bundles.items:
        left[index] = n
    order = [index for index, _ in bundles.items]
    if bundles.gang.strategy == "STRICT_SPREAD":
        seated = _apart(bundles, bins, task, left, supply)
    elif bundles.gang.strategy == "SPREAD" and apart:
        rest, taken = _one_each(bundles, bins, task, left)
        seated = fill(rest + taken, task, left, order)
        seated += _bought(task, left, supply, order)
    else:
        seated = fill(bins, task, left, order, together=True)
        seated += _bought(task, left, supply, order)
    if not any(left[index] for index in order):
        return seated
    for index in order:
        left[index] = 0
    supply.unused, supply.room, supply.total = had.unused, had.room, had.total
    return None


def _apart(bundles: Bundles, bins: list[Bin], task: Task, left: list[int], supply: Supply) -> list[Bin]:
    rest, taken = _one_each(bundles, bins, task, left)
    for index, _ in _choosiest_first(bundles, task):
        taken += _machines(task, index, left, supply)
    return rest + taken


def _choosiest_first(bundles: Bundles, task: Task) -> list[tuple[int, int]]:
    """What fewer types can hold comes first, so that others do not take these from it."""
    return sorted(bundles.items, key=lambda item: len(task.wishes[item[0]].rides))


def _bought(task: Task, left: list[int], supply: Supply, order: Sequence[int]) -> list[Bin]:
    """Machines for what is left; `left` and `supply` are used up."""
    if not any(left[index] for index in order):
        return []
    found = cheapest(task, left, supply, order)
    left[:] = found.left
    supply.unused, supply.room, supply.total = found.supply.unused, found.supply.room, found.supply.total
    return found.made


def _one_each(bundles: Bundles, bins: list[Bin], task: Task, left: list[int]) -> tuple[list[Bin], list[Bin]]:
    """At most one bundle on each node: what is left of the bins, and the bins with a bundle."""
    rest, taken = list(bins), list[Bin]()
    depths = max((len(task.items[index].levels) for index, _ in bundles.items), default=0)
    for depth in range(depths):
        for index, _ in _choosiest_first(bundles, task):
            if depth >= len(task.items[index].levels):
                continue
            for *_, place in tightest(rest, task, index, depth):
                if not left[index]:
                    break
                bin = rest[place]
                if bundles.gang.group_id in task.kinds[bin.kind].groups:
                    continue
                count = min(bin.machines, left[index])
                taken.append(into(bin, index, task.items[index].need, 1, count))
                rest[place] = bin._replace(machines=bin.machines - count)
                left[index] -= count
            rest = [bin for bin in rest if bin.machines]
    return rest, taken


def _machines(task: Task, index: int, left: list[int], supply: Supply) -> list[Bin]:
    """A machine of its own for each that is left of an item, the cheapest that can hold it."""
    made: list[Bin] = []
    for tier in task.wishes[index].tiers:
        for kind in sorted(tier, key=lambda kind: (task.costs[kind], kind)):
            if count := min(left[index], supply.has(kind)):
                supply.take(kind, count)
                left[index] -= count
                empty = Bin(task.kinds[kind].capacity, kind, count, ~kind)
                made.append(into(empty, index, task.items[index].need, 1, count))
    return made
