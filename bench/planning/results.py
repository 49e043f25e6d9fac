# SPDX-License-Identifier: Apache-2.0
"""What is compared: the planners with each other and with the bound, on one scenario."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.planning.cases import Case
from bench.planning.deciders import OURS, RAYS
from bench.planning.runner import Outcome


@dataclass(frozen=True)
class Result:
    """One case with one seed. `bound` is the objective that no plan can be below."""

    case: Case
    seed: int
    outcomes: Mapping[str, Outcome]
    bound: float

    @property
    def ours(self) -> Outcome:
        """There always is one."""
        return self.outcomes[OURS]

    @property
    def ours_objective(self) -> float:
        """What our plan costs."""
        assert self.ours.objective is not None
        return self.ours.objective

    @property
    def violations(self) -> tuple[str, ...]:
        """What is wrong with our plan; nothing, it is to be hoped."""
        return self.ours.runs[0].violations

    @property
    def ours_left_over(self) -> int:
        """What has no place in our plan."""
        assert self.ours.decision is not None
        return self.ours.decision.left_over

    def ratio(self, decider: str) -> float | None:
        """How many times our CPU seconds another planner takes; None where it has no decision."""
        theirs, ours = self._cpu_s(decider), self.ours.cpu_s
        return theirs / ours if theirs is not None and ours else None

    def least_ratio(self, decider: str) -> float | None:
        """`ratio`, or where it was cut, what it is at least."""
        theirs = self.outcomes.get(decider)
        cut = theirs.cut_at_s if theirs else None
        return self.ratio(decider) if cut is None or not self.ours.cpu_s else cut / self.ours.cpu_s

    @property
    def best_ray(self) -> Outcome | None:
        """The cheaper of those of Ray's that place no less than we do."""
        rivals = [
            self.outcomes[decider]
            for decider in RAYS
            if (left := self._left_over(decider)) is not None and left <= self.ours_left_over
        ]
        return min(rivals, key=lambda rival: rival.objective or 0.0, default=None)

    @property
    def objective_vs_best_ray(self) -> float | None:
        """None where none of Ray's places as much."""
        rival = self.best_ray
        return None if rival is None or rival.objective is None else _share(self.ours_objective, rival.objective)

    @property
    def objective_vs_lp(self) -> float | None:
        """1 is as cheap as can be. What has no place costs nothing: look at `ours_left_over` too."""
        return _share(self.ours_objective, self.bound)

    @property
    def ratio_machine(self) -> float | None:
        """How many times the machines of `best_ray` we launch."""
        rival = self.best_ray
        return None if rival is None else _share(self.ours.machines or 0, rival.machines or 0)

    @property
    def left_over_beyond_ray(self) -> int | None:
        """How much more is without a place in our plan than in the better of Ray's; None where both were cut."""
        theirs = [left for decider in RAYS if (left := self._left_over(decider)) is not None]
        return self.ours_left_over - min(theirs) if theirs else None

    def _cpu_s(self, decider: str) -> float | None:
        return self.outcomes[decider].cpu_s if decider in self.outcomes else None

    def _left_over(self, decider: str) -> int | None:
        decision = self.outcomes[decider].decision if decider in self.outcomes else None
        return None if decision is None else decision.left_over


def _share(ours: float, theirs: float) -> float | None:
    """How many times theirs ours is; None where theirs is nothing and ours is not."""
    if theirs:
        return ours / theirs
    return None if ours else 1.0
