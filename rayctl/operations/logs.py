# SPDX-License-Identifier: Apache-2.0
"""`logs`: what a run told, from here, and what a step printed, from its node."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rayctl.errors import RayctlError, UsageError
from rayctl.events import Event, EventKind
from rayctl.operations import exec as running
from rayctl.operations import history
from rayctl.operations.session import Session

SHOWN = 20  # lines of a step's output
# bash complains of its terminal at the beginning of each log
WITHOUT_NOISE = "1,2{/cannot set terminal process group/d;/no job control in this shell/d}"


def of_last_run(session: Session, operation: str | None, node: str) -> list[Event]:
    """The events of the last run, or of a node alone in the last run that had to do with it. Raises RayctlError for none."""
    logs = history.run_logs(session.root, session.name, operation)
    if not logs:
        what = f"of {operation}" if operation else "of a run"
        raise RayctlError(f"this machine has kept no log {what} of {session.name}")
    names: set[str] = set()
    for log in reversed(logs):
        found = list(history.events(log))
        names.update(event.node for event in found)
        if not node or node in names:
            return [event for event in found if not node or event.node == node]
    known = ", ".join(sorted(names - {""})) or "no node"
    raise UsageError(f"no run that is remembered here had to do with {node} (but with {known})")


def shortened(events: Iterable[Event]) -> Iterator[Event]:
    """The same with the last lines alone of what each step printed, and a line that counts the others."""
    printed: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        place = event.node, event.step
        if event.kind == EventKind.STEP_OUTPUT:
            printed.setdefault(place, []).append(event)
        else:
            if event.kind == EventKind.STEP_ENDED:
                yield from _last(printed.pop(place, []))
            yield event
    for lines in printed.values():
        yield from _last(lines)


def _last(lines: list[Event]) -> Iterator[Event]:
    left_out = max(0, len(lines) - SHOWN)
    if left_out:
        yield replace(lines[left_out], data={"text": f"... {left_out} lines before these: -v shows them"})
    yield from lines[left_out:]


def step_output(session: Session, node: str, step: str) -> int:
    """Print all that a step has printed when it ran last, as the node has kept it; the exit code of `sed` there."""
    if not node:
        raise UsageError("--step needs a node: rayctl logs CLUSTER NODE --step N")
    path = _log_of(session, node, step)
    return running.on(session, node, f"sed {shlex.quote(WITHOUT_NOISE)} {shlex.quote(path)}")


def _log_of(session: Session, node: str, step: str) -> str:
    """Where it is on the node: the last run that told of its end knows. A bare number counts all steps, as `up` shows them."""
    for log in reversed(history.run_logs(session.root, session.name)):
        for event in reversed(list(history.events(log))):
            if event.kind == EventKind.STEP_ENDED and event.node == node and event.data.get("log"):
                counted = str(event.data.get("index")) if not event.data.get("name") else ""
                if step in (event.step, counted):
                    return str(event.data["log"])
    raise RayctlError(f"no run that is remembered here ran step {step} on {node}", hint=session.command("logs", node))
