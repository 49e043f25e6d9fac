# SPDX-License-Identifier: Apache-2.0
"""A head that keeps its state in Redis dies and comes back: nodes find back to it with their Ray, and nothing is forgotten."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scaled_clusters import Cluster, cluster_of

# Debian's redis-tools has the server under another name, and starts none
SERVER = shutil.which("redis-server") or shutil.which("redis-check-rdb")
pytestmark = [
    pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900),
    pytest.mark.skipif(not SERVER and not os.environ.get("CI"), reason="no Redis; `make lab` installs redis-tools"),
]  # fmt: skip
FILE = """\
cluster_name: redis
provider: {{type: embedded}}
max_workers: 2
scaler: {{metrics_port: 0}}
head_node_type: head
head_start_ray_commands: ['RAY_REDIS_ADDRESS=127.0.0.1:{port} RAY_gcs_rpc_server_reconnect_timeout_s=150 ray start --head']
worker_start_ray_commands: ['RAY_gcs_rpc_server_reconnect_timeout_s=150 ray start --address=$RAY_HEAD_ADDRESS']
available_node_types:
  head: {{resources: {{CPU: 1, object_store_memory: 80000000}}}}
  worker: {{min_workers: 0, max_workers: 2, resources: {{CPU: 1, object_store_memory: 80000000}}}}
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """The port of a Redis that keeps nothing on disk."""
    assert SERVER
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("w") as log:
        server = subprocess.Popen(["redis-server", *words], executable=SERVER, stdout=log, stderr=log)
    yield port
    server.terminate()
    server.wait()


@pytest.fixture
def cluster(tmp_path: Path, port: int) -> Iterator[Cluster]:
    with cluster_of(tmp_path, FILE.format(port=port)) as made:
        made.start()
        yield made


def raylets(cluster: Cluster) -> list[int]:
    names = [node["name"] for node in cluster.workers()]
    return sorted(process.pid for name in names for process in cluster.processes_of(name) if process.name == "raylet")


def test_nodes_find_back_with_their_ray_and_what_was_requested_is_asked_for_again(cluster: Cluster) -> None:
    cluster.job('from ray.autoscaler.sdk import request_resources\nrequest_resources(bundles=[{"CPU": 1}] * 3)')
    cluster.until(lambda: [node["ray"] for node in cluster.workers()] == ["idle"] * 2)
    time.sleep(3)
    before, launched = raylets(cluster), cluster.launched()
    (gcs,) = [process for process in cluster.processes_of("redis-head-1") if process.name == "gcs_server"]
    os.kill(gcs.pid, signal.SIGKILL)
    cluster.until(lambda: any("the picture is whole again" in text for text in cluster.texts()), 150)
    time.sleep(40)  # longer than nodes are given to find back
    assert raylets(cluster) == before
    assert cluster.launched() == launched
    assert not cluster.events("node_terminated")
    assert "request_resources: {CPU: 1} x 3" in cluster.rayctl("status", str(cluster.file))
