# SPDX-License-Identifier: Apache-2.0
"""One command in a login shell of its own, as Ray's launcher runs it.

`bash --login -i` in its own session, stdin closed, `.bashrc` read. The command travels in a file, so it is never quoted,
split or seen in `ps`. Output goes to a log file and is read back from there: a background child that keeps the file open
never holds the step, and 200 MB of output cost neither memory nor the last lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import time
import uuid
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import processes

TAIL_LINES, TAIL_BYTES, LINE_LENGTH = 20, 16384, 500
CHUNK = 65536  # at most this much of a step's output is sent per look
GRACE_S = 3.0
# An interactive bash without a terminal always says these two; they are never the user's concern.
NO_JOB_CONTROL = re.compile(
    r"^bash: (cannot set terminal process group \(-?\d+\): Inappropriate ioctl for device|"
    r"no job control in this shell)\r?\n?",
    re.M,
)
# The variables are what Ray's launcher sets for every command; a value from the login files wins.
PRELUDE = (
    "[ ! -r ~/.bashrc ] || . ~/.bashrc; "
    'PATH="${RAYCTL_PATH:+$RAYCTL_PATH:}$PATH"; unset RAYCTL_PATH; '
    'export PATH OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONWARNINGS="${PYTHONWARNINGS:-ignore}"; '
)


class Result(NamedTuple):
    """How a step ended: state ok | failed | timeout | stopped, exit code, seconds, last lines, path of the whole log."""

    state: str
    rc: int
    seconds: float
    tail: List[str]
    log: str


def login_shell(script: str, check: str = "") -> List[str]:
    """The argv that runs a script file the way a person's login would; `check` is shell text of ours that goes first.

    Both run in a subshell: an `exit` in them would make the login shell say "logout".
    """
    return ["/bin/bash", "--login", "-i", "-c", "%s(%s. %s)" % (PRELUDE, check, shlex.quote(script))]


class Step:
    """A running command. `look()` again and again until it gives a result; `stop()` ends it and all its children."""

    def __init__(self, command: str, env: Dict[str, str], log: str, timeout_s: Optional[float] = None, check: str = "") -> None:
        self.mark = uuid.uuid4().hex
        self.log, self.timeout_s = log, timeout_s
        script = log + ".sh"
        with os.fdopen(os.open(script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", errors="surrogateescape") as f:
            f.write(command + "\n")
        self.began = time.monotonic()
        with open(log, "wb") as out, open(os.devnull, "rb") as null:
            os.fchmod(out.fileno(), 0o600)
            self.child = subprocess.Popen(
                login_shell(script, check), stdin=null, stdout=out, stderr=subprocess.STDOUT,
                env=dict(env, RAYCTL_STEP_RUN=self.mark), start_new_session=True,
            )  # fmt: skip
        self._reader = open(log, "rb")  # noqa: SIM115

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began

    def output(self) -> str:
        """What it printed since the last call; the middle is left out when it prints faster than it is read."""
        size = os.fstat(self._reader.fileno()).st_size
        skipped = size - self._reader.tell() - CHUNK
        if skipped > 0:
            self._reader.seek(skipped, os.SEEK_CUR)
        text = NO_JOB_CONTROL.sub("", self._reader.read(CHUNK).decode("utf-8", "replace"))
        return "[%d bytes left out, see the log]\n%s" % (skipped, text) if skipped > 0 else text

    def look(self) -> Optional[Result]:
        """The result when it ended by itself or ran out of time, else None."""
        rc = self.child.poll()
        if rc is not None:
            return self._result("ok" if rc == 0 else "failed", rc)
        if self.timeout_s and self.seconds > self.timeout_s:
            return self.stop("timeout")
        return None

    def stop(self, state: str = "stopped") -> Result:
        """End it with everything it started that still belongs to it."""
        end_run(self.mark, self.child.pid)
        return self._result(state, self.child.wait())

    def close(self) -> None:
        """Give back the log's file descriptor."""
        self._reader.close()

    def _result(self, state: str, rc: int) -> Result:
        return Result(state, rc, round(self.seconds, 3), tail(self.log), self.log)


def end_run(mark: str, leader: int = 0) -> None:
    """End all processes of the step with this mark, wherever they hid; `leader` is its shell.

    An interactive bash ignores SIGTERM and would go on with the next command of its list once the present one is gone,
    so the shell gets SIGHUP and goes first.
    """
    if leader:
        _signal(leader, signal.SIGHUP)
    for sig in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + GRACE_S
        while time.monotonic() < deadline:
            left = processes.marked(mark, ("RAYCTL_STEP_RUN",))
            if not left:
                return
            for process in left:
                if sig == signal.SIGKILL or process.pid != leader:
                    _signal(process.pid, sig)
            time.sleep(0.05)


def _signal(pid: int, sig: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def tail(path: str) -> List[str]:
    """The last lines of a log, fit for a terminal."""
    try:
        with open(path, "rb") as f:
            size = f.seek(0, os.SEEK_END)
            f.seek(max(0, size - TAIL_BYTES))
            text = f.read().decode("utf-8", "replace")
    except OSError as e:
        return ["(the log %s cannot be read: %s)" % (path, e.strerror)]
    lines = NO_JOB_CONTROL.sub("", text).splitlines()[-TAIL_LINES:]
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line[-LINE_LENGTH:]) for line in lines]


def watch(step: Step, tick: Callable[[], Any], cancelled: Callable[[], bool], show: Callable[[str], Any]) -> Result:
    """Follow a step to its end: `show` what it prints five times a second, call `tick` between, heed `cancelled`."""
    pause, told = 0.002, 0.0
    while True:
        result = step.stop() if cancelled() else step.look()
        if result is not None or time.monotonic() - told > 0.2:
            told = time.monotonic()
            text = step.output()
            if text:
                show(text)
        if result is not None:
            step.close()
            return result
        tick()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
