# SPDX-License-Identifier: Apache-2.0
"""`status --watch`: in place on a terminal, which is left as it was however it ends; a block or a line each elsewhere."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pyte
import pytest

WATCHED = [sys.executable, str(Path(__file__).parent / "watched.py")]
MOMENT_S = 0.2  # what comes within it is one thing to a person's eyes
ENV = {
    key: value for key, value in os.environ.items() if not key.startswith(("RAYCTL_", "NO_COLOR", "COLUMNS", "LINES", "FORCE"))
}


class Terminal:
    """A window in which rayctl runs, and what is to be seen there."""

    def __init__(self, *words: str, columns: int = 80, rows: int = 24, **env: str) -> None:
        self.screen = pyte.Screen(columns, rows)
        self.stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.pid, self.line = pty.fork()
        if self.pid == 0:
            set_size(0, columns, rows)
            os.execve(sys.executable, [*WATCHED, *words], {**ENV, "TERM": "xterm-256color", **env})

    def resize(self, columns: int, rows: int) -> None:
        set_size(self.line, columns, rows)
        self.screen.resize(rows, columns)

    def read(self, patience_s: float = 10.0) -> bool:
        """Take what comes at once; whether there was something. The kernel may hand over a picture in parts."""
        came = False
        while select.select([self.line], [], [], MOMENT_S if came else patience_s)[0]:
            try:
                piece = os.read(self.line, 65536)
            except OSError:  # the other end is closed
                break
            self.raw += piece
            self.stream.feed(piece)
            came = True
        return came

    def until(self, pattern: str) -> str:
        """Read until the window shows it; the window's text."""
        end = time.monotonic() + 20
        while not re.search(pattern, self.text):
            assert self.read(), self.text
            assert time.monotonic() < end, self.text
        return self.text

    @property
    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.screen.display)

    def ended(self) -> int:
        """Read what is left; how it ended."""
        while self.read():
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self.line)


def set_size(line: int, columns: int, rows: int) -> None:
    ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


@pytest.fixture
def terminal() -> Iterator[Any]:
    opened: list[Terminal] = []

    def open_(*words: str, **more: Any) -> Terminal:
        opened.append(Terminal(*words, **more))
        return opened[-1]

    yield open_
    for each in opened:
        each.close()


STATUS = ("status", "c.yaml", "--watch", "0.5")


def test_a_window_shows_it_in_place_and_nothing_is_ever_blank(terminal: Any) -> None:
    window = terminal("small", *STATUS)
    window.until("look-1 ")
    for number in range(2, 6):
        while f"look-{number} " not in window.text:
            assert window.read()
            assert re.search(r"look-\d+ \(aws\): Ray 2\.60\.0", window.text), "no moment without a picture"
            assert window.text.count("look-") == 1
    first, second, *_ = window.text.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d, every 0\.5 s until Ctrl-C", first)
    assert second.startswith("look-")


@pytest.mark.parametrize("columns", [40, 80])
def test_a_small_window_stays_readable(terminal: Any, columns: int) -> None:
    window = terminal("troubled", *STATUS, columns=columns)
    window.until(r"look-3 [\s\S]*more lines")
    lines = [line.rstrip() for line in window.screen.display]
    assert lines[1].startswith("look-")
    assert re.fullmatch(r"\d+ more lines than the window has", lines[22])
    assert window.text.count("look-") == 1, "nothing has scrolled"


def test_what_fits_is_not_cut(terminal: Any) -> None:
    window = terminal("troubled", *STATUS, columns=140, rows=60)
    assert "more lines" not in window.until("demo-cpu-3 .*lost for 65 s")


