# SPDX-License-Identifier: Apache-2.0
"""One decision in a process of its own: `python -m bench.planning.child ORDER`, and what it took as a line of JSON.

The input objects are made first; the clock runs around the question and nothing else. Nothing was asked before.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any, TypedDict

from bench.planning.deciders import Question, prepare
from bench.planning.scenario import scenario

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
SHORTEST_ALARM_S = 0.01


class Order(TypedDict):
    """Who decides what, and after how many seconds of CPU it is cut. Only in `full` are placements told, and checked."""

    decider: str
    scenario: dict[str, float]
    timeout: float
    full: bool


class Cut(BaseException):
    """It took too long. Not an `Exception`, so that no one takes it for one of their own."""


class Limit:
    """Raises `Cut` in its block as soon as that has used so many seconds of CPU.

    The alarm goes by the wall's clock and is set again while there is CPU time left: while the kernel watches a process's
    CPU time for a timer of its own, it tells that time no finer than in ticks.
    """

    def __init__(self, seconds: float) -> None:
        self._until = time.process_time() + seconds

    def __enter__(self) -> None:
        signal.signal(signal.SIGALRM, self._ring)
        self._set()

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def _ring(self, _number: int, _frame: FrameType | None) -> None:
        if time.process_time() >= self._until:
            raise Cut
        self._set()

    def _set(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, max(self._until - time.process_time(), SHORTEST_ALARM_S))


def main() -> None:
    """Answer the order."""
    order: Order = json.loads(sys.argv[1])
    question = prepare(order["decider"], scenario(**order["scenario"]))  # type: ignore[arg-type]
    answer, told = _measured(question.ask, order["timeout"])
    if answer is not None:
        told |= _answer(question, answer[0], order["full"])
    print(json.dumps(told))


def _measured(ask: Callable[[], Any], timeout: float) -> tuple[tuple[Any] | None, dict[str, Any]]:
    """The answer, None where it was cut, and what it took. The collector of garbage is left as it is."""
    answer = None
    peak, before = _memory("VmHWM"), _memory("VmRSS")
    _forget_peak()
    with suppress(Cut), Limit(timeout):
        wall, cpu = time.perf_counter(), time.process_time()
        found = (ask(),)
        cpu_s, wall_s = time.process_time() - cpu, time.perf_counter() - wall
        answer = found  # the last step: it may be cut until here
    during = _memory("VmHWM")
    times = {"cut_at_s": timeout} if answer is None else {"cpu_s": cpu_s, "wall_s": wall_s}
    return answer, times | {"peak_mb": max(peak, during), "growth_mb": max(during - before, 0.0)}


def _answer(question: Question, answer: Any, full: bool) -> dict[str, Any]:
    decision = asdict(question.read(answer))
    if not full:
        decision |= {"placement": [], "gangs": []}
    return {"decision": decision, "violations": question.check(answer) if full else []}


def _memory(name: str) -> float:
    """Megabytes, of 10^6 bytes. Unlike what `getrusage` tells, the peak here is not inherited from the parent."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return int(line.split()[1]) * 1024 / 1e6


def _forget_peak() -> None:
    """Let the peak be that of what comes now. Where that is not allowed, it stays that of the whole process."""
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        print("the peak of memory includes that of the preparation", file=sys.stderr)


if __name__ == "__main__":
    main()
