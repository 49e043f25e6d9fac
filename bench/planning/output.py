# SPDX-License-Identifier: Apache-2.0
"""Results as JSON, for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from bench.planning.deciders import OURS, RAY_V1, RAY_V2, RAYS
from bench.planning.goals import Measure, worst
from bench.planning.results import Result
from bench.planning.runner import Outcome
from bench.planning.scenario import Scenario

NOT_DUMPED = {"placement", "gangs"}  # Ray's planners do not tell them


def as_json(result: Result) -> dict[str, Any]:
    """One flat object: the comparison, what was measured of ours, and with a planner's name at its end, of the others."""
    compared: dict[str, Any] = {
        **asdict(result.case),
        "seed": result.seed,
        "ratio_ray_v1": result.ratio(RAY_V1),
        "ratio_ray_v2": result.ratio(RAY_V2),
        "ratio_ray_v1_at_least": result.least_ratio(RAY_V1),
        "ratio_ray_v2_at_least": result.least_ratio(RAY_V2),
        "objective_vs_best_ray": result.objective_vs_best_ray,
        "objective_vs_lp": result.objective_vs_lp,
        "ratio_machine": result.ratio_machine,
        "objective_lp": result.bound,
        "violations": list(result.violations),
    }
    for decider in (OURS, *RAYS):
        ending = "" if decider == OURS else f"_{decider}"
        outcome = result.outcomes.get(decider)
        compared |= {f"{name}{ending}": value for name, value in _measured(outcome).items()}
    return compared


def _measured(outcome: Outcome | None) -> dict[str, Any]:
    """The same names for each planner, None where there is nothing to tell."""
    decision = outcome.decision if outcome else None
    return {
        "cpu_s": outcome and outcome.cpu_s,
        "runs": decision and outcome and [run.cpu_s for run in outcome.runs],
        "peak_mb": outcome and outcome.peak_mb,
        "growth_mb": outcome and outcome.growth_mb,
        "price": outcome and outcome.price,
        "machines": outcome and outcome.machines,
        "objective": outcome and outcome.objective,
        "launch": decision and decision.launch,
        "unplaced": decision and decision.unplaced,
        "unplaced_gangs": decision and decision.unplaced_gangs,
        "unplaced_bundles": decision and decision.unplaced_bundles,
        "cut_at_s": outcome and outcome.cut_at_s,
        "failure": outcome and (outcome.runs[0].failure or None),
    }


def as_dump(result: Result, scenario: Scenario) -> dict[str, Any]:
    """The scenario and all plans, for others to check; a plan is None where there is none."""
    plans = {decider: _plan(result.outcomes.get(decider)) for decider in (OURS, *RAYS)}
    return {"scenario": scenario, "plans": plans}


def _plan(outcome: Outcome | None) -> dict[str, Any] | None:
    if outcome is None or outcome.decision is None:
        return None
    plan = asdict(outcome.decision)
    return plan if outcome.decider == OURS else {name: value for name, value in plan.items() if name not in NOT_DUMPED}


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """What many seeds say of the prices."""
    return {
        "cases": [str(case) for case in dict.fromkeys(result.case for result in results)],
        "seeds": sorted({result.seed for result in results}),
        "objective_vs_best_ray": _spread(results, lambda result: result.objective_vs_best_ray),
        "objective_vs_lp": _spread(results, lambda result: result.objective_vs_lp),
        "unplaced_beyond_ray": _spread(results, lambda result: result.left_over_beyond_ray),
        "results": [as_json(result) for result in results],
    }


def _spread(results: Sequence[Result], of: Measure) -> dict[str, Any] | None:
    if not (found := worst(results, of)):
        return None
    middle = median(value for result in results if (value := of(result)) is not None)
    return {"median": middle, "worst": found[0], "worst_case": str(found[1].case), "worst_seed": found[1].seed}
