# SPDX-License-Identifier: Apache-2.0
"""Measure a case with one seed or many."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bench.planning.bound import bound
from bench.planning.cases import Case
from bench.planning.deciders import OURS, RAYS
from bench.planning.results import Result
from bench.planning.runner import outcomes


@dataclass(frozen=True)
class Options:
    """How it is measured: as the median of `repeat` processes, each cut after `timeout` seconds of CPU."""

    repeat: int = 5
    timeout: float = 300.0
    rays: tuple[str, ...] = RAYS


def measure(case: Case, seed: int, options: Options) -> Result:
    """All planners and the bound, on one scenario. Raises `RunFailed` when ours has no answer."""
    print(f"{case}, seed {seed}", file=sys.stderr, flush=True)
    found = outcomes((OURS, *options.rays), case.arguments(seed), options.repeat, options.timeout)
    return Result(case, seed, found, bound(case.scenario(seed)))


def measure_all(cases: Sequence[Case], seed: int, options: Options) -> Iterator[Result]:
    """Each case with one seed. One of Ray's that was cut in a case is not asked again in others of that size."""
    cut: dict[Case, set[str]] = defaultdict(set)
    for case in cases:
        asked = replace(options, rays=tuple(ray for ray in options.rays if ray not in cut[case.size]))
        result = measure(case, seed, asked)
        cut[case.size].update(ray for ray in asked.rays if result.outcomes[ray].cut_at_s is not None)
        yield result


def measure_seeds(case: Case, seeds: Sequence[int], options: Options) -> Iterator[Result]:
    """For the prices: each seed once. One of Ray's that was cut with a seed is not asked again with the others."""
    options = replace(options, repeat=1)
    for seed in seeds:
        result = measure(case, seed, options)
        yield result
        options = replace(options, rays=tuple(ray for ray in options.rays if result.outcomes[ray].cut_at_s is None))
