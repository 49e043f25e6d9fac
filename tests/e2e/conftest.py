# SPDX-License-Identifier: Apache-2.0
"""Embedded clusters whose start commands are stand-ins for Ray, worked on by the real `rayctl` as a program."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

RAYCTL = str(Path(sys.executable).parent / "rayctl")
FILE = """\
cluster_name: demo
provider: {{type: embedded}}
max_workers: 3
available_node_types:
  head: {{}}
  worker: {{min_workers: 2}}
setup_commands: {setup}
head_start_ray_commands: ['echo $RAYCTL_NODE >> {out}/starts']
worker_start_ray_commands: ['echo $RAYCTL_NODE >> {out}/starts']
{more}
"""
STEERING = ("RAYCTL_", "RAY_", "ANSIBLE_", "PYTEST_")


class Standin:
    """One cluster in a folder of its own. Commands of the file write to `out`: `note` makes one that tells of its run."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.out = folder, folder / "home", folder / "out"
        self.file = folder / "cluster.yaml"
        self.out.mkdir()
        kept = {k: v for k, v in os.environ.items() if not k.startswith(STEERING)}
        self.env = {**kept, "RAYCTL_HOME": str(self.home), "STANDIN": str(folder), "COLUMNS": "100"}
        self.env["PATH"] = f"{Path(RAYCTL).parent}:{os.environ['PATH']}"
        self.started: list[subprocess.Popen[str]] = []
        self.write(self.note("one"))

    def write(self, *setup: str | Mapping[str, Any], more: str = "") -> None:
        """The cluster file with these set-up commands, and what else stands at its top level."""
        self.file.write_text(FILE.format(setup=json.dumps(setup), out=self.out, more=more))

    def note(self, name: str, then: str = "true") -> str:
        """A step that tells of its run on each node, and goes on with something."""
        return f"echo $RAYCTL_STEP >> {self.out}/{name}; {then}"

    def noted(self, name: str) -> list[str]:
        """The nodes on which that step ran (or `starts`: Ray was started), once for each time, sorted."""
        path = self.out / name
        return sorted(line.rpartition("/")[2] for line in path.read_text().split()) if path.exists() else []

    def run(self, *words: str, code: int | None = 0, env: Mapping[str, str] | None = None, **extra: Any) -> Any:
        """`rayctl words`, which must end with this code. Standard input is no terminal."""
        settings: dict[str, Any] = {"stdin": subprocess.DEVNULL, "timeout": 180, **extra}
        done = subprocess.run(
            [RAYCTL, *words], env={**self.env, **(env or {})}, capture_output=True, text=True, check=False, **settings
        )
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def up(self, *flags: str, code: int | None = 0, **extra: Any) -> Any:
        """`rayctl up -y`."""
        return self.run("up", "-y", *flags, str(self.file), code=code, **extra)

    def start(self, *words: str, **extra: Any) -> subprocess.Popen[str]:
        """`rayctl words` beside the test, in a process group of its own as a shell makes it."""
        child = subprocess.Popen(
            [RAYCTL, *words], env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True, **extra,
        )  # fmt: skip
        self.started.append(child)
        return child

    def nodes(self, *flags: str) -> dict[str, dict[str, Any]]:
        """The nodes by name, as `rayctl status --format json` tells."""
        seen = json.loads(self.run("status", "--format", "json", *flags, str(self.file)).stdout)
        return {node["name"]: node for node in seen["nodes"]}

    def processes(self) -> list[str]:
        """The command lines of all processes that came from here."""
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError):
                if process.name.isdigit() and str(self.folder).encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        return found

    def until(self, condition: Callable[[], Any], patience_s: float = 60.0) -> Any:
        """Wait until something is true."""
        end = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < end, "it did not become true in time"
            time.sleep(0.05)
        return value

    def close(self) -> None:
        """End what runs."""
        for child in self.started:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()
        for file in self.folder.glob("*.yaml"):
            self.run("down", "-y", "--accept-other-cluster", str(file), code=None)


@pytest.fixture
def standin(tmp_path: Path) -> Iterator[Standin]:
    """A cluster file for three nodes; what came up goes down."""
    made = Standin(tmp_path)
    yield made
    made.close()
