# SPDX-License-Identifier: Apache-2.0
"""What was measured, as Markdown: for the screen, and for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

from bench.planning.deciders import OURS, RAY_V1, RAY_V2
from bench.planning.goals import Measure, verdicts, worst
from bench.planning.results import Result
from bench.planning.runner import Outcome
from bench.report import table

NAMES = {OURS: "rayctl", RAY_V1: "Ray v1", RAY_V2: "Ray v2"}
UNKNOWN = "-"


def markdown(timed: Sequence[Result], priced: Sequence[Result] = ()) -> str:
    """A row per case, then the prices over several seeds where there are some, then the goals."""
    parts = [overview(timed)] if timed else []
    if priced:
        parts.append(prices(priced))
    return "\n\n".join([*parts, *map(str, verdicts(timed, priced))])


def overview(results: Sequence[Result]) -> str:
    """A row per result."""
    names = [*NAMES.values(), "peak memory", "machines", "price/h", "of the cheaper Ray's", "of the bound", "unplaced"]
    return table(["case", *names], [_row(result) for result in results])


def one(result: Result) -> str:
    """One result with a row per planner, and how they compare."""
    head = [
        str(result.case),
        "CPU",
        "peak memory",
        "grown by",
        "machines",
        "price/h",
        "objective",
        "unplaced",
        "groups unplaced",
    ]
    rows = [_planner(outcome) for outcome in result.outcomes.values()]
    bound = ["bound", *[UNKNOWN] * 5, f"{result.bound:,.2f}", *[UNKNOWN] * 2]
    compared = (
        f"Ray v1 takes {_times(result, RAY_V1)} and Ray v2 {_times(result, RAY_V2)} as much CPU. The objective is "
        f"{_share(result.objective_vs_best_ray)} of the cheaper Ray's and {_share(result.objective_vs_lp)} of the bound."
    )
    return f"{table(head, [*rows, bound])}\n\n{compared}"


def prices(results: Sequence[Result]) -> str:
    """A row per case: what many seeds say of the objective."""
    head = ["case", "seeds", "of the cheaper Ray's: median", "worst", "of the bound: median", "worst", "unplaced beyond Ray's"]
    cases = list(dict.fromkeys(result.case for result in results))
    return table(head, [_prices([result for result in results if result.case == case]) for case in cases])


def _row(result: Result) -> list[str]:
    ours = result.ours
    return [
        str(result.case),
        *(_seconds(result.outcomes.get(decider)) for decider in NAMES),
        f"{ours.peak_mb:.0f} MB",
        f"{ours.machines:,}",
        f"{ours.price:,.2f}",
        _share(result.objective_vs_best_ray),
        _share(result.objective_vs_lp),
        f"{result.ours_left_over:,}",
    ]


def _planner(outcome: Outcome) -> list[str]:
    decision = outcome.decision
    measured = [NAMES[outcome.decider], _seconds(outcome), f"{outcome.peak_mb:.0f} MB", f"{outcome.growth_mb:.1f} MB"]
    if decision is None:
        return [*measured, *[UNKNOWN] * 5]
    figures = [f"{outcome.machines:,}", f"{outcome.price:,.2f}", f"{outcome.objective:,.2f}"]
    return [*measured, *figures, f"{decision.unplaced:,}", f"{decision.unplaced_gangs:,}"]


def _prices(results: Sequence[Result]) -> list[str]:
    """Of one case."""
    beyond = worst(results, lambda result: result.left_over_beyond_ray)
    return [
        str(results[0].case),
        str(len(results)),
        *_spread(results, lambda result: result.objective_vs_best_ray),
        *_spread(results, lambda result: result.objective_vs_lp),
        f"{beyond[0]:.0f}" if beyond else UNKNOWN,
    ]


def _spread(results: Sequence[Result], of: Measure) -> list[str]:
    """The median and the worst."""
    if not (found := worst(results, of)):
        return [UNKNOWN, UNKNOWN]
    middle = median(value for result in results if (value := of(result)) is not None)
    return [f"{middle:.4f}", f"{found[0]:.4f} (seed {found[1].seed})"]


def _seconds(outcome: Outcome | None) -> str:
    if outcome is None:
        return UNKNOWN
    if outcome.cut_at_s is not None:
        return f"cut at {outcome.cut_at_s:.0f} s"
    return "failed" if outcome.cpu_s is None else f"{outcome.cpu_s:.4g} s"


def _times(result: Result, decider: str) -> str:
    ratio, least = result.ratio(decider), result.least_ratio(decider)
    if ratio:
        return f"{ratio:,.1f} times"
    return f"more than {least:,.0f} times" if least else "an unknown number of times"


def _share(share: float | None) -> str:
    return UNKNOWN if share is None else f"{share:.4f}"
