# SPDX-License-Identifier: Apache-2.0
"""The controller's side of a node's run: opens the line, answers what the node asks, passes on what it tells.

The node asks for a mount when its digest differs, and a worker asks for the head before it joins. Hosts of one run are
handled in processes of their own, so the word that the head is up goes through a file in the run's own folder (`HeadGate`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from rayctl.errors import RayctlError, UsageError
from rayctl.node.wire import Message
from rayctl.providers.base import Kind
from rayctl.provision import mounts, nodeplan, sending
from rayctl.provision.deployment import Deployment
from rayctl.provision.digests import once_per_run
from rayctl.provision.mounts import Mount
from rayctl.provision.progress import Report
from rayctl.provision.sending import Remote
from rayctl.transport import failures
from rayctl.transport.channel import Channel
from rayctl.transport.failures import SSH_FAILED
from rayctl.transport.shipping import NO_PYTHON, opening

GATE_PATIENCE_S = 3600.0
CANCEL_PATIENCE_S = 10.0
NO_SECRETS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Line:
    """The process that is a line to a node, and its environment.

    `remote` is how any shell command gets there, as words that it is appended to; empty for nodes on this machine.
    """

    argv: tuple[str, ...]
    env: dict[str, str]
    remote: tuple[str, ...] = ()


class Dial(Protocol):
    """Makes lines to one node. A fresh login is one that knows of groups which were given just now."""

    def __call__(self, python: Sequence[str], *, fresh_login: bool = False) -> Line:
        """A line whose end runs in the first of these interpreters that will do."""


class Conversation:
    """One node's run. `heads` are the heads that take part in the same play; `run_folder` belongs to the run alone."""

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        options: nodeplan.Options,
        dial: Dial,
        *,
        heads: set[str],
        run_folder: Path,
        report: Report,
        secrets: Mapping[str, str] = NO_SECRETS,
    ) -> None:
        node = deployment.node(name)
        if node is None:
            raise UsageError(f"{name} is no node of the cluster {deployment.config.cluster_name}")
        self.deployment, self.node, self.report = deployment, node, report
        self.check = options.check
        self._secrets = {} if options.check else {**nodeplan.secrets_for(deployment), **secrets}
        self.plan = nodeplan.plan_of(deployment, node, once_per_run(deployment.mounts, run_folder), options)
        self.gate = HeadGate(deployment, run_folder, expected=bool(heads))
        self._dial, self._fresh_login = dial, False
        self._channel: Channel | None = None
        self._listing: list[str] = []
        self._cancelled = ""

    def run(self) -> dict[str, Any]:
        """The node's outcome (`rayctl/node/run.py`), with `listing`, the files that a mount would change in check mode."""
        outcome: dict[str, Any] = {"failed": True, "cancelled": False, "message": "its run was broken off"}
        try:
            outcome = self._until_done()
        finally:
            if self.node.kind is Kind.HEAD:
                self.gate.close(outcome, self.check)
        self.report(outcome)
        return {**outcome, "listing": self._listing}

    def _until_done(self) -> dict[str, Any]:
        while True:
            with self._open() as channel:
                for message in channel:
                    if message["event"] == "done":
                        return message
                    if message["event"] == "relogin":
                        self._fresh_login = True
                        break
                    self._take(channel, message)
                else:
                    raise self._broken(channel)

    @contextmanager
    def _open(self) -> Iterator[Channel]:
        self._line = self._dial(self.deployment.provider.connection(self.node).python, fresh_login=self._fresh_login)
        request = nodeplan.request_for(self.plan, self._secrets)
        channel = Channel(self._line.argv, self._line.env, opening(request))
        self._channel = channel
        if self._cancelled:
            self.cancel(self._cancelled)
        watch = threading.Thread(target=_end_with_parent, args=(channel, os.getppid()), daemon=True)
        watch.start()
        try:
            yield channel
        finally:
            channel.close()

    def cancel(self, reason: str) -> None:
        """Ask the node to end its run; it answers with its outcome. Fit for a signal handler."""
        self._cancelled = reason
        if self._channel is not None:
            self._channel.send({"cancel": reason})
            # a node that does not answer must not keep the person waiting
            killer = threading.Timer(CANCEL_PATIENCE_S, self._channel.kill)
            killer.daemon = True
            killer.start()

    def _take(self, channel: Channel, message: Message) -> None:
        self.report(message)
        if message["event"] == "head":
            self.gate.open({**message, "ok": True})
        elif message["event"] == "need":
            channel.send({"answer": message["id"], **self._answer(message)})

    def _answer(self, need: Message) -> Message:
        if need["what"] == "head":
            return self.gate.wait(lambda: bool(self._cancelled))
        mount = next(m for m in self.deployment.mounts if m.target == need["target"])
        try:
            if need.get("check"):
                self._listing += self._changes(mount)
            else:
                self._copy(mount)
        except RayctlError as e:
            return {"ok": False, "message": e.message}
        return {"ok": True}

    def _changes(self, mount: Mount) -> list[str]:
        if self._line.remote:
            return sending.changes(mount, Remote(self._line.remote, self._line.env))
        return mounts.changes(mount, Path(mount.target).expanduser())

    def _copy(self, mount: Mount) -> None:
        if self._line.remote:
            sending.send(mount, Remote(self._line.remote, self._line.env))
        else:
            mounts.copy(mount, Path(mount.target).expanduser())

    def _broken(self, channel: Channel) -> RayctlError:
        status = channel.close()
        if status == NO_PYTHON:
            tried = ", ".join(self.deployment.provider.connection(self.node).python)
            return RayctlError(
                f"no Python 3.8 or newer was found on {self.node.name} (tried {tried})",
                hint="Install python3 there, or name an interpreter in the cluster file.",
            )
        if status == SSH_FAILED:
            return failures.unreachable(self.deployment.provider.connection(self.node), channel.stderr)
        if self._cancelled:
            return RayctlError(f"cancelled: {self._cancelled}; the node did not answer in time")
        last = channel.stderr.splitlines()[-5:]
        return RayctlError(f"the line to {self.node.name} ended early, exit status {status}: {' | '.join(last) or 'no output'}")


