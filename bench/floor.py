# SPDX-License-Identifier: Apache-2.0
"""The floor: the same start commands in the same login shells with the same environment, and nothing around them.

Its nodes are records of a second embedded cluster, so they have addresses, ports and folders of their own. They are ended
the way rayctl ends nodes. What a floor leaves out is what it is there to weigh: a check of versions and ports, state,
locks, logs, events, Ansible. Its start-up costs nothing, since it runs in the benchmark's own process.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.lab import Lab, wait_until_alive
from bench.pairs import RunFailed, Sample
from rayctl import plan
from rayctl.node import processes
from rayctl.node.ray import answers
from rayctl.node.steps import login_shell, tail
from rayctl.operations import machines
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision.nodeplan import Options, plan_of
from rayctl.transport.local import caller_environment

NAME = "floor"
PORT_LOOK_S = 0.02


@dataclass(frozen=True)
class _Start:
    """How one node is started. `address` and `port` are where its GCS will answer, if it is a head with one."""

    script: Path
    env: Mapping[str, str]
    address: str
    port: int
    runs_ray: bool


class _Shell:
    """A login shell at work, as the node runner makes them."""

    def __init__(self, start: _Start, env: Mapping[str, str]) -> None:
        self.log = start.script.with_suffix(".log")
        shell = login_shell(str(start.script), f"{start.script}.begun")
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                shell, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                env={**start.env, **env}, start_new_session=True,
            )  # fmt: skip

    def check(self) -> None:
        """Raise `RunFailed` if it has ended, and not well."""
        if self.process.poll():
            raise RunFailed("\n".join(["a start command of the floor failed:", *tail(str(self.log))]))

    def wait(self) -> None:
        """Wait for its end. Raises `RunFailed`."""
        self.process.wait()
        self.check()


def run(lab: Lab) -> Sample:
    """Bring the nodes up by the floor's way, and end them again.

    Where Ray starts, the workers start when the head's port answers, and the clock stops when the outside reader sees all
    nodes alive. Elsewhere they start when the head's commands have ended, and it stops when theirs have.
    """
    with _claimed(lab) as session:
        head, *workers = _starts(session, lab.file.parent)
        load, began = os.getloadavg()[0], time.monotonic()
        shells = [_Shell(head, {})]
        _wait_for_head(head, shells[0])
        known = {"RAY_HEAD_IP": head.address, "RAY_HEAD_ADDRESS": f"{head.address}:{head.port}"}
        shells += [_Shell(worker, known) for worker in workers]
        if head.runs_ray:
            wait_until_alive(session, lambda: _check(shells))
            seconds = time.monotonic() - began
        for shell in shells:
            shell.wait()
        if not head.runs_ray:
            seconds = time.monotonic() - began
        return Sample(seconds, 0.0, 0.0, load)


def _check(shells: Iterable[_Shell]) -> None:
    for shell in shells:
        shell.check()


@contextmanager
def _claimed(lab: Lab) -> Iterator[Session]:
    """The floor's nodes: launched, so that they have records, and nothing more."""
    session = lab.session(NAME)
    try:
        _, failures = machines.apply(session, plan.machines(session.deployment.config, session.deployment.nodes))
        if failures:
            raise RunFailed(f"the floor has no nodes: {failures[0].reason}")
        yield session
    finally:
        lab.down(NAME)


def _starts(session: Session, folder: Path) -> list[_Start]:
    """How the nodes are started, the head first."""
    head = session.deployment.head
    assert head is not None
    return [_start(session, node, folder) for node in (head, *session.deployment.workers)]


def _start(session: Session, node: Node, folder: Path) -> _Start:
    planned = plan_of(session.deployment, node, {}, Options())
    ray = planned["ray"]
    script = folder / f"{node.name}.sh"
    script.write_text("".join(f"{command['command']}\n" for command in ray["commands"]))
    env = {
        **caller_environment(), **planned["env"], **ray["env"],
        "RAYCTL_PATH": planned["path_prefix"], processes.RAY: session.mark(node),
    }  # fmt: skip
    return _Start(script, env, ray["address"], ray["port"], bool(ray["processes"]))


def _wait_for_head(head: _Start, shell: _Shell) -> None:
    if not head.runs_ray:
        shell.wait()
        return
    while not answers(head.address, head.port):
        shell.check()
        time.sleep(PORT_LOOK_S)
