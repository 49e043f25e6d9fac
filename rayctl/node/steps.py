# SPDX-License-Identifier: Apache-2.0
"""One command in a login shell of its own, as Ray's launcher runs it.

`bash --login -i` in its own session, stdin closed, `.bashrc` read. The command travels in a file, so it is never quoted,
split or seen in `ps`. Output goes to a log file and is read back from there: a background child that keeps the file open
never holds the step, and 200 MB of output cost neither memory nor the last lines.
"""

from __future__ import annotations

import codecs
import os
import shlex
import signal
import subprocess
import time
import uuid
from typing import Any, Callable, Dict, List, NamedTuple, Optional

from . import ending, noise
from .state import NodeError

TAIL_LINES, TAIL_BYTES, LINE_LENGTH = 20, 16384, 500
CHUNK = 65536  # at most this much of a step's output is sent per look
SHOW_EVERY_S = 0.2
# Whether a line of a login file reads .bashrc itself, as Debian's .profile and Red Hat's .bash_profile do.
READS_BASHRC = (
    r"(^|NL)([^#NL]*[[:space:];&])?(\.|source)[[:space:]]+[\"']?(~|\$HOME|\$\{HOME\}|/[^[:space:]]*)/\.bashrc".replace(
        "NL", "\n"
    )
)
# .bashrc counts, but it is not read twice: with conda or pyenv in it that is a tenth of a second and more for each command.
BASHRC = (
    'for _f in ~/.bash_profile ~/.bash_login ~/.profile; do [ ! -r "$_f" ] || break; done; '
    '_t=; [ ! -r "$_f" ] || IFS= read -r -d "" _t < "$_f" || :; _p=%s; '
    "[[ $_t =~ $_p ]] || [ ! -r ~/.bashrc ] || . ~/.bashrc; unset _f _t _p; " % shlex.quote(READS_BASHRC)
)
# The variables are what Ray's launcher sets for every command; a value from the login files wins.
PRELUDE = (
    BASHRC + 'PATH="${RAYCTL_PATH:+$RAYCTL_PATH:}$PATH"; unset RAYCTL_PATH; '
    'export PATH OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" PYTHONWARNINGS="${PYTHONWARNINGS:-ignore}"; '
)
NEVER_BEGAN = (
    "rayctl: the login shell ended with exit code %d before it came to the command: "
    "look for `exit`, `exec` or `set -e` in ~/.bash_profile, ~/.profile and ~/.bashrc on the node"
)


class Result(NamedTuple):
    """How a step ended: state ok | failed | timeout | stopped, exit code, seconds, last lines, path of the whole log.

    A death by signal n is exit code 128 + n, as in a shell.
    """

    state: str
    rc: int
    seconds: float
    tail: List[str]
    log: str


def login_shell(script: str, begun: str, check: str = "") -> List[str]:
    """The argv that runs a script file the way a person's login would, and leaves the file `begun` when it comes to it.

    `check` is shell text of ours that goes first. Both run in a subshell: an `exit` in them would make the login shell say
    "logout".
    """
    flag = ": >| %s; " % shlex.quote(begun)
    return ["/bin/bash", "--login", "-i", "-c", "%s%s(%s. %s)" % (PRELUDE, flag, check, shlex.quote(script))]


