# SPDX-License-Identifier: Apache-2.0
"""A cheaper set of machines for the same demand, where there are so few that one more or less shows in the price.

What `rounds` finds is greedy, and gangs get their machines before anybody looks at plain demand. So other beginnings are
tried: the machines that plain demand would have had alone, a few less of one type, a big one instead of some small ones.
What is missing then is added as always; the cheapest result that places no less is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain

from rayctl.planner.model import Cause
from rayctl.planner.packing import Holds
from rayctl.planner.rounds import Settled, Stage, Wanted
from rayctl.planner.ways import MANY_ITEMS

FEW_MACHINES = 100  # among more, one that could be saved hardly shows in the price
MUCH = 4000  # gangs times groups of nodes: with more, every try takes long
_TRIES = 12


def pack(stage: Stage, wanted: Wanted) -> Settled:
    """All that is wanted in its place, as far as there are machines for it.

    Gangs settle first and keep their places, whatever plain demand there is beside them.
    """
    ground = stage.settle(replace(wanted, counts=[0] * len(wanted.counts), order=()), stage.nothing()) if wanted.gangs else None
    best = stage.settle(wanted, ground.added if ground else stage.nothing(), ground)
    best = _without_spares(stage, wanted, best)
    if ground and not _seats_all_of(ground, best):
        return stage.around(ground, wanted)
    effort = len(wanted.gangs) * (len(stage.fleet.bins) + len(stage.task.costs))
    if not 0 < sum(best.added) <= FEW_MACHINES or len(wanted.order) > MANY_ITEMS or effort > MUCH:
        return best
    for beginning in _alone(stage, wanted) if wanted.gangs else ():
        tried = _without_spares(stage, wanted, stage.settle(wanted, beginning))
        best = min(best, tried, key=_score) if _seats_all_of(best, tried) else best
    return _searched(stage, wanted, best)


def _seats_all_of(before: Settled, after: Settled) -> bool:
    """Whether every gang that had a place has one."""
    return all(has for had, has in zip(before.seats.seated, after.seats.seated, strict=True) if had)


def by_cause(stage: Stage, wanted: Wanted, settled: Settled) -> dict[Cause, list[int]]:
    """The added machines by what they are for: those that hold a bundle are for gangs, the others for queued work."""
    bundles = {index for gang in wanted.gangs for index, _ in gang.items}
    holding = _count(stage, settled, lambda holds: not bundles.isdisjoint(index for index, _ in holds))
    of_gangs = [min(added, new) for added, new in zip(settled.added, holding, strict=True)]
    return {Cause.GANG: of_gangs, Cause.DEMAND: [added - gang for added, gang in zip(settled.added, of_gangs, strict=True)]}


def _count(stage: Stage, settled: Settled, counts: Callable[[Holds], bool]) -> list[int]:
    """Of each type, how many machines beyond the unused ones that were there hold what counts."""
    found = [-unused for unused in stage.supply.unused]
    for bin in settled.bins:
        if bin.source < 0 and counts(bin.holds):
            found[bin.kind] += bin.machines
    return [max(0, n) for n in found]


def _score(settled: Settled) -> tuple[int, int, int, float, int]:
    return settled.score


def _without_spares(stage: Stage, wanted: Wanted, settled: Settled) -> Settled:
    """Without added machines that hold nothing in the end, unless something else would then be missing."""
    start = _in_use(stage, settled)
    return settled if start == settled.added else min(settled, stage.settle(wanted, start), key=_score)


def _in_use(stage: Stage, settled: Settled) -> list[int]:
    """Of the added machines those that hold something."""
    return list(map(min, settled.added, _count(stage, settled, bool)))


def _alone(stage: Stage, wanted: Wanted) -> Iterator[list[int]]:
    """The machines that plain demand would get if there were no gangs, and if bundles were plain demand too."""
    all_of_it = list(wanted.counts)
    for gang in wanted.gangs:
        for index, count in gang.items:
            all_of_it[index] += count
    for counts in (wanted.counts, all_of_it):
        order = sorted((index for index, count in enumerate(counts) if count), key=stage.task.hardness)
        yield stage.settle(Wanted(counts, order), stage.nothing()).added


def _searched(stage: Stage, wanted: Wanted, best: Settled) -> Settled:
    """Go on to the first neighbour that is better, and on from there, until none is or enough were tried."""
    neighbours = _neighbours(stage, best)
    for _ in range(_TRIES):
        start = next(neighbours, None)
        if start is None:
            break
        tried = stage.settle_below(stage.cost(best.added), wanted, start)
        if tried and tried.score < best.score and tried.added == _in_use(stage, tried) and _seats_all_of(best, tried):
            best, neighbours = tried, _neighbours(stage, tried)
    return best


def _neighbours(stage: Stage, settled: Settled) -> Iterator[list[int]]:
    return chain(_exchanged(stage, settled.added), _fewer(settled.added))


def _fewer(counts: Sequence[int]) -> Iterator[list[int]]:
    """One, half or all of a type less."""
    for kind, count in enumerate(counts):
        for cut in sorted({1, (count + 1) // 2, count}) if count else ():
            yield [*counts[:kind], count - cut, *counts[kind + 1 :]]


def _exchanged(stage: Stage, counts: Sequence[int]) -> Iterator[list[int]]:
    """One machine more of a type, for so many less of another, or of all cheaper ones, that it pays."""
    costs = stage.task.costs
    cheapest = sorted(range(len(costs)), key=lambda kind: costs[kind])
    for kind, cost in enumerate(costs):
        for others in (cheapest, *([other] for other in cheapest)) if counts[kind] < stage.supply.room[kind] else ():
            start, saved = list(counts), 0.0
            start[kind] += 1
            for other in others:
                while other != kind and start[other] and saved <= cost:
                    start[other] -= 1
                    saved += costs[other]
            if saved > cost:
                yield start
