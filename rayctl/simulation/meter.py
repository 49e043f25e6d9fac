# SPDX-License-Identifier: Apache-2.0
"""What is counted while time passes: money, machine hours, resources used and provided, and how things stood."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rayctl.planner.amounts import GRAINS

HOUR_S = 3600.0


@dataclass(frozen=True)
class Point:
    """How things stand from a moment on. `nodes` have joined, `pending` have not, both by type; the head is among them.

    `waiting` and `running` are tasks and placement groups; `rate` is what an hour costs, `cost` what it has cost so far.
    """

    at: float
    nodes: Mapping[str, int]
    pending: Mapping[str, int]
    waiting: int
    running: int
    rate: float
    cost: float


@dataclass
class Meter:
    """The counters. Between two calls of `note` everything stays as it was noted; points closer than `grain_s` become one."""

    prices: Mapping[str, float]
    grain_s: float
    points: list[Point] = field(default_factory=list)
    cost: float = 0.0
    costs: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    hours: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    used: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    provided: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    most_nodes: int = 0

    def pass_time(self, seconds: float, there: Mapping[str, int], used: Mapping[str, int], provided: Mapping[str, int]) -> None:
        """Count a time in which so many machines of each type were there, and so many grains were used and provided."""
        for kind, count in there.items():
            self.hours[kind] += count * seconds / HOUR_S
            self.costs[kind] += count * seconds / HOUR_S * self.prices.get(kind, 0.0)
        self.cost += self.rate(there) * seconds / HOUR_S
        for counter, amounts in ((self.used, used), (self.provided, provided)):
            for name, amount in amounts.items():
                counter[name] += amount * seconds / HOUR_S / GRAINS

    def rate(self, there: Mapping[str, int]) -> float:
        """What these machines cost per hour."""
        return sum(count * self.prices.get(kind, 0.0) for kind, count in there.items())

    def note(self, point: Point) -> None:
        """Remember how things stand, where it is otherwise than before."""
        self.most_nodes = max(self.most_nodes, sum(point.nodes.values()) + sum(point.pending.values()))
        if self.points and _alike(self.points[-1], point):
            return
        if len(self.points) > 1 and self.points[-1].at // self.grain_s == point.at // self.grain_s:
            self.points.pop()
        self.points.append(point)

    def close(self, point: Point) -> None:
        """Remember how things stand at the end."""
        self.note(point)
        if self.points[-1].at < point.at:
            self.points.append(point)


def _alike(one: Point, other: Point) -> bool:
    return replace(one, at=0.0, cost=0.0) == replace(other, at=0.0, cost=0.0)
