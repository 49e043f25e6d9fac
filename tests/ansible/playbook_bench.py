# SPDX-License-Identifier: Apache-2.0
"""Playbooks run by hand: a real `ansible-playbook` on embedded nodes whose start commands are stand-ins for Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CLUSTER = """\
cluster_name: {name}
provider: {{type: embedded}}
max_workers: 2
available_node_types:
  head: {{}}
  worker: {{min_workers: 2}}
file_mounts:
  {target}: {source}
setup_commands:
  - echo "{{{{ lookup('pipe', 'id') }}}} {{{{.Names}}}}" > {out}/text
  - echo $RAYCTL_STEP >> {out}/ran
head_start_ray_commands: [sleep 0.1]
worker_start_ray_commands: [sleep 0.1]
"""


@dataclass
class Bench:
    """One cluster file and the means to work on it, in an environment of its own."""

    folder: Path
    file: Path
    out: Path
    env: dict[str, str] = field(default_factory=dict)
    bin: Path = BIN

    def run(self, *argv: str, cwd: Path = ROOT, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of the virtual environment."""
        command = [str(self.bin / argv[0]), *argv[1:]]
        return subprocess.run(
            command, cwd=cwd, env={**self.env, **(env or {})}, capture_output=True, text=True, timeout=120, check=False
        )

    def play(
        self, *flags: str, cwd: Path = ROOT, inventory: Path | None = None, book: str = "playbooks/up.yml", **kw: Any
    ) -> Any:
        """Run a playbook; the result, with `.recap`, the counts per host."""
        done = self.run("ansible-playbook", "-i", str(inventory or self.file), book, *flags, cwd=cwd, **kw)
        done.recap = recap(done.stdout)  # type: ignore[attr-defined]
        return done

    def rayctl(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run rayctl."""
        return self.run("rayctl", *argv)

    def status(self) -> dict[str, Any]:
        """`rayctl status --probe` as data."""
        return json.loads(self.rayctl("status", "--probe", "--format", "json", str(self.file)).stdout)

    def ran(self) -> list[str]:
        """Which nodes' second set-up step ran, in any order."""
        path = self.out / "ran"
        return sorted(line.rpartition("/")[2] for line in path.read_text().split()) if path.exists() else []


def recap(output: str) -> dict[str, dict[str, int]]:
    """The counts of PLAY RECAP."""
    hosts = {}
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, colon, counts = line.partition(" : ")
        if colon:
            hosts[name.strip()] = {key: int(value) for key, value in (item.split("=") for item in counts.split())}
    return hosts


def clean_environment(home: Path) -> dict[str, str]:
    """Ours less what would steer Ansible or rayctl."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("ANSIBLE_", "RAYCTL_", "RAY_", "PYTEST_"))}
    return {**kept, "RAYCTL_HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}"}


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the signal reaches the whole foreground process group."""
    os.killpg(process.pid, signal.SIGINT)
