# SPDX-License-Identifier: Apache-2.0
"""One node on this machine, and the controller's end of a line to it: what the tests of the node runner share."""

from __future__ import annotations

import os
import random
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pythons

from rayctl.config.digest import chain, digest
from rayctl.node import control, processes, state
from rayctl.node.wire import PROTOCOL
from rayctl.transport.channel import Channel
from rayctl.transport.local import argv
from rayctl.transport.shipping import opening

PYTHONS = [
    sys.executable,
    *pythons.pyenv(range(8, 15)),
    *(path for minor in range(8, 15) for path in [shutil.which(f"python3.{minor}")] if path and "shims" not in path),
]
TEST = "X_TEST"  # marks everything that a test starts, so that nothing outlives it
Message = dict[str, Any]


def eventually(condition: Callable[[], Any], within_s: float = 15) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + within_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@dataclass
class Step:
    """A command of a plan."""

    command: str
    phase: str = "setup"
    timeout_s: float | None = None
    env: dict[str, str] = field(default_factory=dict)


class Line:
    """The controller's end: what the node said so far is in `heard`."""

    def __init__(self, channel: Channel, answers: Mapping[str, Any]) -> None:
        self.channel, self.answers = channel, answers
        self.heard: list[Message] = []
        self._messages = iter(channel)

    def __iter__(self) -> Iterator[Message]:
        for message in self._messages:
            self.heard.append(message)
            if message["event"] == "need" and message["what"] in self.answers:
                self.channel.send({"answer": message["id"], **self.answers[message["what"]]})
            yield message

    def until(self, event: str, **fields: Any) -> Message:
        """Listen until the node says this."""
        for message in self:
            if message["event"] == event and all(message.get(key) == value for key, value in fields.items()):
                return message
        raise AssertionError(f"no {event} {fields}; heard {self.heard}, stderr: {self.channel.stderr}")

    def done(self) -> Message:
        """Listen to the end; the outcome."""
        outcome = self.until("done")
        self.close()
        return outcome

    def close(self) -> None:
        """The controller goes away; the node's end of the line is gone when this returns."""
        self.channel.close()

    def said(self, event: str) -> list[Message]:
        """All that was heard of this kind."""
        return [message for message in self.heard if message["event"] == event]

    @property
    def output(self) -> str:
        """What steps printed, as it was told while they ran."""
        return "".join(message["text"] for message in self.said("out"))


class Bench:
    """A node with a home, a state folder and a place where steps leave traces."""

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.python, self.name, self.mark = python, "demo-head", str(uuid.uuid4())
        self.cluster_id = str(uuid.uuid4())
        self.home, self.out, self.bin, self.state_dir = (folder / name for name in ("home", "out", "bin", "state"))
        for made in (self.home, self.out, self.bin):
            made.mkdir()
        # a sleep that is told from those of tests beside this one
        self.nap = f"86400.{random.randrange(10**9)}"
        self.env = {"HOME": str(self.home), "PATH": os.defpath, "O": str(self.out), "NAP": self.nap, TEST: self.mark}
        self._lines: list[Line] = []

    @property
    def folder(self) -> Path:
        """The node's own state folder."""
        return Path(state.folder_of(str(self.state_dir)))

    def plan(self, *steps: str | Step, mounts: Mapping[str, str] | None = None, **changes: Any) -> dict[str, Any]:
        """A plan of these steps."""
        wanted = [Step(step) if isinstance(step, str) else step for step in steps]
        mounts = mounts or {}
        digests = chain(digest(["mounts", sorted(mounts.items())]), [(step.command, step.env) for step in wanted])
        return {
            "cluster_id": self.cluster_id, "node": self.name, "state_dir": str(self.state_dir), "env": {},
            "path_prefix": str(self.bin), "phases": ["mounts", "setup", "start"], "check": False, "rerun_from": None,
            "mounts": [{"target": target, "digest": value} for target, value in mounts.items()],
            "steps": [
                {**vars(step), "name": f"step {number}", "digest": chained}
                for number, (step, chained) in enumerate(zip(wanted, digests, strict=True), 1)
            ],
            "ray": None, **changes,
        }  # fmt: skip

    def open(self, plan: dict[str, Any], answers: Mapping[str, Any] | None = None, **request: Any) -> Line:
        """Send a plan to the node."""
        asked = {"op": "run", "protocol": PROTOCOL, "plan": plan, "plan_digest": digest(plan), "orphan_s": 1.0}
        return self.request({**asked, **request}, answers)

    def request(self, request: dict[str, Any], answers: Mapping[str, Any] | None = None) -> Line:
        """Send any request."""
        line = Line(Channel(argv([self.python]), self.env, opening(request)), {"mounts": {"ok": True}, **(answers or {})})
        self._lines.append(line)
        return line

    def run(self, *steps: str | Step, **changes: Any) -> Message:
        """Run a plan of these steps to its end."""
        return self.open(self.plan(*steps, **changes)).done()

    def check(self, plan: dict[str, Any], answers: Mapping[str, Any] | None = None) -> Message:
        """What a run would do."""
        return self.request({"op": "check", "plan": {**plan, "check": True}}, answers).done()

    def traces(self, name: str = "ran") -> list[str]:
        """The words that steps appended to a file."""
        path = self.out / name
        return path.read_text().split() if path.exists() else []

    def runner(self) -> dict[str, Any] | None:
        """The runner that works on this node."""
        return control.living_runner(str(self.folder)) if self.folder.exists() else None

    def alone(self) -> None:
        """Wait until no runner works on this node."""
        eventually(lambda: self.runner() is None)

    def sleepers(self) -> list[processes.Process]:
        """The processes that `sleep $NAP` for this test, wherever they hide."""
        return [p for p in processes.snapshot() if self.nap.encode() in _read(f"/proc/{p.pid}/cmdline").split(b"\0")]

    def end(self) -> None:
        """End everything that this test started."""
        for line in self._lines:
            line.channel.kill()
            line.close()
        if self.folder.exists() and self.folder.stat().st_uid == os.geteuid():
            self.folder.chmod(0o700)
        processes.stop(self.mark, order=(), variables=(TEST,))
        processes.end(self.sleepers(), grace_s=0.5)  # what lost its environment


def _read(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError:
        return b""