def _end_with_parent(channel: Channel, parent: int) -> None:
    """Ansible's workers live in sessions of their own: when the main process is killed, nobody would end us and the line."""
    while channel.process.poll() is None:
        if os.getppid() != parent:
            channel.kill()
            os._exit(1)
        time.sleep(0.5)


class HeadGate:
    """Lets workers join only after the head of the same run answers, or tells them how to find one that already does.

    The head must be among the first hosts of the play, or with few forks it would wait behind those who wait for it.
    """

    def __init__(self, deployment: Deployment, run_folder: Path, *, expected: bool) -> None:
        self.deployment, self.expected = deployment, expected
        self.file = run_folder / "rayctl-head.json"

    def open(self, word: Message) -> None:
        """Say what is known about the head; the first word counts."""
        if self.file.exists():
            return
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(word))
        new.rename(self.file)

    def close(self, outcome: Message, check: bool) -> None:
        """The head's run is over: whoever still waits is told how."""
        if check:
            known = {"incarnation": outcome.get("incarnation"), "restarts": bool(outcome.get("ray"))}
            return self.open({"ok": not outcome["failed"], **known})
        return self.open({"ok": False, "message": f"not joined, because the head is not up: {outcome['message']}"})

    def wait(self, cancelled: Callable[[], bool], patience_s: float = GATE_PATIENCE_S) -> Message:
        """What workers are answered: {ok, address, port, incarnation, versions}, or {ok: false, message}."""
        if not self.expected:
            return self._absent_head()
        end = time.monotonic() + patience_s
        while time.monotonic() < end and not cancelled():
            if self.file.exists():
                word: Message = json.loads(self.file.read_text())
                return word
            time.sleep(0.02)
        return {"ok": False, "message": f"not joined, because the head gave no sign for {patience_s:g} s"}

    def _absent_head(self) -> Message:
        """The head takes no part in this run (`--limit`): ask it."""
        head = self.deployment.head
        if head is None:
            return {"ok": False, "message": "not joined, because there is no head; run it without --limit"}
        seen = self.deployment.transport(head).probe(f"{self.deployment.cluster_id}/{head.name}")
        if seen["broken"]:
            why = f"not joined, because the head's Ray does not work ({seen['broken']}); run it without --limit"
            return {"ok": False, "message": why}
        address = head.addresses.internal if head.addresses else ""
        return {
            "ok": True, "address": address, "port": seen["ray"]["port"],
            "incarnation": seen["ray"]["head"], "versions": seen["ray"]["versions"],
        }  # fmt: skip
