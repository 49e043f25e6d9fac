# SPDX-License-Identifier: Apache-2.0
"""A new cluster of one head and three workers on this machine, against the floor."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from statistics import median

from bench import floor
from bench.lab import RAY, SLEEP, Lab, lab, wait_until_alive, wait_until_listed
from bench.pairs import Child, Runs, Sample, Side, differences, in_pairs, ratios
from bench.phases import phases
from bench.report import Goal, comparison
from bench.report import phases as phase_table


def up(rounds: int) -> str:
    """With Ray: both sides end when the same outside reader sees four nodes alive."""
    ours, theirs = _against_floor(RAY, rounds, with_ray=True)
    goal = Goal("at most 1.25 times the floor, at the median", median(ratios(ours, theirs)), 1.25)
    return f"{comparison(ours, theirs, goal)}\n\n{phase_table(ours)}"


def sleep(rounds: int) -> str:
    """With `sleep 2` in place of Ray: what rayctl itself adds."""
    ours, theirs = _against_floor(SLEEP, rounds, with_ray=False)
    goal = Goal("at most 2 s over the floor, at the median", median(differences(ours, theirs)), 2.0)
    return f"{comparison(ours, theirs, goal)}\n\n{phase_table(ours)}"


def by_rayctl(place: Lab, *, with_ray: bool) -> Sample:
    """One `rayctl up` of a new cluster, and its `rayctl down`.

    With Ray the sample's seconds end when the outside reader sees all nodes; the phases go on until the command returns.
    """
    seconds = None
    with tempfile.TemporaryFile() as out:
        with Child(place.rayctl("up", "-y", "--format", "json"), out=out) as child:
            if with_ray:
                wait_until_alive(wait_until_listed(place, "bench", child.check), child.check)
                seconds = time.monotonic() - child.began
            sample = child.finish(seconds)
        out.seek(0)
        parts = phases(child.began_at, out.read().decode().splitlines())
    place.down()
    return replace(sample, phases=parts)


def _against_floor(cluster: str, rounds: int, *, with_ray: bool) -> tuple[Runs, Runs]:
    with lab(cluster) as place:
        ours = Side("`rayctl up -y`", lambda: by_rayctl(place, with_ray=with_ray))
        theirs = Side("the floor", lambda: floor.run(place))
        return in_pairs(ours, theirs, rounds)
