# SPDX-License-Identifier: Apache-2.0
"""Run on a head by the scaler's own environment: `python -m rayctl.node.scaler_launch daemon|supervise STATE_DIR WORD ...`

`daemon` notes who it is and becomes the scaler: the words are those behind the interpreter's name. `supervise` is for hosts
without systemd: it keeps one daemon running, in a session of its own that outlives the login.

A daemon that ends with 0 was asked to, one that ends with 3 refuses its cluster file: both stay ended until the next
`rayctl up`. All others are started again: after 1 s, and twice as long each time up to a minute, until one has run that long.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import sys
import time
from typing import Any, List, Optional

from . import processes, state

DAEMON, SUPERVISOR, OUTPUT = "daemon.json", "supervisor.json", "output"
FINAL = (0, 3)
SHORTEST_S, LONGEST_S = 1.0, 60.0
OUTPUT_BYTES = 1 << 20  # after which the next daemon begins a new file


def main(words: List[str]) -> int:
    """Do what the first word says."""
    kind, state_dir, *command = words
    return {"daemon": daemon, "supervise": supervise}[kind](state_dir, command)


def daemon(state_dir: str, command: List[str]) -> int:
    """Become the scaler, with the same pid and start time. Never returns."""
    output = os.path.join(os.path.expanduser(state_dir), "scaler", OUTPUT)
    with contextlib.suppress(FileNotFoundError):
        if os.stat(output).st_size > OUTPUT_BYTES:
            os.replace(output, output + ".1")
    log = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    note(state_dir, DAEMON)
    os.execv(sys.executable, [sys.executable, "-P", *command])  # noqa: S606
    return 1


def note(state_dir: str, name: str) -> None:
    """Write who this process is, for `up` and `down` to find."""
    me = processes.find(os.getpid())
    assert me is not None
    folder = state.folder_of(state_dir)
    state.make_private(folder)
    state.write(os.path.join(folder, name), {"version": state.VERSION, "kind": "scaler", "pid": me.pid, "started": me.started})


class Supervisor:
    """Keeps one daemon running: `argv` is how it is started."""

    def __init__(self, argv: List[str]) -> None:
        self.argv = argv
        self.child: Optional[int] = None
        self.ending = False

    def run(self) -> int:
        """Until a daemon ended for good, or we are asked to end."""
        pause = SHORTEST_S
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        while not self.ending:
            began = time.monotonic()
            code = self._one()
            if code in FINAL or self.ending:
                return code
            pause = next_pause(pause, time.monotonic() - began)
            self._rest(pause)
        return 0

    def _one(self) -> int:
        self.child = os.fork()
        if self.child == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            os.execv(self.argv[0], self.argv)  # noqa: S606
        while True:
            _, status = os.waitpid(self.child, 0)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self.child = None
                return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self.ending and time.monotonic() < end:
            time.sleep(0.1)

    def _end(self, *_: Any) -> None:
        self.ending = True
        if self.child:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.child, signal.SIGTERM)


def next_pause(last_s: float, ran_s: float) -> float:
    """How long to wait before the next daemon, given the last wait and how long the last one ran."""
    return SHORTEST_S if ran_s > LONGEST_S else min(LONGEST_S, last_s * 2)


def supervise(state_dir: str, command: List[str]) -> int:
    """Leave whoever started this, and keep a daemon running; 1 where another supervisor does."""
    lock = os.open(os.path.join(state.folder_of(state_dir), SUPERVISOR + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return 1
    if os.fork() > 0:
        os._exit(0)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    note(state_dir, SUPERVISOR)
    return Supervisor([sys.executable, "-P", "-m", "rayctl.node.scaler_launch", "daemon", state_dir, *command]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
