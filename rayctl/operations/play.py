# SPDX-License-Identifier: Apache-2.0
"""Running a playbook over nodes and telling what happens: the driver's messages become events, its outcome failures."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from rayctl.errors import Interrupted, NodeFailure, Unreachable
from rayctl.events import Bus, EventKind
from rayctl.operations import tokens
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision.driver import Driver, Outcome, Playbook

Steps = tuple[int, int]
"""How many set-up steps are to run on a node, of how many."""
STATUS = {"ok": "ok", "failed": "failed", "timeout": "timeout", "stopped": "cancelled"}
TICK_S = 0.5
AT_ONCE = 32  # cancels sent side by side


class Narrator:
    """Turns a node's messages into events. `steps` tells of each node how much there is to do; a `check` does nothing."""

    def __init__(self, bus: Bus, steps: Mapping[str, Steps], *, check: bool = False) -> None:
        self.bus, self.steps, self.check = bus, steps, check
        self._started: set[str] = set()
        self._began = time.monotonic()
        self._ticked = 0.0

    def tell(self, message: dict[str, Any]) -> None:
        """One message of a node."""
        node, event = message["host"], message["event"]
        if event == "step":
            self._step(node, message)
        elif event == "out":
            for line in message["text"].splitlines():
                self.bus.emit(EventKind.STEP_OUTPUT, node, self._name(message), text=line)
        elif event == "hello":
            self._hello(node, message["adopted"])
        elif event == "head":
            address = f"{message['address']}:{message['port']}"
            self.bus.emit(EventKind.HEAD_ANSWERED, node, address=address, seconds=self._seconds())
        elif event == "done":
            self._done(node, message)

    def tick(self) -> None:
        """Let the sinks show how time passes, about twice a second."""
        if time.monotonic() - self._ticked > TICK_S:
            self._ticked = time.monotonic()
            self.bus.tick()

    def _seconds(self) -> float:
        return round(time.monotonic() - self._began, 1)

    def _name(self, message: Mapping[str, Any]) -> str:
        return f"{message['phase']}-{message['index'] + 1}"

    def _hello(self, node: str, adopted: bool) -> None:
        if adopted:
            self.bus.emit(EventKind.NOTICE, node, text="an earlier run is still at work here; following it")
        elif node not in self._started:  # a fresh login after initialization says hello again
            steps, total = self.steps.get(node, (0, 0))
            self.bus.emit(EventKind.NODE_STARTED, node, steps=steps, total=total)
        self._started.add(node)

    def _step(self, node: str, message: Mapping[str, Any]) -> None:
        place: dict[str, Any] = {"index": message["index"] + 1, "total": self.steps.get(node, (0, None))[1]}
        if message["phase"] not in ("initialization", "setup"):
            place = {"name": "starting Ray:" if message["phase"] == "start" else "before the restart:"}
        if message["state"] == "run":
            self.bus.emit(EventKind.STEP_STARTED, node, self._name(message), text=message["name"], **place)
            return
        self.bus.emit(
            EventKind.STEP_ENDED, node, self._name(message), text=message["name"], status=STATUS[message["state"]],
            seconds=message["seconds"], exit_code=message["rc"], log=message["log"],
            tail=message["tail"] if message["state"] != "ok" else [], **place,
        )  # fmt: skip

    def _done(self, node: str, message: Mapping[str, Any]) -> None:
        if self.check and not message["failed"]:
            return  # the plan says what would become of it
        status = "failed" if message["failed"] else "ok" if message["changed"] else "unchanged"
        self.bus.emit(EventKind.NODE_ENDED, node, status=status, seconds=self._seconds(), text=message["message"])


@contextmanager
def on_interrupt(act: Callable[[], None]) -> Iterator[threading.Event]:
    """While it lasts, Ctrl-C and SIGTERM call `act` once and set the event; elsewhere than in the main thread it is inert."""
    seen = threading.Event()

    def handle(*_: object) -> None:
        if not seen.is_set():
            seen.set()
            act()

    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    session: Session, playbook: Playbook, steps: Mapping[str, Steps], timeout_s: float | None = None,
    narrator: Narrator | None = None,
) -> Outcome:  # fmt: skip
    """Run a playbook to its end. Raises `Interrupted` after Ctrl-C, once nothing of ours runs on the nodes any more."""
    if not playbook.check:
        session.take_lease()
        tokens.ensure(session)
    session.check_lease()
    narrator = narrator or Narrator(session.bus, steps, check=playbook.check)
    driver = Driver(playbook, on_message=narrator.tell, on_tick=narrator.tick, timeout_s=timeout_s)

    def interrupt() -> None:
        session.bus.emit(EventKind.NOTICE, text="stopping; what is done stays done")
        driver.cancel()

    with on_interrupt(interrupt) as interrupted:
        outcome = driver.run(session.ansible())
        left = _cancel_on_nodes(session, playbook.limit) if outcome.status in ("canceled", "timeout") else []
    session.deployment.forget()  # what the nodes told before is old, such as where the head's GCS listens
    if interrupted.is_set():
        rest = f"only {', '.join(left)} did not answer" if left else "nothing of rayctl runs on the nodes any more"
        raise Interrupted(f"interrupted; {rest}, and what was done stays done")
    return outcome


def _cancel_on_nodes(session: Session, names: Sequence[str]) -> list[str]:
    """Ansible passes a cancel on by itself; this is for nodes whose line was cut before it could. Those that did not answer."""
    nodes = [node for node in session.deployment.nodes if node.name in names]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reached = pool.map(lambda node: _cancelled(session, node), nodes)
        return [node.name for node, there in zip(nodes, reached, strict=True) if not there]


def _cancelled(session: Session, node: Node) -> bool:
    try:
        session.transport(node).cancel()
    except Unreachable:
        return False
    return True


def failures(outcome: Outcome, names: Sequence[str]) -> list[NodeFailure]:
    """What went wrong, per node of the run."""
    found = []
    for name in names:
        done = outcome.nodes.get(name)
        if name in outcome.unreachable:
            found.append(NodeFailure(name, outcome.unreachable[name], unreachable=True))
        elif done is not None and done["failed"]:
            found.append(_failure(name, done))
        elif done is None:
            found.append(NodeFailure(name, outcome.failures.get(name) or _no_answer(outcome)))
    return found


def _no_answer(outcome: Outcome) -> str:
    if outcome.status == "timeout":
        return "the time limit was reached before it was done"
    last = [line for line in outcome.output.splitlines() if line.strip()][-4:]
    return "Ansible ended before it got to this node" + (f": {' '.join(last)}" if last else "")


def _failure(name: str, done: Mapping[str, Any]) -> NodeFailure:
    step = done.get("step")
    if not step:
        return NodeFailure(name, done["message"])
    counted = step["phase"] in ("initialization", "setup")
    phase = f"{step['phase']} step {step['index'] + 1}" if counted else step["phase"]
    return NodeFailure(name, done["message"], f"{phase}: {step['name']}", step["rc"], tuple(step["tail"]), step["log"])
