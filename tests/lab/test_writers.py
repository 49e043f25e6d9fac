# SPDX-License-Identifier: Apache-2.0
"""Who is at work on a cluster: interrupted, killed, and two at once from two laptops."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from .clusters import Cluster, note
from .rig.box import wait_for

WAIT = "sleep 0.0731"
UNTIL_GO = note("waits", f"until test -e ~/out/go; do {WAIT}; done")


def everywhere(count: int) -> dict[str, int]:
    return dict.fromkeys(("h1", "h2", "h3", "h4"), count)


def go(cluster: Cluster) -> None:
    for host in cluster.lab:
        host.exec("touch /home/ray/out/go")


def until_it_waits(cluster: Cluster, *flags: str) -> subprocess.Popen[str]:
    """An `up` whose step waits on every host."""
    cluster.write(note("first"), UNTIL_GO, note("last"))
    child = cluster.start("rayctl", "up", "-y", str(cluster.file), *flags)
    wait_for(lambda: cluster.counts("waits") == everywhere(1), 30, "the step waits on all hosts")
    return child


def ours(cluster: Cluster) -> str:
    """The steps and runners of rayctl on all hosts."""
    look = "ps -u ray --no-headers -ww -o args | grep rayctl | grep -v grep || :"
    return "".join(host.exec(look).stdout for host in cluster.lab)


def test_ctrl_c_ends_the_steps_on_all_hosts_and_tells_how_to_go_on(cluster: Cluster) -> None:
    up = until_it_waits(cluster, "--no-restart")
    assert ours(cluster).count("02-setup.log") >= 4
    os.killpg(up.pid, signal.SIGINT)
    _, said = up.communicate(timeout=30)
    assert up.returncode == 130
    assert ours(cluster) == ""
    assert said.splitlines()[-1].strip() == f"rayctl up {cluster.file} --no-restart"
    go(cluster)
    cluster.up("--no-restart")
    assert cluster.counts("first") == cluster.counts("last") == everywhere(1)


def test_after_kill_9_the_next_up_follows_the_runs_and_each_step_ran_once(cluster: Cluster) -> None:
    up = until_it_waits(cluster)
    up.kill()
    up.communicate()
    again = cluster.start("rayctl", "up", "-y", str(cluster.file))
    followed = "an earlier run is still at work here; following it"
    go_when = time.monotonic() + 30
    said = ""
    assert again.stderr is not None
    for line in again.stderr:
        said += line
        if said.count(followed) == 4 or time.monotonic() > go_when:
            break
    go(cluster)
    again.communicate(timeout=60)
    assert again.returncode == 0
    assert said.count(followed) == 4
    for step in ("first", "waits", "last", "starts"):
        assert cluster.counts(step) == everywhere(1), step


def test_another_laptop_waits_for_the_first_or_gives_up_with_5(cluster: Cluster) -> None:
    up = until_it_waits(cluster)
    other = cluster.elsewhere("other")
    hasty = other.up("--lock-timeout", "1", code=5)
    assert "rayctl up lab" in hasty.stderr
    second = other.start("rayctl", "up", "-y", str(other.file), "--lock-timeout", "60")
    assert second.stderr is not None
    assert any("waiting for" in line for line in second.stderr)
    assert up.poll() is None
    go(cluster)
    up.communicate(timeout=60)
    out, _ = second.communicate(timeout=60)
    assert (up.returncode, second.returncode) == (0, 0)
    assert "nothing changed" in out
    for step in ("first", "waits", "last", "starts"):
        assert cluster.counts(step) == everywhere(1), step


def test_another_laptop_cannot_end_a_cluster_that_is_worked_on(cluster: Cluster) -> None:
    up = until_it_waits(cluster)
    cluster.elsewhere("other").down("--lock-timeout", "1", code=5)
    go(cluster)
    up.communicate(timeout=60)
    assert up.returncode == 0