@pytest.mark.parametrize(("how", "code"), [("^C", 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_however_it_ends_the_terminal_is_left_as_it_was(terminal: Any, how: Any, code: int) -> None:
    window = terminal("small", *STATUS)
    window.until("look-2 ")
    os.write(window.line, b"\x03") if how == "^C" else os.kill(window.pid, how)
    assert window.ended() == code
    assert b"\x1b[?1049h" not in window.raw, "no alternate screen"
    assert window.raw.rfind(b"\x1b[?25h") > window.raw.rfind(b"\x1b[?25l"), "the cursor is to be seen"
    assert "demo-worker-3" in window.text, "the last picture stays"
    assert "Traceback" not in window.text


def test_a_look_that_fails_is_told_above_the_last_picture_and_the_next_one_comes(terminal: Any) -> None:
    window = terminal("small,error,small", *STATUS)
    shown = window.until("error: the head does not answer")
    assert "fix: Is it powered on?" in shown
    assert "look-1 " in shown
    assert "error" not in window.until("look-3 ")


def test_failures_do_not_pile_up(terminal: Any) -> None:
    window = terminal("small,error,error,error,small", *STATUS)
    while "look-5 " not in window.text:
        assert window.read()
        assert window.text.count("error:") <= 1


def test_in_a_window_of_another_size_the_picture_begins_anew(terminal: Any) -> None:
    window = terminal("small", *STATUS)
    window.until("look-2 ")
    window.resize(60, 40)
    window.until(r"machine running, Ray idle")


def test_a_dumb_terminal_gets_one_after_the_other(terminal: Any) -> None:
    window = terminal("small", *STATUS, TERM="dumb")
    while window.raw.count(b"look-") < 3:
        assert window.read()
    assert b"\x1b" not in window.raw


# ---- elsewhere
def started(*words: str) -> subprocess.Popen[str]:
    env = {**ENV, "COLUMNS": "80"}
    return subprocess.Popen([*WATCHED, *words], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child: subprocess.Popen[str], number: int = signal.SIGINT) -> tuple[int, str]:
    child.send_signal(number)
    _, errors = child.communicate(timeout=20)
    return child.returncode, errors


def test_a_pipe_gets_a_block_each_time() -> None:
    child = started("small", *STATUS)
    assert child.stdout is not None
    lines = [child.stdout.readline() for _ in range(2 * 17)]
    code, errors = ended(child)
    assert (code, errors.strip()) == (130, "interrupted")
    heads = [n for n, line in enumerate(lines) if line.startswith("look-")]
    assert [lines[n].split()[0] for n in heads] == ["look-1", "look-2"]
    assert all(re.match(r"\d\d:\d\d:\d\d, every 0\.5 s", lines[n - 1]) for n in heads)
    assert lines[heads[1] - 2] == "\n", "a blank line between them"


def test_a_program_gets_a_document_in_each_line() -> None:
    child = started("many", *STATUS, "--format", "json")
    assert child.stdout is not None
    found = [json.loads(child.stdout.readline()) for _ in range(3)]
    assert ended(child, signal.SIGTERM)[0] == 130
    assert [each["cluster"] for each in found] == ["look-1", "look-2", "look-3"]
    assert {each["v"] for each in found} == {1}


def test_a_later_failure_goes_to_stderr_and_the_first_ends_it() -> None:
    child = started("small,error,small", *STATUS, "--format", "json")
    assert child.stdout is not None
    assert [json.loads(child.stdout.readline())["cluster"] for _ in range(2)] == ["look-1", "look-3"]
    assert ended(child)[1].startswith("error: the head does not answer.\n  fix: Is it powered on?\n")
    child = started("error", *STATUS)
    assert child.communicate(timeout=20) == ("", "error: the head does not answer.\n  fix: Is it powered on?\n")
    assert child.returncode == 4


def test_a_reader_that_has_seen_enough_ends_it_in_peace() -> None:
    child = started("small", *STATUS)
    assert child.stdout is not None
    child.stdout.readline()
    child.stdout.close()
    assert child.wait(timeout=20) == 0
    assert child.stderr is not None
    assert child.stderr.read() == ""
    child.stderr.close()
