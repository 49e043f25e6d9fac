# SPDX-License-Identifier: Apache-2.0
"""One command in a login shell of its own, as Ray's launcher runs it.

`bash --login -i` in its own session, stdin closed, `.bashrc` read. The command travels in a file, so it is never quoted,
split or seen in `ps`. Output goes to a log file and is read back from there: a background child that keeps the file open
never holds the step, and 200 MB of output cost neither memory nor the last lines.
"""

from __future__ import annotations

import codecs
import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Protocol

from . import ending, noise
from .processes import Process
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


class Command(NamedTuple):
    """What a step runs: shell text and its environment, and shell text of ours (`check`) that goes first.

    All its processes carry `mark`. It is known before there is a process, so that a step can be found and ended even when
    its runner is killed.
    """

    text: str
    env: Dict[str, str]
    check: str
    mark: str


def command_of(text: str, env: Dict[str, str], check: str = "") -> Command:
    """A command with a mark of its own."""
    return Command(text, env, check, os.urandom(16).hex())


class Shell(Protocol):
    """What runs the command of a step: a shell of the user that we are, or one of root's (`rootshell.py`)."""

    command: Command

    def start(self, out: int) -> None:
        """Start it, with the file descriptor `out` for all it prints. Raises OSError when the machine does not let us."""

    def poll(self) -> Optional[int]:
        """Its exit code, None while it runs. A death by signal n is 128 + n."""

    def signs(self) -> List[int]:
        """File descriptors that become readable when `poll` may have something new to tell; none where nothing tells of it."""

    def excuse(self) -> str:
        """Why it ended before it came to the command; empty when it came to it."""

    def end(self) -> List[Process]:
        """End it with everything that it started and that belongs to it. Returns what did not end: normally nothing."""

    def close(self) -> None:
        """Give back what it holds on our side."""


class LoginShell:
    """A shell of the user that we are. `files` is how the paths of its two files start: the command, and that it has begun."""

    def __init__(self, command: Command, files: str) -> None:
        self.command = command
        self._script, self._begun = files + ".sh", files + ".begun"
        self._signs: List[int] = []

    def start(self, out: int) -> None:
        """See `Shell`."""
        self._write_script()
        argv = login_shell(self._script, self._begun, self.command.check)
        env = dict(self.command.env, **{ending.VARIABLE: self.command.mark})
        with open(os.devnull, "rb") as null:
            self._child = subprocess.Popen(
                argv, stdin=null, stdout=out, stderr=subprocess.STDOUT, env=env, start_new_session=True
            )
        with contextlib.suppress(AttributeError, OSError):  # Python 3.8, old kernels, containers that do not allow it
            self._signs = [os.pidfd_open(self._child.pid)]

    def _write_script(self) -> None:
        if os.path.exists(self._begun):
            os.unlink(self._begun)
        fd = os.open(self._script, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        # a file name in the command may be no UTF-8, and a login without a locale is no reason to change any byte
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as f:
            f.write(self.command.text + "\n")

    def poll(self) -> Optional[int]:
        """See `Shell`."""
        rc = self._child.poll()
        return 128 - rc if rc is not None and rc < 0 else rc

    def signs(self) -> List[int]:
        """See `Shell`."""
        return self._signs

    def excuse(self) -> str:
        """See `Shell`."""
        return "" if os.path.exists(self._begun) else NEVER_BEGAN % (self.poll() or 0)

    def end(self) -> List[Process]:
        """See `Shell`."""
        running = self._child.poll() is None  # else its number may be another's
        return ending.end_step(self.command.mark, session=self._child.pid if running else 0)

    def close(self) -> None:
        """See `Shell`."""
        while self._signs:
            os.close(self._signs.pop())


class Step:
    """A command that is going to run. `start()` it, then `look()` until that gives a result; `stop()` ends it."""

    def __init__(self, shell: Shell, log: str, timeout_s: Optional[float] = None) -> None:
        self.log, self.timeout_s = log, timeout_s
        self._shell = shell
        self._quiet = noise.Quiet()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def start(self) -> None:
        """Make the log and start the shell. Raises NodeError when the machine does not let us."""
        try:
            with open(self.log, "wb") as out:
                os.fchmod(out.fileno(), 0o600)
                self.began = time.monotonic()
                self._shell.start(out.fileno())
            self._reader = open(self.log, "rb")  # noqa: SIM115
        except OSError as e:
            raise NodeError(cannot_start(e)) from None

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
        rc = self._shell.poll()
        if rc is not None:
            return self._ended(rc)
        if self.timeout_s and self.seconds > self.timeout_s:
            return self.stop("timeout")
        return None

    def rest(self, seconds: float) -> None:
        """Until there may be something to look at, for so long at most."""
        select.select(self._shell.signs(), [], [], seconds)

    def stop(self, state: str = "stopped") -> Result:
        """End it with everything it started that still belongs to it."""
        left = self._shell.end()
        rc = self._shell.poll()
        return self._result(
            state, 128 + signal.SIGKILL if rc is None else rc,
            *["rayctl: %s (pid %d) belongs to it and does not end" % (process.name, process.pid) for process in left],
        )  # fmt: skip

    def close(self) -> None:
        """Give back the file descriptors."""
        self._reader.close()
        self._shell.close()

    def _ended(self, rc: int) -> Result:
        excuse = self._shell.excuse()
        if excuse:
            return self._result("failed", rc, excuse)
        return self._result("ok" if rc == 0 else "failed", rc)

    def _result(self, state: str, rc: int, *remarks: str) -> Result:
        return Result(state, rc, round(self.seconds, 3), tail(self.log) + list(remarks), self.log)


def cannot_start(error: OSError) -> str:
    """The sentence for a shell that the machine did not let us start."""
    return "cannot start a command: %s: %s" % (error.filename, error.strerror)


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
        step.rest(pause)
        pause = min(pause * 1.5, 0.05)
