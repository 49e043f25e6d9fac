# SPDX-License-Identifier: Apache-2.0
"""A figure as Markdown, and its place in docs/benchmarks.md: between `<!-- name -->` and `<!-- /name -->`."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from bench.pairs import Runs, differences, ratios

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"
PACKAGES = ("rayctl", "ray", "ansible-core", "ansible-runner")


@dataclass(frozen=True)
class Goal:
    """What a figure is meant to reach: at most `limit`, in words that go on after "Goal: "."""

    words: str
    value: float
    limit: float

    def __str__(self) -> str:
        verdict = "met" if self.value <= self.limit else "**missed**"
        return f"Goal: {self.words}; measured {self.value:.2f}: {verdict}."


def comparison(ours: Runs, theirs: Runs, *goals: Goal) -> str:
    """Two sides, how their pairs compare, and the goals."""
    return "\n\n".join([sides([ours, theirs]), _pairs(ours, theirs), *map(str, goals)])


def pair_figures(ours: Runs, theirs: Runs) -> str:
    """How the pairs of two among several sides compare."""
    words = _pairs(ours, theirs)
    return f"{ours.name} against {theirs.name}: {words[0].lower()}{words[1:]}"


def failed_runs(runs: Sequence[Runs]) -> list[str]:
    """A line for each side with runs that failed, and how they count."""
    return [
        f"**{len(failures)} of {len(side.samples)} runs of {side.name} failed**, and count with the time they were given: "
        f"{'; '.join(failures)}."
        for side in runs
        if (failures := [" ".join(sample.failure.split()) for sample in side.samples if sample.failure])
    ]


def _pairs(ours: Runs, theirs: Runs) -> str:
    quotients, gaps = ratios(ours, theirs), differences(ours, theirs)
    return (
        f"Median of the {len(quotients)} pair ratios: **{median(quotients):.2f}** "
        f"({min(quotients):.2f} to {max(quotients):.2f}); "
        f"of the pair differences: **{median(gaps):.2f} s** ({min(gaps):.2f} to {max(gaps):.2f})."
    )


def sides(runs: Sequence[Runs]) -> str:
    """A row per side."""
    rows = [
        [
            side.name, *_times(side), _cpu(side), f"{side.middle(lambda s: s.load):.2f}",
        ]
        for side in runs
    ]  # fmt: skip
    return table(["", "best", "median", "controller CPU", "load average"], rows)


def phases(runs: Runs) -> str:
    """Where a side's time goes: the median of each phase, and its share of the median of the whole."""
    names = [name for name, _ in runs.samples[0].phases]
    medians = [median(sample.phases[i][1] for sample in runs.samples) for i in range(len(names))]
    whole = median(sum(seconds for _, seconds in sample.phases) for sample in runs.samples)
    rows = [[name, f"{seconds:.2f} s", f"{seconds / whole:.0%}"] for name, seconds in zip(names, medians, strict=True)]
    return table(["where its time goes", "median", "share"], [*rows, ["from start to return", f"{whole:.2f} s", ""]])


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are figures."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def circumstances(name: str, rounds: int) -> str:
    """The line under a figure: how to run it again, and where it was run."""
    parts = [
        f"`python -m bench --pairs {rounds} {name}`",
        time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        f"Python {platform.python_version()}",
        *(f"{package} {_version(package)}" for package in PACKAGES),
        f"{platform.system()}",
        f"{os.cpu_count()} CPUs",
        f"load average afterwards {' '.join(f'{load:.2f}' for load in os.getloadavg())}",
    ]
    return f"Measured with {parts[0]}: {', '.join(parts[1:])}."


def put(name: str, text: str, page: Path = PAGE) -> None:
    """Replace what is between the figure's markers. Raises `ValueError` for a page without them."""
    before = page.read_text()
    opening, closing = f"<!-- {name} -->", f"<!-- /{name} -->"
    between = re.compile(f"(?<={re.escape(opening)}\n).*?(?={re.escape(closing)})", re.DOTALL)
    after, count = between.subn(lambda _: f"{text}\n", before)
    if count != 1:
        raise ValueError(f"{page} must have the lines {opening} and {closing} once, to hold this figure")
    page.write_text(after)


def _times(runs: Runs) -> list[str]:
    """Best and median; both are lower bounds as far as they are those of failed runs."""
    best = "" if runs.good else "> "
    middle = "" if 2 * len(runs.good) > len(runs.samples) else "> "
    return [f"{best}{runs.best():.3f} s", f"{middle}{runs.middle():.3f} s"]


def _cpu(runs: Runs) -> str:
    """The floor has no controller."""
    seconds = runs.middle(lambda sample: sample.cpu_s)
    return f"{seconds:.2f} s" if seconds else "-"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed)"
