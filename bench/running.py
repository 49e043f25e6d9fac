# SPDX-License-Identifier: Apache-2.0
"""What a running cluster of one head and three workers is asked for most."""

from __future__ import annotations

import sys
from statistics import median

from bench.lab import RAY, lab
from bench.pairs import command, differences, in_pairs
from bench.report import Goal, comparison

LOGIN = ["/bin/bash", "--login", "-i", "-c"]


def unchanged(rounds: int) -> str:
    """A second `up` of a cluster that is as its file says: every node is checked, and Ray is asked."""
    with lab(RAY) as place:
        place.up()
        ours = command("`rayctl up -y`, nothing changed", place.rayctl("up", "-y"))
        python = command("`python -c pass`", [sys.executable, "-c", "pass"])
        second, bare = in_pairs(ours, python, rounds)
    goal = Goal("at most 1 s over a bare Python start, at the median", median(differences(second, bare)), 1.0)
    return comparison(second, bare, goal)


def exec_(rounds: int) -> str:
    """`true` on the head, against a bare login shell."""
    with lab(RAY) as place:
        place.up()
        ours = command("`rayctl exec FILE true`", place.rayctl("exec", "true"))
        shell = command("`bash --login -i -c true`", [*LOGIN, "true"])
        through, bare = in_pairs(ours, shell, rounds)
    goal = Goal("at most 0.3 s over the login shell, at the median", median(differences(through, bare)), 0.3)
    return comparison(through, bare, goal)
