# SPDX-License-Identifier: Apache-2.0
"""Root's side of a step that runs as root: it does what the runner, as another user, may not: end the step.

`sudo` starts it (`sudo.py`). One request comes over its line to the runner, one outcome goes back. The end of the line is
the order to end the step with all that it started; a runner that is killed gives that order too.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
from typing import Any, BinaryIO, Dict, List, NamedTuple, NoReturn

from .processes import Process
from .steps import Command, LoginShell, cannot_start

CANNOT_START = 126
KILLED = 128 + signal.SIGKILL
NOT_THE_STEPS = ("LC_ALL", "SUDO_COMMAND")  # what only `sudo.py`'s way of calling sudo brought about


class Outcome(NamedTuple):
    """How a step ended: exit code, why it did not come to its command (else empty), and which processes did not end."""

    rc: int
    excuse: str
    left: List[Process]


def encode(outcome: Outcome) -> bytes:
    """An outcome as the one line that goes to the runner."""
    return json.dumps(outcome).encode("utf-8") + b"\n"


def decode(line: bytes) -> Outcome:
    """An outcome from its line."""
    rc, excuse, left = json.loads(line.decode("utf-8"))
    return Outcome(rc, excuse, [Process(*process) for process in left])


def main(line: socket.socket, requests: BinaryIO, out: int) -> None:
    """Run the step that is asked for in `requests`, what comes over `line`; `out` is its log, open for writing."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)
    command = Command(*json.loads(requests.readline().decode("utf-8")))
    _go_where_root_may_be()
    import tempfile

    try:
        # not beside the log: root may not read, and not write, in a home that is mounted by NFS
        with tempfile.TemporaryDirectory(prefix="rayctl-") as folder:
            outcome = supervise(LoginShell(_as_root(command), os.path.join(folder, "step")), line, out)
    except OSError as e:
        outcome = Outcome(CANNOT_START, "rayctl: %s" % cannot_start(e), [])
    with contextlib.suppress(OSError):
        line.sendall(encode(outcome))


def _leave(*_: Any) -> NoReturn:
    raise SystemExit(1)


def _as_root(command: Command) -> Command:
    """The command in the environment that sudo made, with the variables of its own on top."""
    env: Dict[str, str] = {name: value for name, value in os.environ.items() if name not in NOT_THE_STEPS}
    return command._replace(env=dict(env, **command.env))


def _go_where_root_may_be() -> None:
    """Stay in the folder in which the user's login began, unless root has no right to it."""
    try:
        os.chdir(".")
    except OSError:
        os.chdir("/")


def supervise(shell: LoginShell, line: socket.socket, out: int) -> Outcome:
    """Run the shell until it ends by itself or the line ends. Raises OSError when it cannot start."""
    shell.start(out)
    try:
        left = _left_when_over(shell, line)
    except BaseException:
        shell.end()  # whatever happened to us, no step runs unwatched
        raise
    rc = shell.poll()
    if rc is None:
        return Outcome(KILLED, "", left)
    return Outcome(rc, shell.excuse(), left)


def _left_when_over(shell: LoginShell, line: socket.socket) -> List[Process]:
    pause, order = 0.002, line.fileno()
    while shell.poll() is None:
        if order in select.select([order, *shell.signs()], [], [], pause)[0]:  # all that the runner still sends is the end
            return shell.end()
        pause = min(pause * 1.5, 0.05)
    return []
