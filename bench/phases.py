# SPDX-License-Identifier: Apache-2.0
"""Where the time of an `up` goes, read from the events that it prints as JSON lines."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from rayctl.events import Event, EventKind

ANSIBLE = "Ansible: from the last launch to a node's first step"


def phases(began_at: float, lines: Iterable[str]) -> tuple[tuple[str, float], ...]:
    """The phases of an `up` of a new cluster and their seconds. `began_at` is when its process was started (epoch)."""
    events = [Event.from_json(line) for line in lines if line.startswith("{")]
    moments = [
        ("", began_at),
        ("Python, imports, the cluster file", _first(events, EventKind.OPERATION_STARTED)),
        ("launching machines", _last(events, EventKind.NODE_LAUNCHED)),
        (ANSIBLE, _first(events, EventKind.STEP_STARTED)),
        ("until the head answers", _first(events, EventKind.HEAD_ANSWERED)),
        ("until every node's commands have ended", _last(events, EventKind.NODE_ENDED)),
        ("asking Ray, and Ansible's end", _first(events, EventKind.OPERATION_ENDED)),
    ]
    return tuple((name, end - start) for (_, start), (name, end) in pairwise(moments))


def _first(events: list[Event], kind: EventKind) -> float:
    return next(event.ts for event in events if event.kind == kind)


def _last(events: list[Event], kind: EventKind) -> float:
    return _first(events[::-1], kind)
