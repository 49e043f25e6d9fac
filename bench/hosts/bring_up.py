# SPDX-License-Identifier: Apache-2.0
"""New hosts, from nothing to a cluster in which all have joined: bare ssh, rayctl, and Ray's own launcher."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

from bench.hosts import floor
from bench.hosts.joining import PATIENCE_S, until_joined
from bench.hosts.launcher import launched
from bench.hosts.place import Cluster, hosts
from bench.pairs import Runs, Sample, Side, differences, in_turn, ratios
from bench.report import Goal, failed_runs, pair_figures, sides


def up(rounds: int) -> str:
    """One head and three workers."""
    return _figure(4, rounds)


def up_8(rounds: int) -> str:
    """One head and seven workers."""
    return _figure(8, rounds)


def _figure(count: int, rounds: int) -> str:
    with hosts(count) as place:
        cluster = place.cluster("bench", count)
        runs = in_turn(
            [
                Side("the floor", lambda: _anew(cluster, floor.bring_up)),
                Side("`rayctl up -y`", lambda: _anew(cluster, by_rayctl)),
                Side("`ray up -y`", lambda: _anew(cluster, by_launcher)),
            ],
            rounds,
        )
    return _told(*runs)


def by_rayctl(cluster: Cluster) -> Sample:
    """One `rayctl up`."""
    return until_joined(cluster, [cluster.rayctl("up", "-y")])


def by_launcher(cluster: Cluster) -> Sample:
    """One `ray up`."""
    with launched(cluster) as other:
        return until_joined(cluster, [other.up()])


def _anew(cluster: Cluster, run: Callable[[Cluster], Sample]) -> Sample:
    """On hosts that were just made."""
    cluster.place.renew()
    return run(cluster)


def _told(bare: Runs, ours: Runs, theirs: Runs) -> str:
    """A floor that failed would flatter who is held against it, so those rounds count for no comparison."""
    sound = [number for number, sample in enumerate(bare.samples) if not sample.failure]
    parts = [sides([bare, ours, theirs]), *failed_runs([bare, ours, theirs])]
    if len(sound) < len(bare.samples):
        parts.append(f"Compared are the {len(sound)} of {len(bare.samples)} rounds in which the floor got all nodes.")
    return "\n\n".join(parts + (_compared(*(side.only(sound) for side in (bare, ours, theirs))) if sound else []))


def _compared(bare: Runs, ours: Runs, theirs: Runs) -> list[str]:
    near = Goal("`rayctl up` at most 1.25 times the floor, at the median", median(ratios(ours, bare)), 1.25)
    added, by_them = median(differences(ours, bare)), median(differences(theirs, bare))
    words = f"rayctl adds to the floor at most a quarter of the {by_them:.1f} s that `ray up` adds to it, at the median"
    if not theirs.good:
        words += f" (`ray up` never got all nodes, so {PATIENCE_S:g} s stand for it: a lower bound)"
    figures = [pair_figures(*pair) for pair in ((ours, bare), (theirs, bare), (ours, theirs))]
    return [*figures, str(near), str(Goal(words, added, by_them / 4))]
