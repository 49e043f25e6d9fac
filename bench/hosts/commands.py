# SPDX-License-Identifier: Apache-2.0
"""Commands and files on eight hosts: beside bare ssh and rsync over open connections, and Ray's launcher."""

from __future__ import annotations

import os
import pty
import shlex
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from statistics import median

from bench.hosts import floor
from bench.hosts.launcher import Launched, launched
from bench.hosts.place import Cluster, hosts
from bench.pairs import Child, Runs, Sample, Side, command, differences, in_turn
from bench.report import Goal, pair_figures, sides

COUNT = 8
FILES = 1000
NOTHING = {"head_start_ray_commands": ["true"], "worker_start_ray_commands": ["true"]}  # Ray takes no part in this
_numbers = count()


def commands(rounds: int) -> str:
    """A command on the head and on all hosts, a file and a thousand files to the head."""
    with hosts(COUNT) as place:
        cluster = place.cluster("bench", COUNT)
        cluster.write(**NOTHING)
        cluster.up()
        with launched(cluster, **NOTHING) as other:
            command("ray up", other.up()).run()
            parts = [_exec(cluster, other, rounds), _attach(cluster, other, rounds), _everywhere(cluster, rounds)]
            parts += [_copies(cluster, other, rounds, files) for files in (1, FILES)]
    return "\n\n".join(parts)


def _exec(cluster: Cluster, other: Launched, rounds: int) -> str:
    ours, bare, theirs = in_turn(
        [
            command("`rayctl exec FILE true`", cluster.rayctl("exec", "true")),
            command("`ssh HEAD true`", [*cluster.ssh(cluster.hosts[0]), "true"]),
            command("`ray exec FILE true`", other.ray("exec", "true")),
        ],
        rounds,
    )
    return _told("A command on the head:", ours, bare, theirs, goal=0.3)


def _attach(cluster: Cluster, other: Launched, rounds: int) -> str:
    ours, bare, theirs = in_turn(
        [
            _prompt("`rayctl attach FILE`", cluster.rayctl("attach")),
            _prompt("`ssh -t HEAD`", [*cluster.ssh(cluster.hosts[0])[:-1], "-t", cluster.ssh(cluster.hosts[0])[-1]]),
            _prompt("`ray attach FILE`", other.ray("attach")),
        ],
        rounds,
    )
    return _told("A shell on the head, until its prompt is there:", ours, bare, theirs)


def _prompt(name: str, argv: Sequence[str]) -> Side:
    """Open a shell at a terminal, and close it when it asks for a command."""

    def run() -> Sample:
        load, began = os.getloadavg()[0], time.monotonic()
        child, terminal = pty.fork()
        if child == 0:
            os.execvp(argv[0], list(argv))
        seen = b""
        while b"$ " not in seen:
            seen += os.read(terminal, 4096)
        seconds = time.monotonic() - began
        os.write(terminal, b"exit\n")
        with suppress(OSError):  # how a terminal tells that nobody holds its other end any more
            while os.read(terminal, 4096):
                pass
        _, _, used = os.wait4(child, 0)
        os.close(terminal)
        return Sample(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, load)

    return Side(name, run)


def _everywhere(cluster: Cluster, rounds: int) -> str:
    each = [[*cluster.ssh(host), "true"] for host in cluster.hosts]
    ours, bare = in_turn(
        [
            command("`rayctl exec FILE --all-nodes true`", cluster.rayctl("exec", "--all-nodes", "true")),
            Side("`ssh HOST true`, all at once", partial(floor.all_at_once, each)),
        ],
        rounds,
    )
    return _told("A command on all eight hosts:", ours, bare)


def _copies(cluster: Cluster, other: Launched, rounds: int, files: int) -> str:
    """Each run copies to a folder of its own, or there would be nothing to copy."""
    tree = cluster.place.folder / f"tree-{files}"
    tree.mkdir()
    for number in range(files):
        (tree / f"file-{number}").write_text(f"{number}\n" * 100)
    *ssh, host = cluster.ssh(cluster.hosts[0])
    home = f"/home/{cluster.hosts[0].user}"
    ours, bare, theirs = in_turn(
        [
            _copy("`rayctl rsync-up`", lambda target: cluster.rayctl("rsync-up", f"{tree}/", f"~/{target}/")),
            _copy("`rsync -az`", lambda target: ["rsync", "-az", "-e", shlex.join(ssh), f"{tree}/", f"{host}:{target}/"]),
            _copy("`ray rsync-up`", lambda target: other.ray("rsync-up", f"{tree}/", f"{home}/{target}/")),
        ],
        rounds,
    )
    return _told(f"{files} file{'s' if files > 1 else ''} of some 300 bytes to the head:", ours, bare, theirs)


def _copy(name: str, argv: Callable[[str], Sequence[str]]) -> Side:
    def run() -> Sample:
        with Child(argv(f"copy-{next(_numbers)}")) as child:
            return child.finish()

    return Side(name, run)


def _told(what: str, ours: Runs, bare: Runs, theirs: Runs | None = None, *, goal: float | None = None) -> str:
    others = [theirs] if theirs else []
    parts = [what, sides([ours, bare, *others]), pair_figures(ours, bare), *(pair_figures(ours, other) for other in others)]
    if goal is not None:
        parts.append(str(Goal(f"at most {goal:g} s over ssh, at the median", median(differences(ours, bare)), goal)))
    return "\n\n".join(parts)
