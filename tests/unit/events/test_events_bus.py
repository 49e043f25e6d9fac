# SPDX-License-Identifier: Apache-2.0
"""The schema, and the bus that no sink can break."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.events import Bus, Event, EventKind, Sink

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
EVENTS = st.builds(
    Event,
    ts=st.floats(0, 4e9),
    op=st.text(),
    cluster=st.text(),
    kind=st.sampled_from(EventKind) | st.text(),
    node=st.text(),
    step=st.text(),
    data=st.dictionaries(st.text(), JSON),
)


class Recorder(Sink):
    """Keeps what it gets; breaks after `limit` events."""

    def __init__(self, limit: int | None = None) -> None:
        self.events: list[Event] = []
        self.ticks: list[float] = []
        self.limit = limit
        self.closed = False

    def write(self, event: Event) -> None:
        if self.limit is not None and len(self.events) >= self.limit:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.events.append(event)

    def tick(self, now: float) -> None:
        self.ticks.append(now)

    def close(self) -> None:
        self.closed = True

    def texts(self) -> list[object]:
        return [event.data.get("text") for event in self.events]


@given(EVENTS)
def test_event_survives_its_line(event: Event) -> None:
    line = event.to_json()
    assert "\n" not in line
    assert line.isascii()
    assert Event.from_json(line) == event


def test_line_has_the_fields_in_the_order_of_the_contract() -> None:
    event = Event(1.5, "up", "demo", EventKind.STEP_STARTED, "demo-head", "s1", {"index": 1})
    assert event.to_json() == (
        '{"v":1,"ts":1.5,"op":"up","cluster":"demo","node":"demo-head","step":"s1","kind":"step_started","data":{"index":1}}'
    )


def test_kinds_and_keys_of_a_newer_rayctl_survive_reading() -> None:
    line = '{"v":2,"ts":1,"op":"up","kind":"node_danced","data":{"tango":true},"mood":"good"}'
    event = Event.from_json(line)
    assert (event.v, event.kind, event.data) == (2, "node_danced", {"tango": True})
    assert json.loads(event.to_json())["kind"] == "node_danced"


def test_known_kind_is_read_as_that_kind() -> None:
    assert Event.from_json('{"kind": "warning"}').kind is EventKind.WARNING


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"kind": 1}', "collected 3 items"])
def test_line_that_is_no_event_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"no event|Expecting"):
        Event.from_json(line)


def test_bus_stamps_each_event_and_hands_it_to_every_sink() -> None:
    one, other = Recorder(), Recorder()
    bus = Bus("up", "demo", [one, other], clock=lambda: 12.34567)
    bus.emit(EventKind.STEP_STARTED, "demo-head", "s1", index=1)
    assert one.events == [Event(12.346, "up", "demo", EventKind.STEP_STARTED, "demo-head", "s1", {"index": 1})]
    assert other.events == one.events


def test_event_is_what_it_was_when_it_happened() -> None:
    recorder, tail = Recorder(), ["a"]
    Bus("up", "demo", [recorder]).emit(EventKind.STEP_ENDED, tail=tail)
    tail.append("b")
    assert recorder.events[0].data == {"tail": ["a"]}


def test_data_of_any_type_becomes_json() -> None:
    recorder = Recorder()
    data = {"path": Path("/x"), "raw": b"a\xff", "many": {1}, "kind_": EventKind.NOTICE, "nan": float("nan"), 3: (1, None)}
    Bus("up", "demo", [recorder]).emit("notice", data=data)
    assert json.loads(recorder.events[0].to_json())["data"]["data"] == {
        "path": "/x",
        "raw": "a\ufffd",
        "many": [1],
        "kind_": "notice",
        "nan": "nan",
        "3": [1, None],
    }


def test_sink_on_a_full_disk_is_told_of_once_and_goes_on_when_there_is_room() -> None:
    healthy, full = Recorder(), Recorder(limit=1)
    bus = Bus("up", "demo", [full, healthy])
    for text in "abc":
        bus.emit("warning", text=text)
    full.limit = 9
    bus.emit("warning", text="d")
    assert full.texts() == ["a", "d"]
    assert healthy.texts() == ["a", "b", "Recorder misses events: [Errno 28] No space left on device", "c", "d"]
    assert healthy.events[2].kind is EventKind.NOTICE


def test_all_sinks_may_fail_and_the_operation_goes_on() -> None:
    bus = Bus("up", "demo", [Recorder(limit=0), Recorder(limit=0), Recorder(limit=1)])
    for _ in range(3):
        bus.emit("warning", text="a")
    bus.tick()
    bus.close()


def test_bug_in_a_sink_is_no_end_of_the_operation_either() -> None:
    class Buggy(Recorder):
        def tick(self, now: float) -> None:
            raise TypeError("a bug")

    buggy, healthy = Buggy(), Recorder()
    bus = Bus("up", "demo", [buggy, healthy])
    bus.tick(5.0)
    bus.tick(6.0)
    assert healthy.ticks == [5.0, 6.0]
    assert healthy.texts() == ["Buggy takes no more events: a bug"]


def test_tick_tells_the_buses_own_time_unless_told() -> None:
    recorder = Recorder()
    bus = Bus("up", "demo", [recorder], clock=lambda: 7.0)
    bus.tick()
    bus.tick(8.0)
    assert recorder.ticks == [7.0, 8.0]


def test_closed_bus_closes_its_sinks_and_is_silent() -> None:
    recorder = Recorder()
    bus = Bus("up", "demo", [recorder])
    bus.close()
    bus.emit("warning", text="late")
    assert recorder.closed
    assert recorder.events == []


def test_events_of_many_threads_come_one_at_a_time_and_none_is_lost() -> None:
    class Careful(Recorder):
        inside = 0

        def write(self, event: Event) -> None:
            self.inside += 1
            assert self.inside == 1
            super().write(event)
            self.inside -= 1

    sink = Careful()
    bus = Bus("up", "demo", [sink])
    threads = [threading.Thread(target=lambda n=n: [bus.emit("notice", text=f"{n}/{i}") for i in range(200)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sink.texts(), key=str) == sorted(f"{n}/{i}" for n in range(4) for i in range(200))
