# SPDX-License-Identifier: Apache-2.0
"""A cluster that something scales, as one who uses it sees it: what is asked for, and when something comes of it."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import IO, Any

import yaml

from bench.pairs import RunFailed
from rayctl.gcs.client import GcsClient
from rayctl.gcs.view import ClusterView

PROGRAM = Path(__file__).with_name("driver.py")
WORKER, WORK = "worker", "work"  # the type of nodes that are really launched, and what they alone have
LOOK_S = 0.02
PATIENCE_S = 90.0


class Driver:
    """A running `driver.py`."""

    def __init__(self, to: IO[str], answers: IO[str]) -> None:
        self._to, self._answers = to, answers

    def ask(self, what: str, name: str = "") -> float:
        """When it began to ask for it. Raises `RunFailed`."""
        self._to.write(json.dumps({"ask": what, "for": name}) + "\n")
        self._to.flush()
        return float(json.loads(self.line('{"at"'))["at"])

    def line(self, beginning: str) -> str:
        """Its next line that begins so; Ray prints lines of its own. Raises `RunFailed`."""
        for line in self._answers:
            if line.startswith(beginning):
                return line
        raise RunFailed("the driver ended")


@contextmanager
def driver(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Driver]:
    """A driver that is connected; it ends with the block, whatever it waits for."""
    with subprocess.Popen(command, env=dict(environment), stdin=PIPE, stdout=PIPE, stderr=DEVNULL, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            found = Driver(process.stdin, process.stdout)
            found.line("ready")
            yield found
        finally:
            process.kill()


@dataclass(frozen=True)
class Scaled:
    """One side. `launched` waits for the first launch of a type since a moment, and tells when it was."""

    name: str
    file: Path
    head: GcsClient
    driver: Driver
    launched: Callable[[str, float], float]

    def set_minimum(self, node_type: str, count: int) -> float:
        """Write another `min_workers` of a type into the cluster file; the moment just before it is there."""
        content: dict[str, Any] = yaml.safe_load(self.file.read_text())
        content["available_node_types"][node_type]["min_workers"] = count
        new = self.file.with_suffix(".new")
        new.write_text(yaml.safe_dump(content))
        moment = time.time()
        new.replace(self.file)
        return moment

    def until(self, holds: Callable[[ClusterView], bool]) -> float:
        """When the head first tells of a cluster of which this is true. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if holds(self.head.cluster()):
                return time.time()
            time.sleep(LOOK_S)
        raise TimeoutError(f"{self.name}: what was waited for did not come within {PATIENCE_S:g} s")


def node_types(slots: Sequence[str]) -> dict[str, Any]:
    """A type for each slot, which has one of it and nothing else, and the workers'."""
    bare: dict[str, Any] = {"min_workers": 0, "max_workers": 1, "node_config": {}}
    own = {WORK: 1, "object_store_memory": 80_000_000}
    types = {slot: {**bare, "resources": {"CPU": 0, slot: 1}} for slot in slots}
    return {**types, WORKER: {**bare, "resources": {"CPU": 0, **own}}}


def alive_workers(view: ClusterView) -> int:
    """How many workers Ray knows alive."""
    return sum(node.state.alive and node.node_type == WORKER for node in view.nodes)
