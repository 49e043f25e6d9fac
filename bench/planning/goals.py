# SPDX-License-Identifier: Apache-2.0
"""What is meant to be reached, and for each goal the worst that was measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from bench.planning.cases import FASTER, LARGEST
from bench.planning.deciders import RAY_V2
from bench.planning.results import Result

TIMES_FASTER = 1_000
MOST_CPU_S = 1.0
MOST_MB = 500
MOST_OVER_BOUND = 1.05
MANY_REQUESTS = 1_000
ROUNDING = 1e-9

Measure = Callable[[Result], float | None]


@dataclass(frozen=True)
class Verdict:
    """A goal in words that go on after "Goal: ", whether it was met, and what was measured at the worst."""

    words: str
    met: bool
    measured: str

    def __str__(self) -> str:
        return f"Goal: {self.words}; {self.measured}: {'met' if self.met else '**missed**'}."


def verdicts(timed: Sequence[Result], priced: Sequence[Result]) -> list[Verdict]:
    """On all goals that these results say something about: on time and memory the first, on prices all of them."""
    times, prices = (_faster, _quick, _small), (_right, _never_dearer, _never_less, _near_the_bound)
    told = [verdict for goal in times for verdict in goal(timed)]
    return told + [verdict for goal in prices for verdict in goal([*timed, *priced])]


def worst(results: Sequence[Result], of: Measure, sense: int = 1) -> tuple[float, Result] | None:
    """The highest that is told, or with `sense` -1 the lowest, and of what; None where nothing is told."""
    told = [(value, result) for result in results if (value := of(result)) is not None]
    return max(told, key=lambda pair: sense * pair[0], default=None)


def where(result: Result) -> str:
    """The case and the seed."""
    return f"{result.case}, seed {result.seed}"


def _faster(results: Sequence[Result]) -> Iterator[Verdict]:
    words = f"at least {TIMES_FASTER:,} times as fast as Ray v2 with {FASTER.nodes:,} nodes and {FASTER.demands:,} requests"
    asked = [result for result in results if result.case.like(FASTER)]
    if found := worst(asked, lambda result: result.least_ratio(RAY_V2), -1):
        ratio, result = found
        least = "" if result.ratio(RAY_V2) else "more than "
        yield Verdict(words, ratio >= TIMES_FASTER, f"measured {least}{ratio:,.0f} times at the worst ({where(result)})")


def _quick(results: Sequence[Result]) -> Iterator[Verdict]:
    words = f"under {MOST_CPU_S:g} s of CPU with {LARGEST.nodes:,} nodes and {LARGEST.demands:,} requests"
    asked = [result for result in results if result.case.like(LARGEST)]
    if found := worst(asked, lambda result: result.ours.cpu_s):
        seconds, result = found
        yield Verdict(words, seconds < MOST_CPU_S, f"measured {seconds:.3f} s at the worst ({where(result)})")


def _small(results: Sequence[Result]) -> Iterator[Verdict]:
    words = f"under {MOST_MB} MB there, the input and Python included"
    asked = [result for result in results if result.case.like(LARGEST)]
    if found := worst(asked, lambda result: result.ours.peak_mb):
        megabytes, result = found
        yield Verdict(words, megabytes < MOST_MB, f"measured {megabytes:.0f} MB at the worst ({where(result)})")


def _right(results: Sequence[Result]) -> Iterator[Verdict]:
    words = "every plan keeps what it promises, by an independent check"
    if found := worst(results, lambda result: len(result.violations)):
        many, result = found
        example = f", such as: {result.violations[0]}" if many else ""
        yield Verdict(words, not many, f"faults in the worst plan: {many:.0f} ({where(result)}){example}")


def _never_dearer(results: Sequence[Result]) -> Iterator[Verdict]:
    words = "never dearer than the cheaper of Ray's two plans, of those that place no less"
    if found := worst(results, lambda result: result.objective_vs_best_ray):
        ratio, result = found
        yield Verdict(words, ratio <= 1 + ROUNDING, f"measured {ratio:.4f} of its price at the worst ({where(result)})")


def _never_less(results: Sequence[Result]) -> Iterator[Verdict]:
    words = "never placing less than either of them"
    if found := worst(results, lambda result: result.left_over_beyond_ray):
        more, result = found
        yield Verdict(words, more <= 0, f"measured {more:.0f} more without a place at the worst ({where(result)})")


def _near_the_bound(results: Sequence[Result]) -> Iterator[Verdict]:
    words = f"within {MOST_OVER_BOUND - 1:.0%} of the bound at the median of all cases of at least {MANY_REQUESTS:,} requests"
    asked = [result for result in results if result.case.demands >= MANY_REQUESTS]
    if found := worst(asked, lambda result: result.objective_vs_lp):
        ratio, result = found
        middle = median(share for result in asked if (share := result.objective_vs_lp) is not None)
        measured = f"measured {middle:.4f} of it, and {ratio:.4f} at the worst ({where(result)})"
        yield Verdict(words, middle <= MOST_OVER_BOUND, measured)
