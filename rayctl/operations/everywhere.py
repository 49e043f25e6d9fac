# SPDX-License-Identifier: Apache-2.0
"""`exec` whose output is kept: on several nodes by one play, those that answer alike taken together, or on the head."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rayctl.errors import Interrupted, NodeFailure, RayctlError, Unreachable, UsageError
from rayctl.operations import exec as running
from rayctl.operations import machines, play
from rayctl.operations.exec import ray_environment
from rayctl.operations.options import RunOptions
from rayctl.operations.select import select
from rayctl.operations.session import Session
from rayctl.providers.base import Kind, Node
from rayctl.provision import errands
from rayctl.provision.driver import Driver, Outcome, Playbook
from rayctl.provision.errands import Errand
from rayctl.transport.base import MARK, into_files

AT_ONCE = 32  # nodes


@dataclass(frozen=True)
class Answer:
    """What nodes answered alike: an exit code, and files with what came on stdout and stderr."""

    nodes: tuple[str, ...]
    exit_code: int
    stdout: Path
    stderr: Path


@dataclass(frozen=True)
class Answers:
    """Of all nodes; `failures` are those that the command did not reach, or that did not answer."""

    answers: tuple[Answer, ...]
    failures: tuple[NodeFailure, ...]

    @property
    def exit_code(self) -> int:
        """0 where all nodes' were 0, else 1."""
        return 1 if self.failures or any(answer.exit_code for answer in self.answers) else 0


def chosen(session: Session, *, workers: bool, limit: str | None) -> tuple[list[Node], list[NodeFailure]]:
    """The nodes that a command is for, and those that do not answer: all, all workers, or those of a pattern.

    Raises `UsageError` where there are none.
    """
    machines.the_head(session)
    silent = {failure.node: failure for failure in machines.silent(session.provider)}
    declared = machines.declared(session.provider)
    alive = [node for node in session.deployment.nodes if node.state.alive]
    known = [*alive, *(node for node in declared if node.name in silent)]
    found = select([node for node in known if node.kind is Kind.WORKER or not workers], limit)
    if not found:
        raise UsageError(f"{session.name} has no workers just now")
    return [node for node in found if node.name not in silent], [silent[node.name] for node in found if node.name in silent]


def on_head(session: Session, command: str, options: RunOptions) -> Answers:
    """Run a command on the head alone, without input; its output is there until the session is closed."""
    try:
        return Answers((captured(session, command, options),), ())
    except Unreachable as e:
        name = session.deployment.head.name if session.deployment.head else "head"
        return Answers((), (NodeFailure(name, e.message, unreachable=True),))


def captured(session: Session, command: str, options: RunOptions) -> Answer:
    """The same, but who does not reach the head raises `Unreachable`."""
    head, folder = machines.the_head(session), session.folder()
    out, err = errands.files(folder, head.name)
    with into_files(out, err) as ends:
        code = running.run(session, command, replace(options, ends=ends))
    return Answer((head.name,), code, out, err)


def run(session: Session, command: str, *, workers: bool, limit: str | None) -> Answers:
    """Run a command on nodes at once (see `chosen`); its output is there until the session is closed. Raises `Interrupted`."""
    session.expect_play()
    nodes, silent = chosen(session, workers=workers, limit=limit)
    names, mark = tuple(node.name for node in nodes), uuid.uuid4().hex
    errand = Errand(command, {**ray_environment(session), MARK: mark})
    playbook = Playbook("exec", session.loaded.path.resolve(), dict(session.overrides), names, errand=errand)
    driver = Driver(playbook)
    ansible = session.ansible()
    with play.on_interrupt(driver.cancel) as interrupted:
        outcome = driver.run(ansible)
    if interrupted.is_set():
        raise Interrupted(_interrupted(session, nodes, mark))
    return Answers(tuple(_alike(outcome, names, ansible.folder)), (*_failures(session, outcome, names), *silent))


def _interrupted(session: Session, nodes: Sequence[Node], mark: str) -> str:
    """End the command on all nodes, wherever its processes were just then. What became of that, in words."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        ended = pool.map(lambda node: session.transport(node).interrupt(mark), nodes)
        left = [node.name for node, gone in zip(nodes, ended, strict=True) if not gone]
    return f"interrupted; it may still run on {', '.join(left)}" if left else "interrupted; it runs nowhere any more"


def _failures(session: Session, outcome: Outcome, names: Sequence[str]) -> list[NodeFailure]:
    if outcome.status == "failed" and not (outcome.nodes or outcome.unreachable or outcome.failures):
        raise RayctlError(f"the command did not reach the nodes of {session.name}: {outcome.output.strip()[-2000:]}")
    return play.failures(outcome, names)


def _alike(outcome: Outcome, names: Sequence[str], folder: Path) -> Iterator[Answer]:
    """Nodes in their order; those with the same exit code and output stand where the first of them does."""
    groups: dict[tuple[int, bytes, bytes], list[str]] = {}
    for name in names:
        if name in outcome.nodes:
            out, err = errands.files(folder, name)
            groups.setdefault((outcome.nodes[name]["rc"], _digest(out), _digest(err)), []).append(name)
    for (code, _, _), alike in groups.items():
        yield Answer(tuple(alike), code, *errands.files(folder, alike[0]))


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
