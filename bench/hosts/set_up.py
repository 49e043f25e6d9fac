# SPDX-License-Identifier: Apache-2.0
"""Set-up commands alone, on hosts to which connections are open: what rayctl costs beside the commands themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.hosts import floor
from bench.hosts.place import Cluster, hosts
from bench.pairs import Runs, Side, command, differences, in_pairs, ratios
from bench.report import Goal, pair_figures, sides

MANY, FEW = 8, 4
SHORT = tuple(f"echo {number} >> ~/notes" for number in range(1, 16))
LONG = ("sleep 1",) * 6
AGAIN = ("up", "-y", "--rerun", "--no-restart")
STARTS = {f"{kind}_start_ray_commands": ["true"] for kind in ("head", "worker")}  # in place of Ray


@dataclass(frozen=True)
class _Measured:
    """rayctl and the floor on equally many hosts."""

    ours: Runs
    bare: Runs

    def added(self) -> float:
        """Seconds over the floor, at the median."""
        return median(differences(self.ours, self.bare))

    def cpu(self) -> float:
        """Seconds of the controller's CPU, at the median."""
        return self.ours.middle(lambda sample: sample.cpu_s)


def set_up(rounds: int) -> str:
    """Fifteen short commands on eight hosts and on four, then six that take six seconds."""
    with hosts(MANY) as place:
        few = place.cluster("few", FEW)
        short_few = _measured(few, SHORT, rounds)
        few.down()
        many = place.cluster("many", MANY)
        short, long = _measured(many, SHORT, rounds), _measured(many, LONG, rounds)
    return f"{_told_of_short(short, short_few)}\n\nSix commands of one second each:\n\n{_told_of_long(long)}"


def _measured(cluster: Cluster, commands: Sequence[str], rounds: int) -> _Measured:
    """Both sides in turn, once these commands are what the file says."""
    cluster.write(setup_commands=list(commands), **STARTS)
    cluster.up()
    ours = command(f"`rayctl {' '.join(AGAIN)}`, {len(cluster.hosts)} hosts", cluster.rayctl(*AGAIN))
    bare = Side(f"the floor, {len(cluster.hosts)} hosts", lambda: floor.set_up(cluster, commands))
    return _Measured(*in_pairs(ours, bare, rounds))


def _told_of_short(many: _Measured, few: _Measured) -> str:
    slope = (many.cpu() - few.cpu()) / (MANY - FEW)
    fixed = f"**{few.cpu() - FEW * slope:.2f} s** are fixed, and each further host costs **{slope:.3f} s**"
    return "\n\n".join([
        sides([many.ours, many.bare, few.ours, few.bare]),
        pair_figures(many.ours, many.bare),
        f"Of the controller's CPU {fixed}; over the floor it is {few.added():.2f} s with {FEW} hosts.",
        str(Goal(f"at most 1.0 s over the floor with {MANY} hosts, at the median", many.added(), 1.0)),
    ])  # fmt: skip


def _told_of_long(long: _Measured) -> str:
    goal = Goal("at most 1.15 times the floor, at the median", median(ratios(long.ours, long.bare)), 1.15)
    return "\n\n".join([sides([long.ours, long.bare]), pair_figures(long.ours, long.bare), str(goal)])
