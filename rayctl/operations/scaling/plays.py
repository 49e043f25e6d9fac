# SPDX-License-Identifier: Apache-2.0
"""Playbook runs beside the turns, a thread each. A node's end is told as soon as the node tells it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from rayctl.errors import NodeFailure, RayctlError
from rayctl.operations import play
from rayctl.operations.session import Session
from rayctl.provision.ansible_process import AnsibleProcess
from rayctl.provision.driver import Driver, Outcome, Playbook
from rayctl.provision.nodeplan import PHASES
from rayctl.reconcile.seam import Played

EXPECTED_S = 120.0  # so long an Ansible waits for a run that was to be expected


class Plays:
    """Begins runs and keeps what came of them. `keep_log` is told of a node that failed; it returns where its output lies.

    Ansible takes most of a second to load itself. So it is let do that as soon as a run is to be expected.
    """

    def __init__(self, session: Session, keep_log: Callable[[NodeFailure], str]) -> None:
        self._session, self._keep_log = session, keep_log
        self._ended: queue.SimpleQueue[Played] = queue.SimpleQueue()
        self._ahead: AnsibleProcess | None = None  # it loads itself, or waits
        self._ahead_since = 0.0
        self._lock = threading.Lock()

    def expect(self) -> None:
        """A run will be begun soon: have an Ansible ready for it."""
        with self._lock:
            if self._ahead is None:
                self._ahead, self._ahead_since = AnsibleProcess(), time.monotonic()

    def close(self) -> None:
        """Nothing is begun any more."""
        if (ahead := self._taken()) is not None:
            ahead.close()

    def _taken(self) -> AnsibleProcess | None:
        with self._lock:
            ahead, self._ahead = self._ahead, None
            return ahead

    def begin(self, names: Sequence[str], restart: str, timeout_s: float) -> None:
        """Bring these nodes to their wanted state; returns at once."""
        text = f"rayctl-play-{names[0]}"
        threading.Thread(target=self._run, args=(tuple(names), restart, timeout_s), name=text, daemon=True).start()

    def ended(self) -> list[Played]:
        """What came of nodes since this was last asked."""
        if self._ahead is not None and time.monotonic() - self._ahead_since > EXPECTED_S:
            threading.Thread(target=self.close, name="rayctl-play-none", daemon=True).start()
        found = []
        while not self._ended.empty():
            found.append(self._ended.get())
        return found

    def _run(self, names: tuple[str, ...], restart: str, timeout_s: float) -> None:
        told: set[str] = set()

        def tell(failure: NodeFailure) -> None:
            told.add(failure.node)
            log = self._keep_log(failure) if failure.reason else ""
            self._ended.put(Played(failure.node, _in_words(failure), failure.unreachable, log))

        try:
            outcome = self._played(names, restart, timeout_s, tell)
            failures = {failure.node: failure for failure in play.failures(outcome, names)}
        except Exception as problem:  # whatever kept Ansible from playing, nothing came of these nodes
            reason = problem.message if isinstance(problem, RayctlError) else f"{type(problem).__name__}: {problem}"
            failures = {name: NodeFailure(name, reason) for name in names}
        for name in names:
            if name not in told:
                tell(failures.get(name, NodeFailure(name, "")))

    def _played(
        self, names: tuple[str, ...], restart: str, timeout_s: float, tell: Callable[[NodeFailure], None]
    ) -> Outcome:  # fmt: skip
        session = self._session
        narrator = play.Narrator(session.bus, {})

        def hear(message: dict[str, Any]) -> None:
            narrator.tell(message)
            if message["event"] == "done":
                done = Outcome("successful", nodes={message["host"]: message})
                tell(next(iter(play.failures(done, [message["host"]])), NodeFailure(message["host"], "")))

        playbook = Playbook(
            "up", session.loaded.path.resolve(), session.overrides, names, {"ray_node_restart": restart}, tags=PHASES
        )  # fmt: skip
        driver = Driver(playbook, on_message=hear, timeout_s=timeout_s)
        with closing(self._taken() or AnsibleProcess()) as ansible:
            return driver.run(ansible)


def _in_words(failure: NodeFailure) -> str:
    """The failure in one line."""
    if not failure.step:
        return failure.reason
    last = f": {failure.tail[-1]}" if failure.tail else ""
    return f"{failure.step}: {failure.reason}{last}"
