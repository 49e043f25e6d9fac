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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError, UsageError
from rayctl.node.wire import Message
from rayctl.providers.base import Kind
from rayctl.provision import delivery, nodeplan, synced
from rayctl.provision.deployment import Deployment
from rayctl.provision.digests import once_per_run
from rayctl.provision.progress import Report
from rayctl.transport import failures
from rayctl.transport.channel import Channel, leave_signals

GATE_PATIENCE_S = 3600.0
CANCEL_PATIENCE_S = 10.0


class Conversation:
    """One node's run. `heads` are the heads that take part in the same play; `run_folder` belongs to the run alone.

    `become_password` is what sudo is given where steps run as root and it asks for one.
    """

    def __init__(
        self,
        deployment: Deployment,
        name: str,
        options: nodeplan.Options,
        *,
        heads: set[str],
        run_folder: Path,
        report: Report,
        become_password: str = "",
    ) -> None:
        node = deployment.node(name)
        if node is None:
            raise UsageError(f"{name} is no node of the cluster {deployment.config.cluster_name}")
        self.deployment, self.node, self.report = deployment, node, report
        self.check, self._run_folder = options.check, run_folder
        self.plan = nodeplan.plan_of(deployment, node, once_per_run(deployment.mounts, run_folder), options)
        self._secrets = {} if options.check else nodeplan.secrets_for(deployment, node, self.plan, become_password)
        self.gate = HeadGate(deployment, run_folder, expected=bool(heads))
        self._transport = deployment.transport(node)
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
                        self._transport.leave_master()  # its logins do not know of groups that were given just now
                        break
                    self._take(channel, message)
                else:
                    raise self._broken(channel)

    @contextmanager
    def _open(self) -> Iterator[Channel]:
        channel = self._transport.open(nodeplan.request_for(self.plan, self._secrets))
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
        if need["what"] == "synced":
            return self._bring_from_head(need["known"])
        mount = next(m for m in self.deployment.mounts if m.target == need["target"])
        try:
            if need.get("check"):
                self._listing += delivery.changes(mount, self._transport)
            else:
                delivery.deliver(mount, self._transport)
        except RayctlError as e:
            return {"ok": False, "message": e.message}
        return {"ok": True}

    def _bring_from_head(self, known: str) -> Message:
        """Copy what the head has to this worker, unless it has just that already."""
        head = self.deployment.head
        assert head is not None  # it has answered
        paths, there = self.deployment.config.cluster_synced_files, delivery.shell_of(self.deployment.transport(head))
        try:
            stamp = synced.stamp(paths, there)
            if stamp != known:
                for mount in synced.relay(paths, there, self._run_folder):
                    delivery.deliver(mount, self._transport)
        except RayctlError as e:
            return {"ok": False, "message": e.message}
        return {"ok": True, "copied": stamp != known, "stamp": stamp}

    def _broken(self, channel: Channel) -> RayctlError:
        status = channel.close()
        if self._cancelled and status != failures.SSH_FAILED:
            return RayctlError(f"cancelled: {self._cancelled}; the node did not answer in time")
        return failures.ended(self._transport.connection, status, channel.stderr)


def _end_with_parent(channel: Channel, parent: int) -> None:
    """Ansible's workers live in sessions of their own: when the main process is killed, nobody would end us and the line."""
    leave_signals()
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
