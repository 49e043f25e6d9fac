# SPDX-License-Identifier: Apache-2.0
"""Ending a step before its time: all that it started ends, and nothing of it goes on meanwhile.

What belongs to a step carries its mark in `RAYCTL_STEP_RUN`, or lives in a process session with one that does. All of it
is stopped before any of it is asked to end: a shell whose command ends would else go on with the next one of its list.

A step that runs as root cannot be seen or ended by another user. Its supervisor does that (`supervisor.py`), at the latest
when the runner is gone. It has the mark among its arguments, so that whoever ends the step waits until it is done.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Dict, List, Set, Tuple

from . import processes
from .processes import Process

VARIABLE = "RAYCTL_STEP_RUN"
GRACE_S = 3.0
KILL_S = 3.0


def end_step(mark: str, grace_s: float = GRACE_S, session: int = 0) -> List[Process]:
    """End all processes of the step with this mark, wherever they hid. Returns those that did not end: normally none.

    `session` is the step's own, where that is known: a process that was started this moment does not show its mark yet.
    """
    kin = Kin(mark, session)
    for process in kin.freeze():
        if _ignores(process, signal.SIGTERM):
            _send(process, signal.SIGKILL)  # in the time to obey, it would only go on
        else:
            _send(process, signal.SIGTERM)
            _send(process, signal.SIGCONT)
    if not kin.gone_within(grace_s):
        deadline = time.monotonic() + KILL_S
        while kin.members() and time.monotonic() < deadline:
            for process in kin.freeze():
                _send(process, signal.SIGKILL)
            kin.gone_within(0.1)
    return kin.members()


class Kin:
    """The processes of one step, followed while they end."""

    def __init__(self, mark: str, session: int = 0) -> None:
        self.mark = mark
        self._sessions: Set[int] = {session} - {0}

    def members(self) -> List[Process]:
        """Those alive now. A session once seen stays theirs until it is seen empty: its marked processes may end first."""
        found = {process.pid: process for process in processes.marked(self.mark, (VARIABLE,)) + self._supervisors()}
        if self._sessions:
            found.update((p.pid, p) for p in processes.snapshot() if p.session in self._sessions)
        # session 0 is "outside of this pid namespace", and our own is never theirs
        self._sessions = {process.session for process in found.values()} - {0, os.getsid(0)}
        return [found[pid] for pid in sorted(found)]

    def _supervisors(self) -> List[Process]:
        """The step's supervisor and the sudo that called it, where it runs as root."""
        own = os.getsid(0)
        return [p for p in processes.snapshot() if p.session != own and _is_told(p.pid, self.mark.encode())]

    def freeze(self) -> List[Process]:
        """Stop them all, until a look finds no new one."""
        frozen: Dict[Tuple[int, int], Process] = {}
        while True:
            new = [p for p in self.members() if (p.pid, p.started) not in frozen]
            if not new:
                return list(frozen.values())
            for process in new:
                _send(process, signal.SIGSTOP)
                frozen[process.pid, process.started] = process

    def gone_within(self, seconds: float) -> bool:
        """Wait until none is left, for so long at most."""
        deadline = time.monotonic() + seconds
        while self.members():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _is_told(pid: int, word: bytes) -> bool:
    """Whether a process of root's or of our own user has this word among its arguments; nobody else's can hold us up."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as f:
            return word in f.read().split(b"\0") and os.fstat(f.fileno()).st_uid in (0, os.geteuid())
    except OSError:
        return False


def _ignores(process: Process, number: int) -> bool:
    """Whether asking with this signal is of no use: interactive shells ignore SIGTERM."""
    try:
        with open("/proc/%d/status" % process.pid) as f:
            masks = [line.split()[1] for line in f if line.startswith("SigIgn:")]
    except OSError:
        return False
    return bool(masks) and bool(int(masks[0], 16) >> (number - 1) & 1)


def _send(process: Process, number: int) -> None:
    if processes.alive(process.pid, process.started):
        # gone meanwhile, or another user's: the caller sees it among those that did not end
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
