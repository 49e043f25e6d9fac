# SPDX-License-Identifier: Apache-2.0
"""A rayctl home of its own with one cluster file; what is up in it when its block ends is taken down."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.pairs import beside_python, command
from rayctl.events import Bus
from rayctl.gcs.client import wait_for_nodes
from rayctl.operations.joined import gcs_address
from rayctl.operations.session import Session
from rayctl.operations.tokens import known as ray_token

WORKERS = 3
NODES = WORKERS + 1
LOOK_S = 0.05  # how often an outside reader looks
PATIENCE_S = 180.0

RAY = f"cluster_name: bench\nprovider: {{type: embedded}}\nmin_workers: {WORKERS}\n"
SLEEP = f"{RAY}head_start_ray_commands: [sleep 2]\nworker_start_ray_commands: [sleep 2]\n"


@dataclass(frozen=True)
class Lab:
    """One cluster file in one home."""

    file: Path

    def rayctl(self, *arguments: str) -> list[str]:
        """The command line of a rayctl command on the file."""
        name, *rest = arguments
        return [beside_python("rayctl"), name, str(self.file), *rest]

    def session(self, name: str) -> Session:
        """The cluster of this name as its provider lists it now."""
        return Session.open("bench", self.file, {"cluster_name": name}, Bus("bench", name, ()))

    def up(self) -> None:
        """Bring the file's cluster up. Raises `RunFailed`."""
        command("up", self.rayctl("up", "-y")).run()

    def down(self, name: str = "bench") -> None:
        """End a cluster, and all that runs on its nodes. Raises `RunFailed`."""
        command("down", self.rayctl("down", "-y", "-n", name)).run()


@contextmanager
def lab(cluster: str) -> Iterator[Lab]:
    """A home with this text as its cluster file."""
    folder = Path(tempfile.mkdtemp(prefix="rayctl-bench-"))
    before = os.environ.get("RAYCTL_HOME")
    os.environ["RAYCTL_HOME"] = str(folder / "home")
    made = Lab(folder / "bench.yaml")
    made.file.write_text(cluster)
    try:
        yield made
    finally:
        for left in (folder / "home" / "embedded").glob("[!.]*"):
            made.down(left.name)
        os.environ.pop("RAYCTL_HOME")
        os.environ.update({"RAYCTL_HOME": before} if before else {})
        shutil.rmtree(folder)


def wait_until_listed(lab: Lab, name: str, check: Callable[[], None]) -> Session:
    """The cluster once its provider lists all nodes and its token is there, so that its head can be asked.

    `check` is called between the looks, to raise when that will not be.
    """
    while True:
        session = lab.session(name)
        if len(session.deployment.nodes) == NODES and ray_token(session):
            return session
        check()
        time.sleep(LOOK_S)


def wait_until_alive(session: Session, check: Callable[[], None]) -> None:
    """The outside reader: return when the head's GCS, asked from here, says that all nodes are alive."""

    def pause(_: float) -> None:
        check()
        time.sleep(LOOK_S)

    wanted = {node.id for node in session.deployment.nodes}
    alive = wait_for_nodes(gcs_address(session), wanted, deadline_s=PATIENCE_S, token=ray_token(session), sleep=pause)
    if len(alive) != NODES:
        raise TimeoutError(f"only {len(alive)} of {NODES} nodes were alive after {PATIENCE_S:g} s")
