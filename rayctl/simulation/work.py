# SPDX-License-Identifier: Apache-2.0
"""Work that waits or runs, as counts: `workload` moves it from the one to the other."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from rayctl.gcs.view import Demand, Gang
from rayctl.planner import wording
from rayctl.simulation.events import Span
from rayctl.simulation.placing import Member, Need, Shape

OPEN: Span = (inf, inf)  # of work by level, which runs until the level falls


@dataclass(eq=False)
class Batch:
    """Equal work that came at the same time; `order` is its place in the queue, `since` when its wait began."""

    order: int
    since: float
    count: int
    runs_s: Span


@dataclass(eq=False)
class Work:
    """All equal work. `strategy` is that of a placement group, "" for tasks; waits are counted by the tenth of a second."""

    title: str
    strategy: str
    demands: tuple[Demand, ...]
    shapes: tuple[tuple[Shape, int], ...]
    queue: deque[Batch] = field(default_factory=deque)
    stuck: bool = False
    open: deque[Stint] = field(default_factory=deque)
    waits: Counter[float] = field(default_factory=Counter)
    submitted: int = 0
    done: int = 0
    withdrawn: int = 0
    waiting: int = 0
    running: int = 0


@dataclass(eq=False)
class Stint:
    """So many of some work that run together and end together; with the nodes and what each of the work takes there."""

    work: Work
    order: int
    count: int
    began: float
    lasts: float
    seats: Sequence[tuple[Member, Need]]

    @property
    def group(self) -> str:
        """The id of the placement group that it is."""
        return group_id(self.order)


def group_id(order: int) -> str:
    """The id of the placement group that came as this."""
    return f"{order:032x}"


def work_of(strategy: str, demands: Sequence[Demand]) -> Work:
    """Work of a kind that has not been met before; the counts of demands are those of a group's bundles."""
    gang = Gang("", strategy, tuple(demands))
    title = wording.gang(gang) if strategy else wording.demand(demands[0])
    return Work(title, strategy, gang.bundles, tuple((Shape(demand), demand.count) for demand in gang.parts()))
