# SPDX-License-Identifier: Apache-2.0
"""The scaler on the head, with a real Ray and nobody at the laptop: work comes, hosts join, and go when they are idle."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from .ray_clusters import RayCluster, ray_cluster
from .rig import Lab
from .rig.box import LabError, wait_for
from .test_ray_scaler import SCALED
from .test_scaler_on_head import FOLDER, lines, pid, traces

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]

JOB = """
import ray

ray.init(address="auto", log_to_driver=False)
group = ray.util.placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
ray.get(group.ready())
print("ready on", sum(node["Alive"] for node in ray.nodes()))
"""


@pytest.fixture
def scaled(hosts: Lab, tmp_path: Path) -> Iterator[RayCluster]:
    with ray_cluster(hosts, tmp_path, ("h1", "h2", "h3")) as cluster:
        cluster.write_for_ray(**{**SCALED, "scaler": {"run_on": "head"}})
        yield cluster


def said(cluster: RayCluster) -> str:
    return cluster.head.exec(f"cat {FOLDER}/output").stdout


def test_with_the_laptop_off_hosts_come_with_the_work_and_go_when_it_is_done(scaled: RayCluster) -> None:
    scaled.up()
    assert pid(scaled), said(scaled)
    assert scaled.ray()["h2"] == {}
    wait_for(lambda: scaled.status()["scaler"], 120, "the scaler's own word is fetched from the head")
    monitor = scaled.start("rayctl", "monitor", str(scaled.file))
    assert monitor.stdout is not None
    assert "scaler" in monitor.stdout.readline()
    monitor.terminate()
    for host in ("h1", "h2", "h3"):  # the laptop's own key opens nothing any more
        scaled.lab[host].exec("sed -i '/rayctl:/!d' /home/ray/.ssh/authorized_keys")
        assert lines(scaled.lab[host]) == 1
    scaled.head.exec(f"cat > /home/ray/job.py <<'END'\n{JOB}\nEND")
    done = scaled.head.exec("sudo -iu ray bash -lc '. ~/.rayctl/lab/env && python job.py'", seconds=200).stdout
    assert "ready on 3" in done, said(scaled)
    wait_for(lambda: not scaled.ray()["h2"] and not scaled.ray()["h3"], 120, "idle hosts are given back")
    key = scaled.lab.key.with_suffix(".pub").read_text()
    for host in ("h1", "h2", "h3"):
        scaled.lab[host].exec(f"cat >> /home/ray/.ssh/authorized_keys <<'END'\n{key}END")
    scaled.down()
    assert not scaled.head.exec(f"ls -d {FOLDER} 2>/dev/null || :").stdout


def left(cluster: RayCluster, before: dict[str, str]) -> set[str]:
    """What is on the hosts that was not there before, Ray's and tmux's own files in /tmp excepted."""
    found = {line for name, now in traces(cluster).items() for line in set(now.splitlines()) - set(before[name].splitlines())}
    return {line for line in found if not line.startswith(("/tmp/ray/", "/tmp/tmux-", "/tmp/pymp-")) and line != "/tmp/ray"}


def test_up_beside_it_leaves_hosts_to_it_and_watches_and_a_command_that_is_over_ends_the_cluster(scaled: RayCluster) -> None:
    before = traces(scaled)
    scaled.up()
    first, head = pid(scaled), scaled.ray()["h1"]
    wait_for(lambda: scaled.status()["scaler"], 120, "it turns")
    said = scaled.up("--min-workers", "1", "--no-restart").stdout
    assert "2 of 2 nodes joined" in said
    (taken,) = [name for name, pids in scaled.ray().items() if pids and name != "h1"]
    log = scaled.head.exec(f"cat {FOLDER}/home/runs/lab/scaler/*.jsonl").stdout
    launched = [event for event in map(json.loads, log.splitlines()) if event["kind"] == "node_launched"]
    assert [event["node"] for event in launched] == [taken], "the scaler has done it"
    assert pid(scaled) == first
    assert scaled.ray()["h1"] == head
    wait_for(lambda: scaled.ray()[taken], 120, "it stays, since it is the minimum now")
    scaled.rayctl("exec", "--tmux", "--stop", "sleep 3; touch /home/ray/out-over")
    wait_for(lambda: scaled.head.exec("ls /home/ray/out-over 2>/dev/null || :").stdout, 120, "the command has run")
    with suppress(LabError):
        wait_for(lambda: not left(scaled, before), 120, "all is gone")
    assert left(scaled, before) == set(), "all is gone, the scaler too"
    assert "is not up" in scaled.rayctl("exec", "true", code=None).stderr
