# SPDX-License-Identifier: Apache-2.0
"""Ending a runner from outside: by another runner with a new plan, by a cancel, or because its node goes away.

A runner writes `runner.json` as soon as it holds the node's lock, and again around every step. A pid alone is never
trusted: the process must have the start time that is written beside it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any, Dict, List, Optional

from . import ending, processes, state

STATUS = "runner.json"
KILL_S = 5.0


def publish(folder: str, step: str = "", step_run: str = "") -> None:
    """Write the runner's status: who it is, what it works on, and the mark by which that is found (`ending.py`).

    Both are empty between steps: what a step that ended well left running in the background is nobody's leftover.
    """
    me = processes.find(os.getpid())
    assert me is not None
    who = {"version": state.VERSION, "kind": "runner", "pid": me.pid, "started": me.started}
    state.write(os.path.join(folder, STATUS), dict(who, step=step, step_run=step_run))


def living_runner(folder: str) -> Optional[Dict[str, Any]]:
    """The status of the runner that works in this folder; None when there is none."""
    runner = _status(folder)
    return runner if runner and processes.alive(runner["pid"], runner["started"]) else None


def stop_runner(state_dir: str, grace_s: float = 10.0) -> bool:
    """Cancel the runner of a node and wait until it is gone, by force after `grace_s`. True when there was one.

    What a runner that was killed left of its step ends too.
    """
    folder = state.folder_of(state_dir)
    runner = _status(folder)
    if runner is None:
        return False
    lived = _end(runner["pid"], runner["started"], grace_s)
    last = _status(folder)
    if last and (last["pid"], last["started"]) == (runner["pid"], runner["started"]):
        _end_step(last)
    return lived


def end_leftovers(folder: str) -> None:
    """End what a runner that was killed left of its step. Only for the holder of the lock: then that runner is dead.

    Raises NodeError when something does not end: two runs must never work beside each other.
    """
    last = _status(folder)
    left = _end_step(last) if last else []
    if left:
        those = ", ".join("%s (pid %d)" % (process.name, process.pid) for process in left)
        raise state.NodeError("a step of an earlier run, %s, still runs and does not end: %s" % (last and last["step"], those))


def parse(data: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What a file says, if it is a runner's status."""
    return data if data and type(data.get("pid")) is int and type(data.get("started")) is int else None


def _status(folder: str) -> Optional[Dict[str, Any]]:
    return parse(state.read(os.path.join(folder, STATUS)))


def _end(pid: int, started: int, grace_s: float) -> bool:
    """Ask a process to end, make it after `grace_s`; whether it lived."""
    lived = processes.alive(pid, started)
    for sig, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, KILL_S)):
        if processes.alive(pid, started):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, sig)
                os.kill(pid, signal.SIGCONT)  # it may have been suspended
        end = time.monotonic() + patience
        while processes.alive(pid, started) and time.monotonic() < end:
            time.sleep(0.02)
    return lived


def _end_step(runner: Dict[str, Any]) -> List[processes.Process]:
    return ending.end_step(runner["step_run"]) if runner.get("step_run") else []
