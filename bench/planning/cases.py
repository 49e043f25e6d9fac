# SPDX-License-Identifier: Apache-2.0
"""Which cases there are."""

from __future__ import annotations

from dataclasses import dataclass

from bench.planning.scenario import Scenario, scenario

USUAL_GANGS = 20


@dataclass(frozen=True)
class Case:
    """So many nodes, shapes of demand, requests and placement groups. With `jitter`, no two nodes are alike."""

    nodes: int
    shapes: int
    demands: int
    gangs: int = 0
    jitter: bool = False

    def arguments(self, seed: int) -> dict[str, float]:
        """What its scenario is generated from."""
        return {
            "nodes": self.nodes,
            "shapes": self.shapes,
            "demands": self.demands,
            "gangs": self.gangs,
            "jitter": int(self.jitter),
            "seed": seed,
        }

    def scenario(self, seed: int) -> Scenario:
        """The scenario of one seed."""
        return scenario(self.nodes, self.shapes, self.demands, gangs=self.gangs, seed=seed, jitter=int(self.jitter))

    @property
    def size(self) -> Case:
        """The same with nodes that are alike and without placement groups."""
        return Case(self.nodes, self.shapes, self.demands)

    def like(self, other: Case) -> bool:
        """Whether it is of the same size."""
        return self.size == other.size

    def __str__(self) -> str:
        size = f"{self.nodes:,} nodes, {self.shapes} shapes, {self.demands:,} requests"
        groups = f", {self.gangs} groups" if self.gangs else ""
        return f"{size}{groups}, {'distinct' if self.jitter else 'alike'}"


FASTER = Case(1_000, 5, 10_000)
LARGEST = Case(10_000, 10, 1_000_000)
SIZES = (Case(10, 3, 100), Case(100, 5, 1_000), FASTER, Case(1_000, 200, 10_000), Case(1_000, 10, 100_000), LARGEST)
CASES = tuple(
    Case(size.nodes, size.shapes, size.demands, gangs, jitter)
    for size in SIZES
    for gangs in (0, USUAL_GANGS)
    for jitter in (False, True)
)

# Many seeds where Ray takes minutes would take a day: there one variant stands for all, or Ray is left out.
PRICED = (
    *(case for case in CASES if case.demands <= 1_000),
    Case(1_000, 5, 10_000, USUAL_GANGS, True),
    Case(1_000, 200, 10_000),
)
PRICED_WITHOUT_RAY = tuple(case for case in CASES if case.demands > 1_000 and case not in PRICED)
