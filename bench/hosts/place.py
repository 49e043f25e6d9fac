# SPDX-License-Identifier: Apache-2.0
"""Hosts of the lab for one figure, and cluster files over them; nothing of it outlives its block."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from bench.pairs import beside_python, command
from rayctl.state import paths
from rayctl.transport import masters, sshconfig
from tests.lab.rig import Host, Lab
from tests.lab.rig.lab import clean

PORT = 6379
CPUS, OBJECT_STORE = 1, 80_000_000  # lean: all hosts share this machine
IDLE = 3  # of the figures in /proc/stat
QUIET, QUIET_PATIENCE_S = 0.5, 60.0  # a share of the CPUs


@dataclass(frozen=True)
class Place:
    """A lab with a rayctl home of its own."""

    lab: Lab
    folder: Path

    def cluster(self, name: str, count: int) -> Cluster:
        """A cluster over the first so many hosts, with its file."""
        made = Cluster(self, name, tuple(self.lab.hosts[:count]))
        made.write()
        return made

    def renew(self) -> None:
        """Make all hosts anew, and forget all that rayctl knew of them: the next run is a first one."""
        masters.close("*")
        shutil.rmtree(self.folder / "home", ignore_errors=True)
        self.lab.reset()
        self.lab.on_all(_settle)


@dataclass(frozen=True)
class Cluster:
    """A cluster file over some hosts; the first is the head. Ray's token is off, as no other side has one."""

    place: Place
    name: str
    hosts: tuple[Host, ...]

    @property
    def file(self) -> Path:
        """The cluster file."""
        return self.place.folder / f"{self.name}.yaml"

    @property
    def gcs(self) -> str:
        """Where the head's GCS listens, since nobody else is on a new host."""
        return f"{self.hosts[0].ip}:{PORT}"

    @property
    def auth(self) -> dict[str, str]:
        """Who logs in, by which key."""
        return {"ssh_user": self.hosts[0].user, "ssh_private_key": str(self.place.lab.key)}

    def write(self, **keys: Any) -> None:
        """Write the file, with these keys besides those that every one has."""
        resources = {"CPU": CPUS, "object_store_memory": OBJECT_STORE}
        self.file.write_text(yaml.safe_dump({
            "cluster_name": self.name,
            "provider": {"type": "local", "hosts": [{"name": host.name, "address": host.ip} for host in self.hosts]},
            "auth": {**self.auth, "ray_token": False},
            "available_node_types": {name: {"resources": resources} for name in ("head", "worker")},
            **keys,
        }))  # fmt: skip

    def rayctl(self, *words: str) -> list[str]:
        """The command line of a rayctl command on the file."""
        name, *rest = words
        return [beside_python("rayctl"), name, str(self.file), *rest]

    def up(self) -> None:
        """Bring it up, not timed. Raises `RunFailed`."""
        command("up", self.rayctl("up", "-y")).run()

    def down(self) -> None:
        """End it, and give its hosts back. Raises `RunFailed`."""
        command("down", self.rayctl("down", "-y")).run()

    def ssh(self, host: Host) -> list[str]:
        """ssh to a host as rayctl reaches it, over the master that rayctl uses."""
        folder = paths.cluster_dir(paths.home(os.environ), self.name)
        return ["ssh", "-F", str(folder / sshconfig.NAME), "-T", host.ip]

    def bare_ssh(self, host: Host) -> list[str]:
        """ssh to a host by the lab's own settings: a connection for one command."""
        return ["ssh", "-F", str(self.place.lab.ssh_config), "-T", host.name]


def wait_until_quiet() -> None:
    """Let a Ray that has just started come to rest, for a minute at most: its nodes are on this machine too."""
    end = time.monotonic() + QUIET_PATIENCE_S
    while _idle_share(1.0) < QUIET and time.monotonic() < end:
        pass


def _idle_share(seconds: float) -> float:
    """How much of this machine's CPUs was idle in this time."""
    before = _ticks()
    time.sleep(seconds)
    passed = [now - then for then, now in zip(before, _ticks(), strict=True)]
    return passed[IDLE] / max(sum(passed), 1)


def _ticks() -> list[int]:
    """CPU time of the machine by its kinds, user to steal (proc(5))."""
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


@contextmanager
def hosts(count: int) -> Iterator[Place]:
    """A place with this many hosts. Raises `LabError` where there can be none."""
    name = f"b{os.getpid()}"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="rcb-"))  # short, for sockets
        stack.callback(shutil.rmtree, folder)
        stack.enter_context(_environment(RAYCTL_HOME=str(folder / "home"), XDG_RUNTIME_DIR=str(folder)))
        stack.callback(clean, name)
        stack.callback(masters.close, "*")
        yield Place(Lab.up(count, name=name), folder)


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """These variables for the block, here and in what is started from here."""
    before: Mapping[str, str] = {name: os.environ[name] for name in changes if name in os.environ}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name in changes:
            del os.environ[name]
        os.environ.update(before)


def _settle(host: Host) -> None:
    """Let a host end its boot, so that it costs no run anything."""
    host.exec("systemctl is-system-running --wait", check=False)
