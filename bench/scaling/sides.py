# SPDX-License-Identifier: Apache-2.0
"""The sides of the reaction's figures: rayctl's scaler on this machine and on hosts, and Ray's own autoscaler."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import yaml

from bench.hosts.place import Cluster, hosts
from bench.lab import lab
from bench.scaling import stamps
from bench.scaling.heads import ADDRESS, free_ports, ray_head
from bench.scaling.scaled import LOOK_S, PATIENCE_S, PROGRAM, Scaled, driver, node_types
from rayctl.gcs.client import GcsClient
from rayctl.operations.joined import gcs_address

ROOT = Path(__file__).resolve().parent.parent.parent
IDLE_S = 6.0
HEAD_ID = "f" * 51 + "00000"  # which Ray's provider expects
COMMON = {"cluster_name": "bench", "max_workers": 1000, "upscaling_speed": 1000, "idle_timeout_minutes": IDLE_S / 60}
EMPTY_LISTS = (
    "setup_commands", "head_setup_commands", "worker_setup_commands", "initialization_commands", "cluster_synced_files",
    "head_start_ray_commands", "worker_start_ray_commands",
)  # fmt: skip
OURS, THEIRS = "rayctl", "Ray's autoscaler"


@contextmanager
def ours(slots: Sequence[str]) -> Iterator[Scaled]:
    """rayctl's scaler over nodes of this machine."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayctl-bench-")))
        noted = folder / "stamps.jsonl"
        stack.enter_context(_python_path())
        head = {"head": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}}}
        place = stack.enter_context(lab(yaml.safe_dump({
            **COMMON, "head_node_type": "head", "available_node_types": {**head, **node_types(slots)},
            "provider": {"type": "external", "module": "bench.scaling.our_provider.Noting", "stamps": str(noted)},
            "auth": {"ray_token": False}, "scaler": {"run_on": "controller", "metrics_port": 0},
        })))  # fmt: skip
        place.up()
        address = gcs_address(place.session("bench"))
        stack.enter_context(scaler(place.rayctl("scaler"), folder / "scaler.jsonl"))
        asking = stack.enter_context(driver([sys.executable, str(PROGRAM), address], _without_token(os.environ)))
        client = stack.enter_context(GcsClient(address))
        yield Scaled(OURS, place.file, client, asking, partial(stamps.wait, noted, patience_s=PATIENCE_S))


@contextmanager
def theirs(slots: Sequence[str]) -> Iterator[Scaled]:
    """Ray's own autoscaler, as it is when nothing is set, over Ray's own provider of nodes on one machine."""
    with ExitStack() as stack:
        folder, (port,) = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rayctl-bench-"))), free_ports(1)
        file, noted = folder / "cluster.yaml", folder / "stamps.jsonl"
        provider = {
            "type": "external", "module": "bench.scaling.ray_provider.Noting", "gcs_address": f"{ADDRESS}:{port}",
            "launch_multiple": True, "stamps": str(noted), "use_node_id_as_ip": True, "disable_node_updaters": True,
            "disable_launch_config_check": True,
        }  # fmt: skip
        head = {"ray.head.default": {"resources": {"CPU": 1}, "node_config": {}, "max_workers": 0}}
        content: dict[str, Any] = {
            **COMMON, "provider": provider, "available_node_types": {**head, **node_types(slots)},
            "head_node_type": "ray.head.default", "auth": {}, "file_mounts": {}, **{name: [] for name in EMPTY_LISTS},
        }  # fmt: skip
        file.write_text(yaml.safe_dump(content))
        started = stack.enter_context(ray_head(
            modern=True, port=port, flags=[f"--autoscaling-config={file}"], RAY_FAKE_CLUSTER="1", PYTHONPATH=str(ROOT),
            RAY_CLOUD_INSTANCE_ID=HEAD_ID, RAY_OVERRIDE_NODE_ID_FOR_TESTING=HEAD_ID, RAY_NODE_TYPE_NAME="ray.head.default",
        ))  # fmt: skip
        asking = stack.enter_context(driver([sys.executable, str(PROGRAM), started.address], started.environment))
        client = stack.enter_context(GcsClient(started.address))
        yield Scaled(THEIRS, file, client, asking, partial(stamps.wait, noted, patience_s=PATIENCE_S))


@contextmanager
def ours_on_hosts(workers: int) -> Iterator[Scaled]:
    """rayctl's scaler over hosts of the lab, reached by ssh. A launch is when the scaler says that it launches."""
    with ExitStack() as stack:
        place = stack.enter_context(hosts(workers + 1))
        cluster = place.cluster("bench", workers + 1)
        types = node_types([])
        types["worker"]["max_workers"] = workers
        head = {"head": {"resources": {"CPU": 1, "object_store_memory": 80_000_000}}}
        common = {name: value for name, value in COMMON.items() if name not in ("cluster_name", "max_workers")}
        cluster.write(
            available_node_types={**head, **types},
            max_workers=workers,
            scaler={"run_on": "controller", "metrics_port": 0},
            **common,
        )
        cluster.up()
        log = place.folder / "scaler.jsonl"
        stack.enter_context(scaler(cluster.rayctl("scaler"), log))
        asking = stack.enter_context(driver(_driver_on(cluster), os.environ))
        client = stack.enter_context(GcsClient(cluster.gcs))
        yield Scaled(f"{OURS} over ssh", cluster.file, client, asking, partial(_told, log))


def _driver_on(cluster: Cluster) -> list[str]:
    """The driver's command on the head, where its program was copied to."""
    ssh = cluster.bare_ssh(cluster.hosts[0])
    subprocess.run([*ssh, "cat > driver.py"], input=PROGRAM.read_bytes(), check=True)
    return [*ssh, f"RAY_AUTH_MODE=disabled exec /opt/rayenv/bin/python driver.py {cluster.gcs}"]


@contextmanager
def scaler(command: Sequence[str], log: Path) -> Iterator[int]:
    """A scaler that runs for the length of the block; its process id. What it tells goes into a file."""
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, "--format", "json"], stdin=DEVNULL, stdout=out, stderr=DEVNULL, start_new_session=True
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            process.wait()


def _told(log: Path, node_type: str, since: float) -> float:
    """When the scaler said that it launches a machine of a type. Raises TimeoutError."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for line in log.read_text().splitlines():
            event = json.loads(line)
            text = str(event["data"].get("text", ""))
            if event["ts"] >= since and text.startswith("launching") and f"of type {node_type}:" in text:
                return float(event["ts"])
        time.sleep(LOOK_S)
    raise TimeoutError(f"no {node_type} was launched within {PATIENCE_S:g} s")


@contextmanager
def _python_path() -> Iterator[None]:
    """Let what is started from here find our providers."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({"PYTHONPATH": before} if before is not None else {})


def _without_token(environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    return {**kept, "RAY_AUTH_MODE": "disabled"}
