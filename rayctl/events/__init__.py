# SPDX-License-Identifier: Apache-2.0
"""What happens during an operation: one schema, one bus, any number of sinks.

Whoever does something emits; the bus stamps the event, has it cleaned by the one redactor and hands it to every sink:
the screen, plain lines, JSON lines, the run's log (`rayctl.events.sinks`). As JSON an event is
`{"v": 1, "ts": ..., "op": ..., "cluster": ..., "node": ..., "step": ..., "kind": ..., "data": {...}}`.
"""

from __future__ import annotations

import errno
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rayctl.events.redact import Redactor

__all__ = ["Bus", "Event", "EventKind", "Redactor", "Sink"]

VERSION = 1
FULL = (errno.ENOSPC, errno.EDQUOT)


class EventKind(StrEnum):
    """What happened, and what its `data` tells. Every key may be missing; seconds are durations, statuses are words."""

    OPERATION_STARTED = "operation_started"  # text: the command as typed
    OPERATION_ENDED = "operation_ended"  # status (ok, failed, interrupted), seconds, exit_code, text
    NODE_LAUNCHED = "node_launched"  # type, id
    NODE_TERMINATED = "node_terminated"  # type, id, text: why
    NODE_STARTED = "node_started"  # work on the node begins; steps: how many of `total` are to run
    STEP_STARTED = "step_started"  # index (from 1), total, or name: how people call it; text: the command
    STEP_OUTPUT = "step_output"  # text: one line
    STEP_ENDED = "step_ended"  # status (ok, failed, timeout, cancelled), seconds, exit_code, tail: last lines, log
    HEAD_ANSWERED = "head_answered"  # address, seconds
    NODE_ENDED = "node_ended"  # status (ok, unchanged, failed, unreachable), seconds, text: why it failed
    NODE_JOINED = "node_joined"  # seconds: since its machine was asked for
    FIRST_CONTACT = "first_contact"  # key: the host key that is believed unverified, and remembered
    COMMAND_ENDED = "command_ended"  # status (ok, failed, unreachable), exit_code, stdout, stderr, text: why it did not run
    NOTICE = "notice"  # text, hint
    WARNING = "warning"  # text, hint
    ERROR = "error"  # text, hint
    HEARTBEAT = "heartbeat"  # something long is still going on; text, seconds


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    `ts` is seconds since the epoch, `op` the operation (`up`), `node` and `step` are empty where none is meant. `kind` is
    an `EventKind`, or the plain word of a kind that only a newer rayctl knows. `data` is JSON data.
    """

    ts: float
    op: str
    cluster: str
    kind: str
    node: str = ""
    step: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    v: int = VERSION

    def to_json(self) -> str:
        """The event as one line of ASCII."""
        fields = ("v", "ts", "op", "cluster", "node", "step", "kind", "data")
        return json.dumps({name: getattr(self, name) for name in fields}, separators=(",", ":"), default=str)

    @classmethod
    def from_json(cls, line: str) -> Event:
        """The event of a line. Kinds and keys of newer versions are kept or passed over; raises `ValueError` for no event."""
        fields = json.loads(line)
        if not isinstance(fields, dict) or not isinstance(fields.get("kind"), str):
            raise ValueError(f"no event: {line[:80]!r}")
        return cls(
            ts=float(fields.get("ts", 0.0)),
            op=str(fields.get("op", "")),
            cluster=str(fields.get("cluster", "")),
            kind=_kind(fields["kind"]),
            node=str(fields.get("node", "")),
            step=str(fields.get("step", "")),
            data=fields.get("data") or {},
            v=int(fields.get("v", VERSION)),
        )


class Sink(ABC):
    """Where events go. The bus calls one method at a time; a sink that raises is dropped."""

    @abstractmethod
    def write(self, event: Event) -> None:
        """Take one event; what it shows is out when this returns."""

    def tick(self, now: float) -> None:  # noqa: B027  most sinks have nothing to do
        """Called about once a second, `now` in seconds since the epoch: time passes also while nothing happens."""

    def close(self) -> None:  # noqa: B027
        """No event will follow."""


class Bus:
    """One operation's events, from any thread to all sinks. `clock` tells seconds since the epoch.

    No sink can break the operation: one that fails (a closed pipe) is dropped, and the others get one notice; where a disk is
    full, it is only told, and later events may find room again.
    """

    def __init__(
        self,
        op: str,
        cluster: str,
        sinks: Iterable[Sink],
        clock: Callable[[], float] = time.time,
        redactor: Redactor | None = None,
    ) -> None:
        self._op = op
        self._cluster = cluster
        self._sinks = list(sinks)
        self._clock = clock
        self._redactor = redactor or Redactor()
        self._full: set[int] = set()  # sinks whose disk was full
        # reentrant: a signal handler may emit while its own thread does
        self._lock = threading.RLock()

    def register_secret(self, secret: str) -> None:
        """Hide this value in all events from now on."""
        with self._lock:
            self._redactor.register(secret)

    def emit(self, kind: str, node: str = "", step: str = "", **data: Any) -> None:
        """Tell all sinks that something happened; returns when they have it."""
        with self._lock:
            self._deliver(self._event(kind, node, step, data))

    def tick(self, now: float | None = None) -> None:
        """Let the sinks notice that time passes; whoever runs the operation's loop calls it about once a second."""
        with self._lock:
            moment = self._clock() if now is None else now
            self._each(lambda sink: sink.tick(moment))

    def close(self) -> None:
        """Close all sinks; what is emitted later goes nowhere."""
        with self._lock:
            self._each(lambda sink: sink.close())
            self._sinks.clear()

    def _event(self, kind: str, node: str, step: str, data: Mapping[str, Any]) -> Event:
        clean = self._redactor.clean
        stream = (node, step) if kind == EventKind.STEP_OUTPUT else None
        event = Event(
            ts=round(self._clock(), 3),
            op=clean(self._op),
            cluster=clean(self._cluster),
            kind=_kind(kind),
            node=clean(node),
            step=clean(step),
            data=clean(data, stream),
        )
        if kind == EventKind.STEP_ENDED:
            self._redactor.end_stream((node, step))
        return event

    def _deliver(self, event: Event) -> None:
        self._each(lambda sink: sink.write(event))

    def _each(self, call: Callable[[Sink], None]) -> None:
        """Call every sink; drop those that fail, then tell the rest of them."""
        failures = []
        for sink in tuple(self._sinks):
            try:
                call(sink)
            # a bug in a sink must not end an operation half-way either
            except Exception as problem:
                if not (isinstance(problem, OSError) and problem.errno in FULL):
                    self._sinks.remove(sink)
                    failures.append(f"{type(sink).__name__} takes no more events: {problem}")
                elif id(sink) not in self._full:
                    self._full.add(id(sink))
                    failures.append(f"{type(sink).__name__} misses events: {problem}")
        for text in failures:
            self._deliver(self._event(EventKind.NOTICE, "", "", {"text": text}))


def _kind(word: str) -> str:
    try:
        return EventKind(word)
    except ValueError:
        return word
