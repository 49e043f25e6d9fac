# SPDX-License-Identifier: Apache-2.0
"""How long one waits for rayctl to say anything at all."""

from __future__ import annotations

import sys

from bench.pairs import Runs, beside_python, command, in_pairs, in_turn
from bench.report import Goal, comparison
from rayctl.cli.main import cli


def help_(rounds: int) -> str:
    """`rayctl --help` against a Python that does nothing, and the `--help` of every command."""
    ours = command("`rayctl --help`", [beside_python("rayctl"), "--help"])
    bare = command("`python -c pass`", [sys.executable, "-c", "pass"])
    told, nothing = in_pairs(ours, bare, rounds)
    first = comparison(told, nothing, Goal("`rayctl --help` in under 0.3 s, at its median", told.middle(), 0.3))
    each = in_turn(
        [command(f"`rayctl {name} --help`", [beside_python("rayctl"), name, "--help"]) for name in cli.commands], rounds
    )
    slowest = max(each, key=Runs.middle)
    goal = Goal("the `--help` of every command in under 0.3 s, at its median", slowest.middle(), 0.3)
    return f"{first}\n\nThe slowest of all {len(each)} commands is {slowest.name}. {goal}"
