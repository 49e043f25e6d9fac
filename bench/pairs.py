# SPDX-License-Identifier: Apache-2.0
"""Runs that are compared: each side in turn, so that whatever else the machine does falls on all of them.

The best of a side says what it can do, the median of the pairs' ratios how the sides compare. Both outlive a noisy machine.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Self

TAIL = 2000  # characters of a failed run's output that are worth seeing
WORDS = 200  # and of its command line, which may be a script


class RunFailed(Exception):
    """A run ended with an exit code other than 0, so there is nothing to measure."""


@dataclass(frozen=True)
class Sample:
    """One run. `cpu_s` and `peak_mb` are of the process that was started and of all its children that it waited for.

    So they are the controller's alone: daemons that live on, Ray's among them, do not count. The kernel lets a process inherit
    its parent's peak, so `peak_mb` says nothing below this process's own. `load` is the machine's load average over the last
    minute, when the run began. `phases` are names and seconds of its parts, in order. `failure` says why the run did not
    reach its end; then `seconds` are how long that was waited for.
    """

    seconds: float
    cpu_s: float
    peak_mb: float
    load: float
    phases: tuple[tuple[str, float], ...] = ()
    failure: str = ""


@dataclass(frozen=True)
class Side:
    """One of the things that are compared."""

    name: str
    run: Callable[[], Sample]


@dataclass(frozen=True)
class Runs:
    """All runs of one side."""

    name: str
    samples: tuple[Sample, ...]

    @property
    def good(self) -> tuple[Sample, ...]:
        """The runs that reached their end."""
        return tuple(sample for sample in self.samples if not sample.failure)

    def only(self, rounds: Sequence[int]) -> Runs:
        """The runs of these rounds alone, counted from 0."""
        return Runs(self.name, tuple(self.samples[number] for number in rounds))

    def best(self) -> float:
        """Seconds of the fastest run; of those that failed only where all did."""
        return min(sample.seconds for sample in self.good or self.samples)

    def middle(self, of: Callable[[Sample], float] = lambda sample: sample.seconds) -> float:
        """The median of something that each run tells."""
        return median(map(of, self.samples))


def ratios(ours: Runs, theirs: Runs) -> list[float]:
    """How many times as long as its partner each of our runs took."""
    return [a.seconds / b.seconds for a, b in zip(ours.samples, theirs.samples, strict=True)]


def differences(ours: Runs, theirs: Runs) -> list[float]:
    """How many seconds longer than its partner each of our runs took."""
    return [a.seconds - b.seconds for a, b in zip(ours.samples, theirs.samples, strict=True)]


def in_turn(sides: Sequence[Side], rounds: int) -> list[Runs]:
    """Run every side once per round; every other round goes backwards, so that none always comes first."""
    samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for number in range(rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            sample = side.run()
            how = f" FAILED: {sample.failure}" if sample.failure else ""
            print(f"{number + 1}/{rounds}  {side.name}: {sample.seconds:.3f} s{how}", file=sys.stderr, flush=True)
            samples[side.name].append(sample)
    return [Runs(name, tuple(found)) for name, found in samples.items()]


def in_pairs(ours: Side, theirs: Side, rounds: int) -> tuple[Runs, Runs]:
    """`in_turn` for two."""
    first, second = in_turn([ours, theirs], rounds)
    return first, second


class Child:
    """A started process without a terminal, whose use of the machine is told at its end. Ended when its block is left.

    `cpu_s` is what it and its children used, once it has ended.
    """

    def __init__(self, argv: Sequence[str], *, out: IO[bytes] | None = None) -> None:
        self.argv, self.load, self.cpu_s = argv, os.getloadavg()[0], 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed with the block
        self.began, self.began_at = time.monotonic(), time.time()
        self._process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out or subprocess.DEVNULL, stderr=self._errors, start_new_session=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.returncode is None:
            # not `terminate()`: it would reap one that has ended, and what that used would never be known
            os.kill(self._process.pid, signal.SIGTERM)
            self._reap()
        self._errors.close()

    def check(self) -> None:
        """Raise `RunFailed` if it has ended, and not well."""
        ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is not None and ended.si_status:
            self.finish()

    def finish(self, seconds: float | None = None) -> Sample:
        """Wait for its end. The sample's seconds are those given, else until the end. Raises `RunFailed`."""
        peak = self._reap()
        seconds = time.monotonic() - self.began if seconds is None else seconds
        if self._process.returncode:
            words = " ".join(self.argv)[:WORDS]
            raise RunFailed(f"{words} ended with exit code {self._process.returncode}:\n{self._said()}")
        return Sample(seconds, self.cpu_s, peak, self.load)

    def _reap(self) -> float:
        """Wait for its end; its peak of memory in MB."""
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.cpu_s = usage.ru_utime + usage.ru_stime
        return usage.ru_maxrss / 1024

    def _said(self) -> str:
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")[-TAIL:]


def command(name: str, argv: Sequence[str]) -> Side:
    """The side that runs a command to its end."""

    def run() -> Sample:
        with Child(argv) as child:
            return child.finish()

    return Side(name, run)


def beside_python(program: str) -> str:
    """The path of a program that was installed beside the interpreter that runs this."""
    return str(Path(sys.executable).with_name(program))
