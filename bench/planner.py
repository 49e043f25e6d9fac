#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The planner against both of Ray's and against what no plan can be below, on the same generated clusters.

    python bench/planner.py --case 1000,5,10000 --seed 3 --json
    python bench/planner.py --case 1000,5,10000 --seeds 20
    python bench/planner.py --all

A case is so many nodes, shapes of demand and requests. CPU seconds are the median of several fresh processes, from the list
of nodes to the plan.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.pairs import RunFailed
from bench.planning.cases import CASES, PRICED, PRICED_WITHOUT_RAY, Case
from bench.planning.deciders import RAYS
from bench.planning.goals import verdicts
from bench.planning.measure import Options, measure, measure_all, measure_seeds
from bench.planning.output import as_dump, as_json, summary
from bench.planning.report import markdown, one
from bench.planning.results import Result


def main() -> None:
    """Measure what is asked for, and print it."""
    wanted = _arguments()
    options = Options(wanted.repeat, wanted.timeout, () if wanted.no_ray else RAYS)
    measured = _seeds if wanted.seeds else _all if wanted.all else _one
    try:
        results = measured(wanted, options)
    except RunFailed as failure:
        sys.exit(str(failure))
    if any(result.violations for result in results):
        sys.exit("there are plans that are wrong, see above")


def _one(wanted: argparse.Namespace, options: Options) -> list[Result]:
    result = measure(wanted.case, wanted.seed, options)
    print(one(result), *verdicts([result], []), sep="\n\n")
    if wanted.dump:
        wanted.dump.write_text(json.dumps(as_dump(result, wanted.case.scenario(wanted.seed))))
    if wanted.json:
        print(json.dumps(as_json(result)))
    return [result]


def _seeds(wanted: argparse.Namespace, options: Options) -> list[Result]:
    """The prices of many seeds, of one case or of all."""
    cases = CASES if wanted.all else (wanted.case,)
    seeds = range(wanted.seed, wanted.seed + wanted.seeds)
    results = [result for case in cases for result in measure_seeds(case, seeds, options)]
    print(markdown([], results))
    if wanted.json:
        print(json.dumps(summary(results)))
    return results


def _all(wanted: argparse.Namespace, options: Options) -> list[Result]:
    results = list(measure_all(CASES, wanted.seed, options))
    print(markdown(results))
    if wanted.json:
        print(json.dumps([as_json(result) for result in results]))
    return results


def planner(seeds: int = 20) -> str:
    """The figure of docs/benchmarks.md: all cases with one seed, and the prices of many."""
    timed = list(measure_all(CASES, 1, Options()))
    priced = [result for case in PRICED for result in measure_seeds(case, range(1, seeds + 1), Options())]
    alone = Options(rays=())
    priced += [result for case in PRICED_WITHOUT_RAY for result in measure_seeds(case, range(1, seeds + 1), alone)]
    return markdown(timed, priced)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--case", type=_size, metavar="NODES,SHAPES,REQUESTS", help="one case")
    what.add_argument("--all", action="store_true", help="all cases, with placement groups and without; takes hours with Ray")
    parser.add_argument("--gangs", type=int, default=0, metavar="N", help="so many placement groups as well")
    parser.add_argument("--jitter", action="store_true", help="no two nodes are alike")
    parser.add_argument("--seed", type=int, default=1, help="what the scenario is generated from (default: 1)")
    parser.add_argument("--seeds", type=int, metavar="N", help="the prices of so many seeds, from --seed on; each is run once")
    parser.add_argument("--repeat", type=int, default=5, metavar="N", help="processes per planner (default: 5)")
    parser.add_argument(
        "--timeout", type=float, default=300.0, metavar="S", help="seconds of CPU for a decision (default: 300)"
    )
    parser.add_argument("--no-ray", action="store_true", help="leave Ray's planners out")
    parser.add_argument("--json", action="store_true", help="the last line is JSON")
    parser.add_argument("--dump", type=Path, metavar="FILE", help="write the scenario and all plans there")
    return _checked(parser, parser.parse_args())


def _size(text: str) -> Case:
    try:
        nodes, shapes, demands = map(int, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not three numbers with commas between them") from None
    return Case(nodes, shapes, demands)


def _checked(parser: argparse.ArgumentParser, wanted: argparse.Namespace) -> argparse.Namespace:
    """Which options go together. The case gets what was said of it elsewhere."""
    if wanted.case:
        size = wanted.case
        wanted.case = Case(size.nodes, size.shapes, size.demands, wanted.gangs, wanted.jitter)
    elif wanted.gangs or wanted.jitter:
        parser.error("--all has cases of each kind: --gangs and --jitter go with --case")
    if wanted.dump and (wanted.all or wanted.seeds):
        parser.error("--dump goes with one --case and one seed")
    return wanted


if __name__ == "__main__":
    main()
