# SPDX-License-Identifier: Apache-2.0
"""What the tests of stored state share: child processes, and files that belong to someone else."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import rayctl
from rayctl.state import private

PROJECT = Path(rayctl.__file__).parents[1]
STRANGER = 54321


class Children:
    """Python programs that run beside the test. Each may print lines, and is gone when the test ends."""

    def __init__(self) -> None:
        self.running: list[subprocess.Popen[str]] = []

    def start(self, program: str, *args: object) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(program), *map(str, args)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(PROJECT), *filter(None, sys.path)])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.running.append(child)
        return child

    def run(self, program: str, *args: object) -> str:
        child = self.start(program, *args)
        output, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        return output

    def end(self) -> None:
        for child in self.running:
            child.kill()
            child.wait()
            for pipe in filter(None, (child.stdin, child.stdout)):
                with suppress(BrokenPipeError):
                    pipe.close()


@pytest.fixture
def children() -> Iterator[Children]:
    started = Children()
    yield started
    started.end()


def ways_to_plant() -> list[str]:
    """Where the tests run as root they plant really foreign files too; the other way works for everyone."""
    return ["told by stat", "given away by root"] if os.geteuid() == 0 else ["told by stat"]


@pytest.fixture(params=ways_to_plant())
def give_away(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Make a file or folder belong to a stranger."""
    foreign: set[int] = set()

    def by_root(path: Path) -> None:
        os.chown(path, STRANGER, STRANGER, follow_symlinks=False)

    def by_stat(path: Path) -> None:
        foreign.add(path.lstat().st_ino)

    if request.param == "given away by root":
        return by_root
    monkeypatch.setattr(private, "_owner", lambda status: STRANGER if status.st_ino in foreign else status.st_uid)
    return by_stat


class Clock:
    """A clock that moves only when told to, or when somebody sleeps by it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()
