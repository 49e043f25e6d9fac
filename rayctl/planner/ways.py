# SPDX-License-Identifier: Apache-2.0
"""Several ways to find machines for what is left, and the best of what they find.

`cover` is greedy, so the order of its choices matters at the end, when little is left. Trying some orders costs little beside
the machine that one of them saves.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rayctl.planner.covering import Arrange, cover, every_order, hardest_first
from rayctl.planner.fleet import Bin
from rayctl.planner.packing import Supply, Task

MANY_ITEMS = 24  # with more kinds of demand, trying several orders costs more than it saves

Way = Callable[[list[int], Supply], list[Bin]]
"""What is left of each item, and the supply: both are used up. The machines, with what they hold."""


@dataclass(frozen=True)
class Found:
    """Machines for what was left, what is left then, and the supply beside them."""

    made: list[Bin]
    left: list[int]
    supply: Supply
    score: tuple[int, float, int, int]


def cheapest(task: Task, left: list[int], supply: Supply, order: Sequence[int]) -> Found:
    """What places the most, then costs the least, then uses the most of what is here already."""
    best = _tried(task, left, supply, partial(_covered, task, order, arrange=hardest_first))
    for way in _ways(task, supply, order):
        unplaced, _, bought, idle = best.score
        if not (unplaced or bought or idle):
            break
        best = min(best, _tried(task, left, supply, way), key=_score)
    if best.score[0] and best.supply.total <= 0:
        best = min([best, *(_tried(task, left, supply, way) for way in _ways_of_few(task, order))], key=_score)
    return best


def _score(found: Found) -> tuple[int, float, int, int]:
    return found.score


def _tried(task: Task, left: list[int], supply: Supply, way: Way) -> Found:
    rest, after = list(left), supply.copy()
    made = way(rest, after)
    bought = after.bought_since(supply)
    cost = sum(map(operator.mul, task.costs, bought))
    used = map(operator.sub, supply.unused, after.unused)
    idle = sum(max(0, here - n) for here, n in zip(supply.here, used, strict=True))
    return Found(made, rest, after, (sum(rest), round(cost, 9), sum(bought), idle))


def _ways(task: Task, supply: Supply, order: Sequence[int]) -> Iterator[Way]:
    """Other orders; and unused machines before new ones, even where those would fit better.

    It makes no difference which of the unused ones have joined: a plan must hold when they have.
    """
    arrangements: list[Arrange] = [hardest_first, every_order] if len(order) <= MANY_ITEMS else [hardest_first]
    for arrange in arrangements[1:]:
        yield partial(_covered, task, order, arrange=arrange)
    if any(supply.unused):
        for arrange in arrangements:
            yield partial(_unused_first, task, order, arrange=arrange)


def _ways_of_few(task: Task, order: Sequence[int]) -> Iterator[Way]:
    """Where the number of machines is what lacks: what a machine holds counts more and more, its price less and less."""
    for factor in (1, 10, 1000):
        penalty = factor * max(task.costs, default=0.0)
        dearer = replace(task, costs=[cost + penalty for cost in task.costs])
        yield partial(_covered, dearer, order, arrange=every_order)


def _covered(task: Task, order: Sequence[int], left: list[int], supply: Supply, *, arrange: Arrange) -> list[Bin]:
    return cover(task, left, supply, order, arrange)


def _unused_first(task: Task, order: Sequence[int], left: list[int], supply: Supply, *, arrange: Arrange) -> list[Bin]:
    """Unused machines first, and new ones for the rest."""
    none = [0] * len(supply.room)
    some = Supply(list(supply.unused), none, 0, none)
    made = cover(task, left, some, order, arrange)
    supply.unused = some.unused
    return made + cover(task, left, supply, order, arrange)
