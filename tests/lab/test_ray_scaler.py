# SPDX-License-Identifier: Apache-2.0
"""The scaler over hosts of one's own, with a real Ray: it takes hosts as work needs them, and replaces what dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.scaler_events import events_in

from .ray_clusters import RayCluster, ray_cluster
from .rig import Host, Lab

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(600)]
SCALED: dict[str, Any] = {
    "max_workers": 2, "idle_timeout_minutes": 0.15, "scaler": {"run_on": "controller", "launch_timeout_s": 60},
    "available_node_types": {
        "head": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}},
        "worker": {"min_workers": 0, "max_workers": 2, "resources": {"CPU": 1, "object_store_memory": 80_000_000}},
    },
}  # fmt: skip
JOB = """
import ray, time
ray.init(address="auto", log_to_driver=False)

@ray.remote(num_cpus=1, max_retries={retries})
def where():
    # no wait is in ray.get: whoever waits there gives its CPU to others
    end = time.monotonic() + 200
    while sum(node["Alive"] for node in ray.nodes()) < {tasks} and time.monotonic() < end:
        time.sleep(0.5)
    time.sleep({seconds})
    return ray.util.get_node_ip_address()

print("RAN", *sorted(set(ray.get([where.remote() for _ in range({tasks})]))))
"""
ROOM_FOR_3 = """
import ray.autoscaler.sdk
ray.init(address="auto", log_to_driver=False)
ray.autoscaler.sdk.request_resources(num_cpus=3)
"""


class Scaled:
    """A cluster and its scaler."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster, self.out = cluster, cluster.folder / "scaler.jsonl"
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.out.open("a") as out:
            self.process = subprocess.Popen(
                ["rayctl", "scaler", "--format", "json", str(self.cluster.file)], env=self.cluster.env, stdout=out, stderr=out,
                text=True, start_new_session=True,
            )  # fmt: skip

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        assert code == 0, self.texts()

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        return events_in(self.out, kind)

    def texts(self) -> str:
        return "\n".join(f"{event['kind']} {event['node']} {event['data'].get('text', '')}" for event in self.events())

    def job(self, seconds: int) -> subprocess.Popen[str]:
        script = self.cluster.folder / f"job{time.monotonic_ns()}.py"
        script.write_text(JOB.format(tasks=3, seconds=seconds, retries=20))
        return self.cluster.start("rayctl", "submit", str(self.cluster.file), str(script))

    def joined(self) -> list[str]:
        """The workers that Ray knows."""
        nodes = self.cluster.status()["nodes"]
        return [node["name"] for node in nodes if node["kind"] == "worker" and node["ray"] in ("idle", "running")]

    def free(self) -> set[str]:
        """The hosts that nobody has."""
        return {node["name"] for node in self.cluster.status("--probe")["nodes"] if node["state"] == "free"}

    def raylets(self) -> dict[str, int]:
        """The pids of those that run, by host."""
        return {name: pids["raylet"] for name, pids in self.cluster.ray().items() if "raylet" in pids}

    def until(self, true: Callable[[], Any], patience_s: float = 150.0) -> Any:
        end = time.monotonic() + patience_s
        while not (value := true()):
            assert time.monotonic() < end, self.texts()
            time.sleep(0.5)
        return value


def answering(host: Host) -> list[int]:
    """On which of its ports for ssh and for Ray it takes connections from the controller."""
    found = []
    for port in (22, 6379):
        with suppress(TimeoutError), socket.create_connection((host.ip, port), timeout=1):
            found.append(port)
    return found


@pytest.fixture
def scaled(hosts: Lab, tmp_path: Path) -> Iterator[Scaled]:
    """A head on h1 and a scaler that may take two of h2 to h4."""
    with ray_cluster(hosts, tmp_path, ("h1", "h2", "h3", "h4"), **SCALED) as cluster:
        cluster.up()
        made = Scaled(cluster)
        made.start()
        yield made
        made.stop()


def test_a_job_gets_hosts_and_they_are_free_again_when_it_is_done(scaled: Scaled) -> None:
    said, _ = scaled.job(seconds=40).communicate(timeout=330)
    assert len(said.partition("RAN ")[2].split()) == 3, scaled.texts()
    scaled.until(lambda: not scaled.joined())
    scaled.until(lambda: scaled.free() == {"h2", "h3", "h4"})


def test_a_host_that_dies_in_mid_job_is_replaced_and_left_alone_until_it_answers(scaled: Scaled) -> None:
    types = {**SCALED["available_node_types"], "worker": {**SCALED["available_node_types"]["worker"], "min_workers": 2}}
    scaled.cluster.write_for_ray(**{**SCALED, "available_node_types": types})  # which the scaler reads while it runs
    first = scaled.until(lambda: len(scaled.joined()) == 2 and scaled.joined())
    job = scaled.job(seconds=40)
    scaled.cluster.lab[first[0]].kill()
    scaled.until(lambda: set(scaled.joined()) - set(first))
    said, _ = job.communicate(timeout=200)
    assert "RAN" in said, scaled.texts()
    assert any("does not answer" in event["data"].get("text", "") for event in scaled.events("warning"))
    assert [event["node"] for event in scaled.events("node_launched")].count(first[0]) == 1
    scaled.cluster.lab[first[0]].boot()
    scaled.until(lambda: len(scaled.joined()) == 2)


def test_a_partition_that_heals_costs_no_machine(scaled: Scaled) -> None:
    job = scaled.job(seconds=60)
    first = scaled.until(lambda: len(scaled.joined()) == 2 and sorted(scaled.joined()))
    host = scaled.cluster.lab[first[0]]
    host.partition("box")  # from the scaler alone
    time.sleep(20)
    assert sorted(scaled.joined()) == first, scaled.texts()
    host.heal()
    said, _ = job.communicate(timeout=200)
    assert len(said.partition("RAN ")[2].split()) == 3
    assert {event["node"] for event in scaled.events("node_launched")} == set(first), scaled.texts()


def test_a_head_that_the_scaler_does_not_reach_for_a_while_loses_nothing_and_is_scaled_again(scaled: Scaled) -> None:
    head = scaled.cluster.head
    with ThreadPoolExecutor() as beside:
        job = beside.submit(scaled.cluster.on_head, JOB.format(tasks=2, seconds=45, retries=0))
        (first,) = scaled.until(scaled.joined)
        before, worker = scaled.raylets(), scaled.cluster.lab[first]
        assert answering(head) == [22, 6379]
        head.partition("box")  # from the scaler alone
        assert answering(head) == []
        worker.exec(f"nc -z -w 1 {head.ip} 6379")
        scaled.cluster.on_head(ROOM_FOR_3)
        time.sleep(22)
        assert answering(head) == []
        assert scaled.raylets() == before
        told = [event["data"]["text"] for event in scaled.events("warning")]
        assert told, "that the head does not answer"
        assert len(told) == len(set(told)), told
        assert all(text.startswith("nothing is decided: ") and "head" in text for text in told), told
        head.heal()
        scaled.until(lambda: len(scaled.joined()) == 2)
        assert job.result() == f"RAN {head.ip} {worker.ip}\n"
    assert before.items() < scaled.raylets().items()
    assert len(scaled.events("node_launched")) == 2
    assert not scaled.events("node_terminated")
    status = scaled.cluster.status()
    assert (status["scaler_note"], status["scaler"]["problem"]) == ("", "")
