# SPDX-License-Identifier: Apache-2.0
"""Clusters of a real Ray on the lab's hosts, and jobs for them."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rayctl.transport import masters

from .clusters import Cluster
from .rig import Host, Lab

LASTING = ("gcs_server", "raylet", "ray::DashboardA", "ray::RuntimeEnv")  # processes that live as long as their node's Ray
WHERE = """
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On

ray.init(address="auto", log_to_driver=False)

@ray.remote(num_cpus=0)
def where():
    return ray.util.get_node_ip_address()

nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"]]
print("ran on", *sorted(ray.get([where.options(scheduling_strategy=On(node, soft=False)).remote() for node in nodes])))
"""


class RayCluster(Cluster):
    """One cluster with rayctl's own start commands."""

    patience_s = 240

    def joined(self, *flags: str, **extra: Any) -> str:
        """What `up` says at its end: "4 of 4 nodes joined, nothing changed"."""
        said = self.up(*flags, **extra).stdout
        return str(said).partition(" is up: ")[2].splitlines()[0].rpartition(", ")[0]

    def ray(self) -> dict[str, dict[str, int]]:
        """Of each host the pids of what runs as long as its Ray does, by name."""
        return {name: lasting(self.lab[name]) for name in self.hosts}

    def submit(self, text: str, **extra: Any) -> list[str]:
        """What a script prints."""
        script = self.folder / "job.py"
        script.write_text(text)
        return str(self.rayctl("submit", str(script), **extra).stdout).splitlines()

    def on_head(self, text: str) -> str:
        """What a script prints that runs on the head and needs no line to it."""
        script = f"/home/ray/job{time.monotonic_ns()}.py"
        self.head.write(script, text)
        return self.head.exec(f"sudo -iu ray bash -lc '. ~/.rayctl/{self.name}/env && python {script}'", seconds=330).stdout

    def elsewhere(self, folder: str) -> RayCluster:
        """See `Cluster`."""
        other = RayCluster(self.lab, self.folder / folder, self.name, tuple(self.hosts))
        other.file.write_text(self.file.read_text())
        return other

    @property
    def addresses(self) -> list[str]:
        return [host["address"] for host in self.hosts.values()]


def lasting(host: Host, user: str = "ray") -> dict[str, int]:
    """A user's Ray on a host: the pids of what runs as long as it does, by name."""
    rows = [line.split() for line in host.exec(f"ps -u {user} -o pid=,comm= || true").stdout.splitlines()]
    return {name: int(pid) for pid, name in rows if name in LASTING}


@contextmanager
def ray_cluster(lab: Lab, folder: Path, hosts: tuple[str, ...], **keys: Any) -> Iterator[RayCluster]:
    """A cluster that is not up yet. In the end nothing of it is left on this machine, and the hosts are made anew."""
    for name in hosts:  # all of them share the cores of one machine, and perhaps with other tests
        lab[name].write("/etc/profile.d/patience.sh", "export RAY_raylet_start_wait_time_s=90\n")
    sockets = tempfile.mkdtemp(prefix="rcray-", dir="/tmp")  # not below a test's own folder: paths of sockets are short
    with pytest.MonkeyPatch.context() as environment, ExitStack() as last:
        environment.setenv("XDG_RUNTIME_DIR", sockets)
        last.callback(lab.reset)
        last.callback(shutil.rmtree, sockets, ignore_errors=True)
        last.callback(masters.close, "*")
        made = RayCluster(lab, folder / "laptop", hosts=hosts)
        last.callback(made.end)
        made.write_for_ray(**keys)
        yield made


def free_of_ours(host: Host) -> Mapping[str, str]:
    """What is left on a host after `down`, by where it was looked for; nothing, normally."""
    looks = {
        "processes": "ps -u ray -o comm= | grep -E 'gcs_server|raylet|ray::|python'",
        "marked": "grep -ls RAYCTL_ /proc/[0-9]*/environ",
        "claims": "ls /var/tmp | grep rayctl",
        "home": "ls -A /home/ray | grep rayctl",
    }
    found = {place: host.exec(f"{look} || true").stdout.strip() for place, look in looks.items()}
    return {place: left for place, left in found.items() if left}
