# SPDX-License-Identifier: Apache-2.0
"""Followers come and go; the run waits only for answers, and for a controller where it needs one."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_bench import eventually

from rayctl.node import follower, hub
from rayctl.node.hub import Cancelled, Hub
from rayctl.node.state import NodeError
from rayctl.node.wire import PROTOCOL, encode

Connect = Callable[[], "End"]


class End:
    """A follower's end of the line."""

    def __init__(self, line: socket.socket) -> None:
        self.line = line
        self.lines = line.makefile("rb")

    def send(self, **message: Any) -> None:
        self.line.sendall(encode(message))

    def next(self) -> Any:
        return json.loads(self.lines.readline() or "null")

    def close(self) -> None:
        self.lines.close()
        self.line.close()


@pytest.fixture
def talk(tmp_path: Path) -> Hub:
    made = Hub("digest", orphan_s=0.3)
    made.listen(str(tmp_path))
    return made


@pytest.fixture
def connect(talk: Hub, tmp_path: Path) -> Iterator[Connect]:
    ends: list[End] = []

    def connect(plan: str = "digest", protocol: int = PROTOCOL) -> End:
        line = hub.connect(str(tmp_path))
        assert line is not None
        line.settimeout(10)
        ends.append(End(line))
        ends[-1].send(plan=plan, protocol=protocol)
        return ends[-1]

    yield connect
    for end in ends:
        end.close()


def in_background(call: Callable[[], Any]) -> Callable[[], Any]:
    """Run it beside the test; the returned call waits for its result, or raises what it raised."""
    results: list[Any] = []

    def work() -> None:
        try:
            results.append((call(), None))
        except Exception as e:
            results.append((None, e))

    thread = threading.Thread(target=work)
    thread.start()

    def wait() -> Any:
        thread.join(10)
        value, error = results[0]
        if error:
            raise error
        return value

    return wait


def test_a_late_follower_hears_what_happened_but_no_output(talk: Hub, connect: Connect) -> None:
    talk.emit("step", index=0)
    talk.emit("out", text="x")
    end = connect()
    assert [end.next(), end.next()] == [{"same": True}, {"event": "step", "index": 0}]
    talk.emit("out", text="y")
    assert end.next() == {"event": "out", "text": "y"}


@pytest.mark.parametrize("greeting", [("other", PROTOCOL), ("digest", PROTOCOL + 1)])
def test_another_plan_or_protocol_is_turned_away(connect: Callable[..., End], greeting: tuple[str, int]) -> None:
    end = connect(*greeting)
    assert [end.next(), end.next()] == [{"same": False}, None]


def test_the_first_answer_counts_and_late_ones_do_no_harm(talk: Hub, connect: Connect) -> None:
    ends = [connect(), connect()]
    for end in ends:
        end.next()
    answer = in_background(lambda: talk.ask("head"))
    questions = [end.next() for end in ends]
    ends[0].send(answer=questions[0]["id"], ok=True)
    assert answer()["ok"] is True
    ends[1].send(answer=questions[1]["id"], ok=False)
    again = in_background(lambda: talk.ask("head"))
    ends[1].send(answer=ends[1].next()["id"], ok=7)
    assert again()["ok"] == 7


def test_a_follower_that_comes_later_is_asked_what_is_still_open_and_only_that(talk: Hub, connect: Connect) -> None:
    talk.orphan_s = 10
    answer = in_background(lambda: talk.ask("mounts", target="/m"))
    first = connect()
    first.next()
    question = first.next()
    first.send(answer=question["id"], ok=True)
    assert answer() == {"answer": question["id"], "ok": True}
    second = connect()
    second.next()
    talk.emit("done")
    assert second.next() == {"event": "done"}


def test_nobody_to_ask_for_too_long_ends_the_run(talk: Hub) -> None:
    began = time.monotonic()
    with pytest.raises(NodeError, match=r"none came back within 0.3 s; what was done is kept"):
        talk.ask("head")
    assert time.monotonic() - began < 3
    with pytest.raises(NodeError, match="none came back"):
        talk.wait_for_controller()


def test_the_wait_begins_anew_when_a_follower_leaves(talk: Hub, connect: Connect) -> None:
    end = connect()
    end.next()
    answer = in_background(lambda: talk.ask("head"))
    time.sleep(0.5)  # longer than it would wait alone
    end.close()
    with pytest.raises(NodeError, match="none came back"):
        answer()


def test_a_cancel_ends_a_question(talk: Hub, connect: Connect) -> None:
    end = connect()
    end.next()
    answer = in_background(lambda: talk.ask("head"))
    end.send(cancel="Ctrl-C")
    with pytest.raises(Cancelled, match="Ctrl-C"):
        answer()
    assert talk.cancelled


def test_the_first_reason_of_a_cancel_is_kept(talk: Hub) -> None:
    talk.check()
    talk.cancel("")
    talk.cancel("second")
    with pytest.raises(Cancelled, match="no reason was given"):
        talk.check()


def test_noise_from_a_follower_is_left_alone(talk: Hub, connect: Connect) -> None:
    end = connect()
    end.next()
    end.line.sendall(b'\xff\n[]\n{}\n{"answer": [1]}\n{"answer": 7}\n')
    end.send(cancel="")
    eventually(lambda: talk.cancelled)
    talk.emit("step")
    assert end.next() == {"event": "step"}


def test_without_a_runner_there_is_no_line(tmp_path: Path, talk: Hub) -> None:
    assert hub.connect(str(tmp_path / "none")) is None
    (tmp_path / "other").mkdir()
    assert hub.connect(str(tmp_path / "other")) is None


def test_one_that_does_not_read_misses_output_and_nothing_else() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        one = follower.Follower(ours)
        began = time.monotonic()
        for number in range(200):
            one.send({"event": "out", "text": "x" * 60_000})
            one.send({"event": "step", "index": number})
        assert time.monotonic() - began < 5
        assert one._unread < follower.UNREAD + 200 * 60
        threading.Thread(target=lambda: (one.finish(10), one.close())).start()
        with theirs.makefile("rb") as lines:
            heard = [json.loads(line) for line in lines]
    assert [message["index"] for message in heard if message["event"] == "step"] == list(range(200))
    assert 0 < sum(message["event"] == "out" for message in heard) < 200


def test_the_end_waits_for_slow_readers_only_so_long() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        one = follower.Follower(ours)
        for _ in range(10):
            one.send({"event": "out", "text": "x" * 100_000})
        began = time.monotonic()
        one.finish(0.2)
        assert 0.2 <= time.monotonic() - began < 2
        theirs.close()
        eventually(lambda: not one._unread)
        one.close()
