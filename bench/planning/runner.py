# SPDX-License-Identifier: Apache-2.0
"""Decisions in processes of their own, as often as a median needs, and each planner in turn."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.pairs import TAIL, RunFailed
from bench.planning.child import Order
from bench.planning.deciders import OURS, Decision
from bench.planning.prices import objective, price

ROOT = Path(__file__).resolve().parent.parent.parent
LONG_S = 5.0  # a planner other than ours that takes longer is run once
WORST = 10  # of what is wrong with a plan, so much is said


@dataclass(frozen=True)
class Run:
    """One process. It has either a `decision`, or was cut after `cut_at_s`, or failed for the reason `failure`.

    `violations` are what is wrong with the decision; only the first run of ours is looked at.
    `peak_mb` is of the whole process, `growth_mb` what was added to it while deciding.
    """

    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mb: float = 0.0
    growth_mb: float = 0.0
    decision: Decision | None = None
    cut_at_s: float | None = None
    failure: str = ""
    violations: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """All runs of one planner on one scenario. The first has the decision in full."""

    decider: str
    runs: tuple[Run, ...]

    @property
    def decision(self) -> Decision | None:
        """None where it was cut or failed."""
        return self.runs[0].decision

    @property
    def cut_at_s(self) -> float | None:
        """After how many seconds of CPU it was cut."""
        return self.runs[0].cut_at_s

    @property
    def cpu_s(self) -> float | None:
        """The median; None where there was no decision."""
        return median(run.cpu_s for run in self.runs) if self.decision else None

    @property
    def peak_mb(self) -> float:
        """The most that a run of it needed."""
        return max(run.peak_mb for run in self.runs)

    @property
    def growth_mb(self) -> float:
        """The most that was added while deciding."""
        return max(run.growth_mb for run in self.runs)

    @property
    def machines(self) -> int | None:
        """How many it launches."""
        return sum(self.decision.launch.values()) if self.decision else None

    @property
    def price(self) -> float | None:
        """Of these machines, per hour."""
        return price(self.decision.launch) if self.decision else None

    @property
    def objective(self) -> float | None:
        """Their price, and what each machine costs beside it."""
        return objective(self.decision.launch) if self.decision else None


def outcomes(deciders: Sequence[str], scenario: dict[str, float], repeat: int, timeout: float) -> dict[str, Outcome]:
    """Run each planner `repeat` times, in turn. Raises `RunFailed` when ours has no answer, or not the same each time."""
    runs: dict[str, list[Run]] = {decider: [] for decider in deciders}
    for number in range(repeat):
        for decider in deciders:
            if _wanted(decider, runs[decider]):
                run = _run(Order(decider=decider, scenario=scenario, timeout=timeout, full=not number))
                print(f"  {number + 1}/{repeat}  {decider}: {_words(run)}", file=sys.stderr, flush=True)
                runs[decider].append(run)
        _check_ours(runs[OURS], scenario)
    return {decider: Outcome(decider, tuple(found)) for decider, found in runs.items()}


def _wanted(decider: str, runs: Sequence[Run]) -> bool:
    if decider == OURS or not runs:
        return True
    return runs[0].decision is not None and runs[0].cpu_s <= LONG_S


def _run(order: Order) -> Run:
    """Raises nothing: what went wrong is in the run."""
    argv = [sys.executable, "-m", "bench.planning.child", json.dumps(order)]
    ended = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if ended.returncode:
        return Run(failure=f"exit code {ended.returncode}: {ended.stderr[-TAIL:]}")
    told = json.loads(ended.stdout.splitlines()[-1])
    decision, violations = told.pop("decision", None), told.pop("violations", [])
    return Run(**told, decision=Decision(**decision) if decision else None, violations=tuple(violations))


def _check_ours(runs: Sequence[Run], scenario: dict[str, float]) -> None:
    last = runs[-1]
    if last.decision is None:
        raise RunFailed(f"{OURS} on {scenario}: {last.failure or f'not done after {last.cut_at_s:.0f} s of CPU'}")
    if runs[0].decision is None or runs[0].decision.launch != last.decision.launch:
        raise RunFailed(f"{OURS} on {scenario}: two plans for the same snapshot: {[run.decision for run in runs]}")


def _words(run: Run) -> str:
    if run.decision is None:
        return f"cut after {run.cut_at_s:.0f} s of CPU" if run.cut_at_s is not None else f"FAILED: {run.failure}"
    wrong = "".join(f"\n    WRONG: {violation}" for violation in run.violations[:WORST])
    return f"{run.cpu_s:.4f} s of CPU, {run.peak_mb:.0f} MB, {run.decision.launch}{wrong}"
