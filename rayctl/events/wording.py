# SPDX-License-Identifier: Apache-2.0
"""Events in words: for each event the lines that a person reads, without time and node."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rayctl.events import Event, EventKind

WIDTH = 72
NAMED = 8  # so many nodes are named, of more the first ones


def lines(event: Event) -> tuple[str, ...]:
    """What to print for the event; nothing for what only a machine or a more talkative run wants to know."""
    wording = _WORDING.get(event.kind)
    return tuple(wording(event)) if wording else ()


def details(event: Event) -> tuple[str, ...]:
    """What to print in addition in a more talkative run: the steps' output, kinds of a newer rayctl, signs of life."""
    if event.kind == EventKind.STEP_OUTPUT:
        return tuple(f"| {line}" for line in _text(event, "text").splitlines())
    if event.kind == EventKind.STEP_ENDED and event.data.get("status", "ok") == "ok":
        return (f"{step_name(event)} done{_after(event)}",)
    if event.kind == EventKind.HEARTBEAT:
        return (f"still at work{_after(event)}{_because(event)}",)
    if event.kind not in EventKind.__members__.values():
        return (f"{event.kind}{_because(event)}",)
    return ()


def step_name(event: Event) -> str:
    """`step 3/15` where its place is known, else the step's own name."""
    if event.data.get("name"):
        return str(event.data["name"])
    index, total = event.data.get("index"), event.data.get("total")
    if index is None:
        return f"step {event.step}" if event.step else "step"
    return f"step {index}/{total}" if total else f"step {index}"


def shorten(text: str, width: int = WIDTH) -> str:
    """A command in one line of at most `width` characters, ` …` standing for what is left out."""
    stripped = text.strip()
    first = stripped.splitlines()[0].rstrip() if stripped else ""
    if first == stripped and len(first) <= width:
        return first
    return f"{first[: width - 2].rstrip()} …"


def elapsed(seconds: float) -> str:
    """A duration as people say it: `0.4 s`, `12 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 1:
        return f"{max(seconds, 0.0):.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def named(nodes: Sequence[str]) -> str:
    """Names of nodes in a row, of many the first ones."""
    more = len(nodes) - NAMED
    return ", ".join(nodes[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _operation_started(event: Event) -> list[str]:
    return [_text(event, "text") or event.op]


def _operation_ended(event: Event) -> list[str]:
    status = event.data.get("status", "ok")
    word = {"ok": "done", "failed": "FAILED", "interrupted": "interrupted"}.get(status, status)
    return [f"{event.op} {word}{_after(event)}"]  # why is told at length by whoever ran it


def _node_launched(event: Event) -> list[str]:
    about = ", ".join(filter(None, (_text(event, "type"), _text(event, "id"))))
    return [f"launched ({about})" if about else "launched"]


def _node_terminated(event: Event) -> list[str]:
    return [f"terminated{_because(event)}"]


def _node_started(event: Event) -> list[str]:
    steps, total = event.data.get("steps"), event.data.get("total")
    if steps is None:
        return ["at work"]
    if not steps:
        return []  # what comes next says more
    return [f"{steps} of {total} steps to run" if total else f"{steps} steps to run"]


def _step_started(event: Event) -> list[str]:
    return [f"{step_name(event)} {shorten(_text(event, 'text'))}".rstrip()]


def _step_ended(event: Event) -> list[str]:
    status = event.data.get("status", "ok")
    if status == "ok":
        return []
    code = event.data.get("exit_code")
    word = {"failed": "FAILED", "timeout": "TIMED OUT"}.get(status, status)
    ended = f" with exit code {code}" if status == "failed" and code is not None else ""
    # its last lines and its log are part of the one block per node that ends the operation
    return [f"{step_name(event)} {word}{ended}{_after(event)}"]


def _head_answered(event: Event) -> list[str]:
    address = _text(event, "address")
    return [f"head answers at {address}{_after(event)}" if address else f"head answers{_after(event)}"]


def _node_ended(event: Event) -> list[str]:
    status = event.data.get("status", "ok")
    word = {"ok": "ready", "failed": "FAILED", "unreachable": "UNREACHABLE"}.get(status, status)
    return [f"{word}{_after(event)}{_because(event)}"]


def _node_joined(event: Event) -> list[str]:
    return [f"joined the cluster{_after(event)}"]


def _first_contact(event: Event) -> list[str]:
    return [f"note: first contact: its host key {_text(event, 'key')} is believed unverified"]


def _message(prefix: str) -> Callable[[Event], list[str]]:
    def wording(event: Event) -> list[str]:
        text, hint = _text(event, "text"), _text(event, "hint")
        return [*(f"{prefix}{text}".splitlines() if text else []), *([f"hint: {hint}"] if hint else [])]

    return wording


def _text(event: Event, key: str) -> str:
    value: Any = event.data.get(key)
    return "" if value is None else str(value)


def _after(event: Event) -> str:
    seconds = event.data.get("seconds")
    return f" after {elapsed(float(seconds))}" if isinstance(seconds, int | float) else ""


def _because(event: Event) -> str:
    text = _text(event, "text")
    return f": {text}" if text else ""


_WORDING: dict[str, Callable[[Event], list[str]]] = {
    EventKind.OPERATION_STARTED: _operation_started,
    EventKind.OPERATION_ENDED: _operation_ended,
    EventKind.NODE_LAUNCHED: _node_launched,
    EventKind.NODE_TERMINATED: _node_terminated,
    EventKind.NODE_STARTED: _node_started,
    EventKind.STEP_STARTED: _step_started,
    EventKind.STEP_ENDED: _step_ended,
    EventKind.HEAD_ANSWERED: _head_answered,
    EventKind.NODE_ENDED: _node_ended,
    EventKind.NODE_JOINED: _node_joined,
    EventKind.FIRST_CONTACT: _first_contact,
    EventKind.NOTICE: _message("note: "),
    EventKind.WARNING: _message("warning: "),
    EventKind.ERROR: _message("ERROR: "),
}
