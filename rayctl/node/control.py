# SPDX-License-Identifier: Apache-2.0
"""Ending a runner from outside: by another runner with a new plan, by a cancel, or because its node goes away.

A runner writes `runner.json` as soon as it holds the node's lock. A pid alone is never trusted: the process must have the
start time that is written beside it.
"""

from __future__ import annotations

import os
import signal
import time
from typing import Any, Dict, Optional

from . import processes, state, steps

STATUS = "runner.json"


def publish(folder: str, **fields: Any) -> None:
    """Write the runner's status: who it is and what it works on."""
    me = processes.find(os.getpid())
    assert me is not None
    data = {"version": state.VERSION, "kind": "runner", "pid": me.pid, "started": me.started}
    state.write(os.path.join(folder, STATUS), dict(data, **fields))


def living_runner(folder: str) -> Optional[Dict[str, Any]]:
    """The status of the runner that works in this folder; None when there is none."""
    data = state.read(os.path.join(folder, STATUS))
    if data and processes.alive(data["pid"], data["started"]):
        return data
    return None


def stop_runner(state_dir: str, grace_s: float = 10.0) -> bool:
    """Cancel the runner of a node and wait until it is gone, by force after `grace_s`. True when there was one."""
    runner = living_runner(state.folder_of(state_dir))
    if runner is None:
        return False
    pid, started = runner["pid"], runner["started"]
    for sig, patience in ((signal.SIGTERM, grace_s), (signal.SIGKILL, 5.0)):
        if processes.alive(pid, started):
            try:
                os.kill(pid, sig)
            except ProcessLookupError:
                break
        end = time.monotonic() + patience
        while processes.alive(pid, started) and time.monotonic() < end:
            time.sleep(0.02)
    if runner.get("step_run"):
        steps.end_run(runner["step_run"])  # nothing is left of its step, also when it had to be killed
    return True
