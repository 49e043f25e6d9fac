# SPDX-License-Identifier: Apache-2.0
"""How long one waits for rayctl to say anything at all."""

from __future__ import annotations

import sys

from bench.pairs import beside_python, command, in_pairs
from bench.report import Goal, comparison


def help_(rounds: int) -> str:
    """`rayctl --help` against a Python that does nothing."""
    ours = command("`rayctl --help`", [beside_python("rayctl"), "--help"])
    bare = command("`python -c pass`", [sys.executable, "-c", "pass"])
    told, nothing = in_pairs(ours, bare, rounds)
    return comparison(told, nothing, Goal("`rayctl --help` in under 0.3 s, at its median", told.middle(), 0.3))
