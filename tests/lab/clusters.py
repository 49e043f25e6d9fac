# SPDX-License-Identifier: Apache-2.0
"""Clusters on the lab's hosts, worked on by the real `rayctl` as a program, with stand-ins for Ray or Ray itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .rig import Host, Lab

BIN = Path(sys.executable).parent
DAEMON = "sleep 86399"
STEERING = ("RAYCTL_", "RAY_", "ANSIBLE_", "PYTEST_", "SSH_")


class Cluster:
    """One cluster file over hosts of a lab, in a controller's home of its own. The first host is the head."""

    patience_s = 120

    def __init__(self, lab: Lab, folder: Path, name: str = "lab", hosts: tuple[str, ...] = ("h1", "h2", "h3", "h4")) -> None:
        self.lab, self.folder, self.name = lab, folder, name
        self.home, self.file = folder / "home", folder / "cluster.yaml"
        self.hosts = {name: {"name": name, "address": lab[name].ip} for name in hosts}
        self.auth: dict[str, Any] = {"ssh_user": "ray", "ssh_private_key": str(lab.key)}
        kept = {key: value for key, value in os.environ.items() if not key.startswith(STEERING)}
        self.env = {**kept, "RAYCTL_HOME": str(self.home), "COLUMNS": "100", "PATH": f"{BIN}:{os.environ['PATH']}"}
        self.children: list[subprocess.Popen[str]] = []
        folder.mkdir(exist_ok=True)
        self.write()

    @property
    def head(self) -> Host:
        return self.lab[next(iter(self.hosts))]

    @property
    def workers(self) -> list[Host]:
        return [self.lab[name] for name in self.hosts][1:]

    def write(self, *setup: str | Mapping[str, Any], **keys: Any) -> None:
        """The cluster file: these set-up commands, start commands that only leave a note, and what else is given."""
        self.file.write_text(yaml.safe_dump({
            "cluster_name": self.name, "provider": {"type": "local", "hosts": list(self.hosts.values())}, "auth": self.auth,
            "setup_commands": list(setup), "head_start_ray_commands": [note("starts")],
            "worker_start_ray_commands": [note("starts")], **keys,
        }))  # fmt: skip

    def write_for_ray(self, *setup: str | Mapping[str, Any], **keys: Any) -> None:
        """The same with rayctl's own start commands, lean enough for four nodes on two cores."""
        types = {name: {"resources": {"CPU": 1, "object_store_memory": 80_000_000}} for name in ("head", "worker")}
        self.write(
            *setup, head_start_ray_commands=[], worker_start_ray_commands=[], **{"available_node_types": types, **keys}
        )  # fmt: skip

    def run(self, *words: str, code: int | None = 0, env: Mapping[str, str] | None = None, **extra: Any) -> Any:
        """A command, which must end with this code. Standard input is no terminal."""
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "timeout": self.patience_s, "cwd": self.folder, **extra}
        done = subprocess.run(words, env={**self.env, **(env or {})}, capture_output=True, text=True, check=False, **settings)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def rayctl(self, verb: str, *words: str, **extra: Any) -> Any:
        """`rayctl verb cluster.yaml words`."""
        return self.run("rayctl", verb, str(self.file), *words, **extra)

    def up(self, *flags: str, **extra: Any) -> Any:
        return self.rayctl("up", "-y", *flags, **extra)

    def down(self, *flags: str, **extra: Any) -> Any:
        return self.rayctl("down", "-y", *flags, **extra)

    def status(self, *flags: str, **extra: Any) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rayctl("status", "--format", "json", *flags, **extra).stdout)
        return found

    def start(self, *words: str, **extra: Any) -> subprocess.Popen[str]:
        """A command beside the test, in a process group of its own as a shell makes it."""
        child = subprocess.Popen(
            words, env=self.env, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, start_new_session=True, **extra,
        )  # fmt: skip
        self.children.append(child)
        return child

    def elsewhere(self, folder: str) -> Cluster:
        """The same file on another laptop: nothing of the first controller's state is there."""
        other = Cluster(self.lab, self.folder / folder, self.name, tuple(self.hosts))
        other.file.write_text(self.file.read_text())
        return other

    def counts(self, name: str) -> dict[str, int]:
        """How often a command that notes its runs ran, on each host that is on."""
        return {host: noted(self.lab[host], name) for host in self.hosts if self.lab[host].running()}

    def daemons(self) -> dict[str, list[str]]:
        """The pids of what stand-ins for Ray left running, on each host that is on."""
        look = f"pgrep -fx '{DAEMON}' || :"
        return {host: self.lab[host].exec(look).stdout.split() for host in self.hosts if self.lab[host].running()}

    def end(self) -> None:
        """Leave nothing on this machine: children, and ssh masters that would outlive the hosts."""
        for child in self.children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        self.run("rayctl", "down", "-y", str(self.file), code=None)


def content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended, or was removed
        return b""


def holding(folder: Path, secret: bytes) -> list[Path]:
    """The files below a folder in which the secret is, also while others come and go there."""
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [file for file in files if file.is_file() and secret in content(file)]


def note(name: str, then: str = "true") -> str:
    """A command that tells of its run on its host, and goes on with something."""
    return f"mkdir -p ~/out; echo run >> ~/out/{name}; {then}"


def daemon(name: str) -> str:
    """The same for a start command: what it starts runs on, as Ray does."""
    return note(name, f"{DAEMON} >/dev/null 2>&1 &")


def noted(host: Host, name: str, user: str = "ray") -> int:
    """How often that command ran there."""
    return int(host.exec(f"cat /home/{user}/out/{name} 2>/dev/null | wc -l").stdout)
