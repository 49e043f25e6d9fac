# SPDX-License-Identifier: Apache-2.0
"""`python -m bench`: measure all figures, or those named, and write them to docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable

from bench import report
from bench.ansible_share import ansible
from bench.bring_up import sleep, up
from bench.command_line import help_
from bench.fanout import fanout
from bench.hosts import bring_up as on_hosts
from bench.hosts.commands import commands
from bench.hosts.running import unchanged as unchanged_hosts
from bench.hosts.set_up import set_up
from bench.inventory import inventory
from bench.pairs import RunFailed
from bench.planner import planner
from bench.reaction import reaction, reaction_hosts
from bench.running import exec_, unchanged
from bench.scaler_idle import scaler_idle
from bench.scaler_scale import scaler_scale
from rayctl.errors import RayctlError
from tests.lab.rig import LabError

FIGURES: dict[str, Callable[[int], str]] = {
    "help": help_,
    "exec": exec_,
    "unchanged": unchanged,
    "up": up,
    "sleep": sleep,
    "ansible": ansible,
    "inventory": inventory,
    "hosts-up": on_hosts.up,
    "hosts-up-8": on_hosts.up_8,
    "hosts-setup": set_up,
    "hosts-unchanged": unchanged_hosts,
    "hosts-commands": commands,
    "fanout": fanout,
    "planner": planner,
    "reaction": reaction,
    "reaction-hosts": reaction_hosts,
    "scaler-scale": scaler_scale,
    "scaler-idle": scaler_idle,
}
PAIRS = 7
RUNS = {
    "hosts-up": 5, "hosts-up-8": 5,  # `ray up` takes part, and is given two minutes
    "planner": 20,  # seeds, not pairs
    "reaction": 40, "reaction-hosts": 5,  # submissions
    "scaler-idle": 3,  # minutes
}  # fmt: skip


def main() -> None:
    """Measure one figure after the other; each is written as soon as it is there."""
    wanted = _arguments()
    # a user's modules are compiled once; where this variable is set, ours would be compiled at every start
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that clusters are taken down
    for name in wanted.figures or FIGURES:
        print(f"== {name}", file=sys.stderr, flush=True)
        pairs = wanted.pairs or RUNS.get(name, PAIRS)
        try:
            measured = FIGURES[name](pairs)
        except (RunFailed, RayctlError, LabError, TimeoutError) as failure:
            sys.exit(f"{name} was not measured: {failure}")
        text = f"{measured}\n\n{report.circumstances(name, pairs)}"
        if wanted.print:
            print(text)
        else:
            report.put(name, text)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("figures", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)} (default: all)")
    usual = f"runs of each side (default: {PAIRS}; {', '.join(f'{name}: {count}' for name, count in RUNS.items())})"
    parser.add_argument("--pairs", type=int, metavar="N", help=usual)
    parser.add_argument("--print", action="store_true", help="print the figures, and leave the page as it is")
    wanted = parser.parse_args()
    if unknown := set(wanted.figures) - set(FIGURES):
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; there are {', '.join(FIGURES)}")
    return wanted


if __name__ == "__main__":
    main()
