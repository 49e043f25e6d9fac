# SPDX-License-Identifier: Apache-2.0
"""An `up` of a running cluster of one head and seven workers that has nothing to do, and really asks all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from bench.hosts import floor
from bench.hosts.joining import until_joined
from bench.hosts.launcher import launched
from bench.hosts.place import Cluster, hosts, wait_until_quiet
from bench.pairs import Runs, Sample, Side, command, in_turn
from bench.report import Goal, pair_figures, sides
from rayctl.transport import masters

COUNT = 8


def unchanged(rounds: int) -> str:
    """Over open connections and without any, beside `ssh HOST true` to all hosts at once; then the launcher's."""
    with hosts(COUNT) as place:
        cluster = place.cluster("bench", COUNT)
        cluster.up()
        wait_until_quiet()
        runs = in_turn(_sides(cluster), rounds)
        place.renew()
        theirs = _by_launcher(cluster, rounds)
    warm, cold, bare_warm, bare_cold = runs
    goal = Goal("at most 0.5 s over open connections, at the median", warm.middle(), 0.5)
    return "\n\n".join([
        sides([*runs, theirs]), pair_figures(warm, bare_warm), pair_figures(cold, bare_cold), str(goal),
    ])  # fmt: skip


def _sides(cluster: Cluster) -> Sequence[Side]:
    again = command("", cluster.rayctl("up", "-y")).run
    over_masters = partial(floor.all_at_once, [[*cluster.ssh(host), "true"] for host in cluster.hosts])
    by_itself = partial(floor.all_at_once, [[*cluster.bare_ssh(host), "true"] for host in cluster.hosts])
    return [
        Side("`rayctl up -y`, connections open", lambda: _after(over_masters, again)),
        Side("`rayctl up -y`, none open", lambda: _after(lambda: masters.close("*"), again)),
        Side("`ssh HOST true`, connections open", lambda: _after(over_masters, over_masters)),
        Side("`ssh HOST true`, none open", by_itself),
    ]


def _after(prepare: Callable[[], object], run: Callable[[], Sample]) -> Sample:
    """A run after something that is not timed."""
    prepare()
    return run()


def _by_launcher(cluster: Cluster, rounds: int) -> Runs:
    """`ray up --no-restart` of a cluster that `ray up` has brought as far as it came. It looks at the head alone."""
    with launched(cluster) as other:
        first = until_joined(cluster, [other.up()])
        how = first.failure or "all had joined"
        wait_until_quiet()
        return in_turn([command(f"`ray up -y --no-restart` (the head alone; {how})", other.up("--no-restart"))], rounds)[0]
