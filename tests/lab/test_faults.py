# SPDX-License-Identifier: Apache-2.0
"""Hosts that die, are cut off, are slow, or lack what they need: they hold up nobody, are named once, and come back."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .clusters import Cluster, daemon, note, noted
from .rig import Host
from .rig.box import wait_for

STARTS = {"head_start_ray_commands": [daemon("starts")], "worker_start_ray_commands": [daemon("starts")]}
UNTIL_GO = note("waits", "until test -e ~/out/go; do sleep 0.1; done")


def everywhere(count: int) -> dict[str, int]:
    return dict.fromkeys(("h1", "h2", "h3", "h4"), count)


def go(*hosts: Host) -> None:
    """Let the step that waits come to its end."""
    for host in hosts:
        host.exec("touch /home/ray/out/go")


def until_it_waits(cluster: Cluster) -> subprocess.Popen[str]:
    """An `up` whose step waits on every host."""
    cluster.write(note("first"), UNTIL_GO, note("last"))
    child = cluster.start("rayctl", "up", "-y", str(cluster.file))
    wait_for(lambda: cluster.counts("waits") == everywhere(1), 30, "the step waits on all hosts")
    return child


# ---- hosts that go
def test_a_worker_killed_in_mid_up_holds_up_nobody_is_named_once_and_is_repaired_by_the_next(cluster: Cluster) -> None:
    up, dead = until_it_waits(cluster), cluster.lab["h4"]
    dead.kill()
    go(cluster.head, *cluster.workers[:-1])
    wait_for(lambda: cluster.counts("starts") == {"h1": 1, "h2": 1, "h3": 1}, 12, "the others are up while h4 is waited for")
    assert up.poll() is None
    _, said = up.communicate(timeout=60)
    assert up.returncode == 1
    assert said.count("✗ h4") == 1
    assert "the other 3 nodes are up" in said
    dead.boot()
    go(dead)
    cluster.up()
    assert cluster.counts("first") == cluster.counts("last") == cluster.counts("starts") == everywhere(1)
    assert noted(dead, "waits") == 2, "it goes on at the step that was broken off"


def test_after_a_reboot_the_next_up_starts_ray_there_and_nowhere_else(cluster: Cluster) -> None:
    cluster.write(note("setup"), **STARTS)
    cluster.up()
    before = cluster.daemons()
    cluster.lab["h3"].power_cycle()
    assert cluster.daemons()["h3"] == []
    assert "1 node changed" in cluster.up().stdout
    after = cluster.daemons()
    assert len(after.pop("h3")) == 1
    assert after == {host: pids for host, pids in before.items() if host != "h3"}
    assert cluster.counts("setup") == everywhere(1), "what is set up stays set up"


def test_a_step_runs_once_though_the_network_was_cut_while_it_ran(cluster: Cluster) -> None:
    up, cut = until_it_waits(cluster), cluster.lab["h4"]
    cut.partition()
    go(*cluster.lab)
    _, said = up.communicate(timeout=60)
    assert up.returncode == 1
    assert said.count("✗ h4") == 1
    cut.heal()
    cluster.up()
    for step in ("first", "waits", "last", "starts"):
        assert cluster.counts(step) == everywhere(1), step


def test_a_silent_host_holds_up_nobody_and_comes_back_by_the_next_up(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    began = time.monotonic()
    cluster.up()
    normal = time.monotonic() - began
    cluster.down()
    cluster.lab["h4"].kill()
    began = time.monotonic()
    said = cluster.up(code=1).stderr
    assert time.monotonic() - began < normal + max(9, normal + 4), "ssh itself gives a host up after ten seconds"
    assert said.count("✗ h4") == 1
    assert cluster.counts("starts") == {"h1": 2, "h2": 2, "h3": 2}
    assert "the other 3 nodes are up" in cluster.up(code=1).stderr, "and a second one says the same"
    cluster.lab["h4"].boot()
    cluster.up()
    assert cluster.counts("starts") == everywhere(2)


def test_without_its_head_a_cluster_is_left_alone(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up()
    cluster.head.kill()
    cluster.write(note("edited"))
    said = cluster.up(code=4).stderr
    assert "the head is out of reach: h1" in said
    assert sum(cluster.counts("edited").values()) == 0


def test_a_slow_host_still_gets_in(cluster: Cluster) -> None:
    cluster.lab["h4"].slow(delay_ms=150)
    cluster.write(note("setup"))
    cluster.up()
    assert cluster.counts("starts") == everywhere(1)


def test_a_host_too_slow_for_the_others_gets_in_after_them(cluster: Cluster) -> None:
    cluster.lab["h4"].slow(delay_ms=500)
    cluster.write(note("setup", "[ $(hostname) = h4 ] || sleep 8"))
    said = cluster.up().stderr
    assert cluster.counts("starts") == everywhere(1)
    assert said.index("h1   ready") < said.index("h4   launched")


def test_a_dead_host_is_named_also_where_nothing_is_launched(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up()
    cluster.lab["h4"].kill()
    said = cluster.up("--restart-only", code=1).stderr
    assert said.count("✗ h4") == 1
    assert cluster.counts("starts") == {"h1": 2, "h2": 2, "h3": 2}
    assert "no node answered: h4" in cluster.up("--limit", "h4", code=4).stderr
    assert "names no node of this cluster" in cluster.up("--limit", "h5", code=2).stderr
    cluster.up("--limit", "h2")


@pytest.mark.parametrize("name", ["h1", "h4"])
def test_down_ends_the_others_names_a_dead_host_and_ends_it_when_it_is_back(cluster: Cluster, name: str) -> None:
    cluster.write(note("setup"), **STARTS)
    cluster.up()
    lost = cluster.lab[name]
    lost.partition()
    said = cluster.down(code=1).stderr
    assert said.count(f"✗ {name}") == 1
    assert "What of the cluster runs there runs on" in said
    assert {host for host, pids in cluster.daemons().items() if pids} == {name}
    lost.heal()
    assert "1 node ended" in cluster.down().stdout
    assert not any(cluster.daemons().values())


# ---- hosts that lack something
FAULTS: dict[str, tuple[Callable[[Host], None], Callable[[Host], None], str]] = {
    "full disk": (Host.fill_disk, lambda host: host.fill_disk(there=False), "No space left on device"),
    "read-only home": (Host.readonly_home, lambda host: host.readonly_home(there=False), "Read-only file system"),
    "no python": (
        lambda host: host.without("python3"),
        lambda host: host.without("python3", there=False),
        "no Python 3.8 or newer",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_host_that_cannot_work_says_why_alone_and_is_repaired_by_the_next_up(cluster: Cluster, fault: str) -> None:
    harm, mend, says = FAULTS[fault]
    cluster.write(note("setup"))
    harm(cluster.lab["h4"])
    said = cluster.up(code=1).stderr
    block = said[said.index("✗ h4") :]
    assert says in block
    assert "the other 3 nodes are up" in block
    assert cluster.counts("starts") == {**everywhere(1), "h4": 0}
    mend(cluster.lab["h4"])
    cluster.up()
    assert cluster.counts("starts") == everywhere(1)


def test_a_disk_that_fills_up_later_is_told_too(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up()
    cluster.lab["h4"].fill_disk()
    cluster.write(note("setup"), note("edited"))
    assert "No space left on device" in cluster.up(code=1).stderr
    cluster.lab["h4"].fill_disk(there=False)
    cluster.up()
    assert cluster.counts("setup") == everywhere(1)
    assert cluster.counts("starts") == everywhere(2)


def test_a_host_without_rsync_gets_its_mounts_all_the_same(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "laptop" / "app").mkdir()
    (tmp_path / "laptop" / "app" / "run.sh").write_text("#!/bin/sh\n")
    (tmp_path / "laptop" / "app" / "run.sh").chmod(0o755)
    cluster.lab["h4"].without("rsync")
    cluster.write(note("setup"), file_mounts={"~/out/app": "app"})
    cluster.up()
    assert {host.exec("stat -c '%a %U %s' /home/ray/out/app/run.sh").stdout for host in cluster.lab} == {"755 ray 10\n"}
    assert "nothing changed" in cluster.up().stdout