class Step:
    """A command that is going to run. `start()` it, then `look()` until that gives a result; `stop()` ends it.

    `mark` is known before there is a process, so that a step can be found and ended even when its runner is killed.
    """

    def __init__(self, command: str, env: Dict[str, str], log: str, timeout_s: Optional[float] = None, check: str = "") -> None:
        self.mark = uuid.uuid4().hex
        self.command, self.log, self.timeout_s = command, log, timeout_s
        self._env = dict(env, **{ending.VARIABLE: self.mark})
        self._script, self._begun = log + ".sh", log + ".begun"
        self._argv = login_shell(self._script, self._begun, check)
        self._quiet = noise.Quiet()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def start(self) -> None:
        """Write the script and start the shell. Raises NodeError when the machine does not let us."""
        try:
            self._write_script()
            with open(self.log, "wb") as out, open(os.devnull, "rb") as null:
                os.fchmod(out.fileno(), 0o600)
                self.began = time.monotonic()
                self.child = subprocess.Popen(
                    self._argv, stdin=null, stdout=out, stderr=subprocess.STDOUT, env=self._env, start_new_session=True
                )
            self._reader = open(self.log, "rb")  # noqa: SIM115
        except OSError as e:
            raise NodeError("cannot start a command: %s: %s" % (e.filename, e.strerror)) from None

    def _write_script(self) -> None:
        if os.path.exists(self._begun):
            os.unlink(self._begun)
        fd = os.open(self._script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # a file name in the command may be no UTF-8, and a login without a locale is no reason to change any byte
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
            f.write(self.command + "\n")

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began

    def output(self, last: bool = False) -> str:
        """What it printed since the last call; the middle is left out when it prints faster than it is read."""
        size = os.fstat(self._reader.fileno()).st_size
        skipped = size - self._reader.tell() - CHUNK
        if skipped > 0:
            self._reader.seek(skipped, os.SEEK_CUR)
        data = self._quiet.feed(self._reader.read(CHUNK)) + (self._quiet.rest() if last else b"")
        text = self._decoder.decode(data, last)
        return "[%d bytes left out, see the log]\n%s" % (skipped, text) if skipped > 0 else text

    def look(self) -> Optional[Result]:
        """The result when it ended by itself or ran out of time, else None."""
        rc = self.child.poll()
        if rc is not None:
            return self._ended(_exit_code(rc))
        if self.timeout_s and self.seconds > self.timeout_s:
            return self.stop("timeout")
        return None

    def stop(self, state: str = "stopped") -> Result:
        """End it with everything it started that still belongs to it."""
        left = ending.end_step(self.mark)
        rc = self.child.poll()
        return self._result(
            state, 128 + signal.SIGKILL if rc is None else _exit_code(rc),
            *["rayctl: %s (pid %d) belongs to it and does not end" % (process.name, process.pid) for process in left],
        )  # fmt: skip

    def close(self) -> None:
        """Give back the log's file descriptor."""
        self._reader.close()

    def _ended(self, rc: int) -> Result:
        if not os.path.exists(self._begun):
            return self._result("failed", rc, NEVER_BEGAN % rc)
        return self._result("ok" if rc == 0 else "failed", rc)

    def _result(self, state: str, rc: int, *remarks: str) -> Result:
        return Result(state, rc, round(self.seconds, 3), tail(self.log) + list(remarks), self.log)


def _exit_code(rc: int) -> int:
    return rc if rc >= 0 else 128 - rc


def tail(path: str) -> List[str]:
    """The last lines of a log, fit for a terminal."""
    try:
        with open(path, "rb") as f:
            f.seek(max(0, f.seek(0, os.SEEK_END) - TAIL_BYTES))
            data = noise.LINES.sub(b"", f.read())
    except OSError as e:
        return ["(the log %s cannot be read: %s)" % (path, e.strerror)]
    lines = data.decode("utf-8", "replace").splitlines()[-TAIL_LINES:]
    return ["".join(c if c.isprintable() or c == "\t" else "?" for c in line[-LINE_LENGTH:]) for line in lines]


def watch(step: Step, tick: Callable[[], Any], cancelled: Callable[[], bool], show: Callable[[str], Any]) -> Result:
    """Follow a step to its end: `show` what it prints five times a second, call `tick` between, heed `cancelled`."""
    try:
        return _follow(step, tick, cancelled, show)
    except BaseException:
        step.stop()  # whatever happened to us, no step runs unwatched
        raise
    finally:
        step.close()


def _follow(step: Step, tick: Callable[[], Any], cancelled: Callable[[], bool], show: Callable[[str], Any]) -> Result:
    pause, shown = 0.002, 0.0
    while True:
        result = step.stop() if cancelled() else step.look()
        if result is not None or time.monotonic() - shown > SHOW_EVERY_S:
            shown = time.monotonic()
            text = step.output(last=result is not None)
            if text:
                show(text)
        if result is not None:
            return result
        tick()
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
