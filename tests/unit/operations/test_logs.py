# SPDX-License-Identifier: Apache-2.0
"""What is shown of a run's log: of steps that printed much the end, and how much is left out."""

from __future__ import annotations

from rayctl.events import Event, EventKind
from rayctl.operations.logs import SHOWN, shortened


def said(node: str, text: str, kind: EventKind = EventKind.STEP_OUTPUT) -> Event:
    return Event(0.0, "up", "demo", kind, node, "setup-1", {"text": text})


def test_few_lines_stay_and_of_many_the_last_do() -> None:
    many = [said("a", f"line {number}") for number in range(SHOWN + 5)]
    few, end = said("b", "only one"), said("a", "", EventKind.STEP_ENDED)
    found = list(shortened([few, *many, end]))
    texts = [event.data["text"] for event in found]
    assert texts[0] == "... 5 lines before these: -v shows them"
    assert texts[1 : SHOWN + 1] == [f"line {number}" for number in range(5, SHOWN + 5)]
    assert found[SHOWN + 1] == end
    assert found[SHOWN + 2 :] == [few], "its step has not ended"


def test_steps_of_nodes_are_told_apart_and_nothing_else_is_left_out() -> None:
    events = [said("a", "x"), said("b", "y"), said("", "z", EventKind.NOTICE), said("b", "", EventKind.STEP_ENDED)]
    found = list(shortened(events))
    assert sorted(event.data["text"] for event in found) == ["", "x", "y", "z"]
    assert found.index(events[1]) < found.index(events[3])
