# SPDX-License-Identifier: Apache-2.0
"""A conversation over a process's stdin and stdout: noise is passed over, a cut line is no traceback, nothing hangs."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rayctl.node import wire
from rayctl.transport import channel
from rayctl.transport.channel import Channel

ECHO = f"import sys\nfor line in sys.stdin: print({wire.MARK!r} + line, end='', flush=True)"


@pytest.fixture
def talk() -> Iterator[Any]:
    opened: list[Channel] = []

    def start(script: str, opening: bytes = b"") -> Channel:
        opened.append(Channel(["/bin/sh", "-c", script], dict(os.environ), opening))
        return opened[-1]

    yield start
    for one in opened:
        one.kill()
        one.close()


def python(code: str) -> str:
    return f"exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"


def test_what_is_sent_arrives_and_what_is_said_comes_back(talk: Any) -> None:
    line = talk(python(ECHO), wire.encode({"a": 1}))
    messages = iter(line)
    assert next(messages) == {"a": 1}
    line.send({"name": "\udcff {{x}}\n"})
    assert next(messages) == {"name": "\udcff {{x}}\n"}
    assert line.close() == 0


def test_a_large_opening_does_not_deadlock(talk: Any) -> None:
    line = talk("cat >/dev/null", wire.encode({"a": "x" * 5_000_000}))
    assert line.close() == 0


def test_noise_before_between_and_in_front_of_messages_is_passed_over(talk: Any) -> None:
    said = wire.marked({"n": 1}).decode()
    line = talk(
        f"echo Welcome; printf 'no newline yet'; printf %s {shlex.quote(said)}; echo '{{}}'; printf %s {shlex.quote(said)}"
    )
    assert list(line) == [{"n": 1}, {"n": 1}]


def test_a_line_that_is_cut_is_told_by_the_exit_status_and_stderr(talk: Any) -> None:
    line = talk("exec <&-; echo gone >&2; exit 7")
    time.sleep(0.1)
    line.send({"a": 1})
    assert list(line) == []
    assert (line.close(), line.stderr) == (7, "gone")
    line.send({"a": 1})


def test_only_the_end_of_stderr_is_kept(talk: Any) -> None:
    line = talk("head -c 1000000 /dev/zero | tr '\\0' x >&2; echo the end >&2")
    line.close()
    assert line.stderr.endswith("the end")
    assert len(line.stderr) <= channel.STDERR_KEPT


def test_who_keeps_stderr_open_does_not_hold_the_close(talk: Any) -> None:
    line = talk("sleep 3 >/dev/null <&- & echo x >&2")
    began = time.monotonic()
    assert line.close() == 0
    assert time.monotonic() - began < 2


def test_who_does_not_leave_is_made_to(talk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "CLOSE_S", 0.2)
    assert talk("exec sleep 60").close() == -signal.SIGKILL


def test_a_second_close_tells_the_same(talk: Any) -> None:
    line = talk("exit 3")
    assert [line.close(), line.close()] == [3, 3]


def test_a_kill_ends_the_listening(talk: Any) -> None:
    line = talk("exec sleep 60")
    threading.Timer(0.1, line.kill).start()
    assert list(line) == []


def test_ctrl_c_at_the_terminal_does_not_reach_the_line(talk: Any) -> None:
    assert os.getsid(talk("exec sleep 60").process.pid) != os.getsid(0)


def test_a_cancel_may_come_from_a_signal_handler_in_the_middle_of_a_send(talk: Any) -> None:
    line = talk(python(ECHO))
    before = signal.signal(signal.SIGALRM, lambda *_: line.send({"cancel": 1}))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        listener = threading.Thread(target=lambda: heard.extend(line))
        heard: list[wire.Message] = []
        listener.start()
        for number in range(300):
            line.send({"n": number})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    line.process.stdin.close()
    listener.join(20)
    assert [message["n"] for message in heard if "n" in message] == list(range(300))
    assert {json.dumps(message) for message in heard if "n" not in message} <= {'{"cancel": 1}'}
