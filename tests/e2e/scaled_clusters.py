# SPDX-License-Identifier: Apache-2.0
"""Embedded clusters of a real Ray, each with a scaler, and drivers that have work for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayctl.node import processes
from tests.scaler_events import events_in

RAYCTL = str(Path(sys.executable).with_name("rayctl"))
BEGIN = """\
import tempfile, time
from pathlib import Path
import ray
from ray.util.placement_group import placement_group, placement_group_table, remove_placement_group

ray.init()

@ray.remote(num_cpus=1, max_retries=5)
def meet(folder, count, seconds):
    # not by ray.get, for whoever waits in it gives its CPU to others
    here = ray.util.get_node_ip_address()
    (folder / here).touch()
    while len(list(folder.iterdir())) < count:
        time.sleep(0.1)
    hold() if seconds is None else time.sleep(seconds)
    return here

def hold():
    end = time.monotonic() + 300
    while not enough.exists() and time.monotonic() < end:
        time.sleep(0.1)

def ran(count, seconds=None):
    folder = Path(tempfile.mkdtemp())
    print("RAN", *sorted(set(ray.get([meet.remote(folder, count, seconds) for _ in range(count)]))))
"""


class Cluster:
    """A cluster, its scaler, and drivers, whose scripts go on from `BEGIN`; what they `hold` ends when there is `enough`."""

    def __init__(self, folder: Path, text: str) -> None:
        self.folder, self.home, self.file = folder, folder / "home", folder / "scaled.yaml"
        self.file.write_text(text)
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAYCTL_", "RAY_", "ANSIBLE_"))}
        self.env = {**kept, "RAYCTL_HOME": str(self.home)}
        self.out, self.enough = folder / "scaler.jsonl", folder / "enough"
        self.scaler: subprocess.Popen[str] | None = None

    def rayctl(self, *words: str, code: int | None = 0) -> str:
        done = subprocess.run([RAYCTL, *words], env=self.env, capture_output=True, text=True, timeout=180, check=False)
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done.stdout

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.rayctl("status", "--format", "json", str(self.file)))
        return found

    def workers(self) -> list[dict[str, Any]]:
        return [node for node in self.status()["nodes"] if node["kind"] == "worker"]

    def alone(self) -> bool:
        return not self.workers()

    def processes_of(self, node: str) -> list[processes.Process]:
        return list(processes.marked(f"{self.status()['cluster_id']}/{node}"))

    # ---- the scaler
    def start(self) -> None:
        with self.out.open("a") as out:
            command = [RAYCTL, "scaler", "--format", "json", str(self.file)]
            self.scaler = subprocess.Popen(command, env=self.env, stdout=out, stderr=out, text=True, start_new_session=True)

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.scaler is not None
        self.scaler.send_signal(number)
        return self.scaler.wait(30)

    def events(self, kind: str = "") -> list[dict[str, Any]]:
        """What the scaler told."""
        return events_in(self.out, kind)

    def texts(self) -> list[str]:
        return [event["data"].get("text", "") for event in self.events()]

    def launched(self) -> list[str]:
        return [event["node"] for event in self.events("node_launched")]

    def until(self, true: Callable[[], Any], patience_s: float = 150.0) -> Any:
        end = time.monotonic() + patience_s
        while not (value := true()):
            assert time.monotonic() < end, "\n".join(self.texts())
            time.sleep(0.3)
        return value

    # ---- drivers
    def driver(self, text: str) -> subprocess.Popen[str]:
        script = self.folder / f"job{time.monotonic_ns()}.py"
        script.write_text(f"{BEGIN}\nenough = Path({str(self.enough)!r})\n{text}")
        self.enough.unlink(missing_ok=True)
        return subprocess.Popen(
            [RAYCTL, "submit", str(self.file), str(script)], env=self.env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def job(self, text: str) -> str:
        """What a driver says that ends well."""
        driver = self.driver(text)
        said, _ = driver.communicate(timeout=120)
        assert driver.returncode == 0, said
        return said


@contextmanager
def cluster_of(folder: Path, text: str) -> Iterator[Cluster]:
    """A cluster that is up, as this cluster file says. In the end nothing of it is left, nor of a scaler that was started."""
    made = Cluster(folder, text)
    try:
        made.rayctl("up", "-y", str(made.file))
        yield made
    finally:
        if made.scaler is not None and made.scaler.poll() is None:
            made.scaler.kill()
            made.scaler.wait()
        made.rayctl("down", "-y", str(made.file), code=None)
