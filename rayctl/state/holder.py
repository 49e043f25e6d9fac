# SPDX-License-Identifier: Apache-2.0
"""Who is at work on a cluster: told to those who wait, and recognised when it is dead.

A process number alone names nobody: it is given again after its process ended, it means another process in another
container, and folders of state are shared between hosts. So a process is its number, its start time, and the place in
which both are valid. Only in its own place can anyone say that it is dead; elsewhere it counts as alive.
"""

from __future__ import annotations

import getpass
import os
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rayctl.errors import Busy
from rayctl.node import processes
from rayctl.state import files

CONTROLLER_KIND, CONTROLLER_VERSION = "controller", 1
PROC = Path("/proc")
T = TypeVar("T")


@dataclass(frozen=True)
class Holder:
    """A process that changes a cluster, and for whom it does.

    `controller` is a uuid kept in the home folder, `started` the process's start in clock ticks since boot, `place` the
    boot and process namespace in which `pid` and `started` are valid, `since` seconds since the epoch.
    """

    operation: str
    pid: int = 0
    started: int = 0
    place: str = ""
    user: str = ""
    host: str = ""
    since: float = 0.0
    controller: str = ""

    def __str__(self) -> str:
        """As in `rayctl up demo (pid 812, anna@laptop, since 2026-01-01 12:03:07)`."""
        if not self.pid:
            return self.operation
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"{self.operation} (pid {self.pid}, {self.user}@{self.host}, since {since})"


UNKNOWN = Holder("another rayctl")


def myself(operation: str, *, controller: str = "", since: float | None = None) -> Holder:
    """This process as a holder. `operation` is what a waiting person reads: `rayctl up demo`."""
    pid = os.getpid()
    return Holder(
        operation=operation,
        pid=pid,
        started=_start_ticks(pid) or 0,
        place=place(),
        user=_user(),
        host=socket.gethostname(),
        since=time.time() if since is None else since,
        controller=controller,
    )


def surely_dead(holder: Holder) -> bool:
    """Whether this holder's process has ended. False where that cannot be known: another host, container or boot."""
    if not holder.pid or holder.place != place():
        return False
    return _start_ticks(holder.pid) != holder.started


def same_process(one: Holder, other: Holder) -> bool:
    """Whether both are the very same process, whatever they say of their operation."""
    return (one.pid, one.started, one.place) == (other.pid, other.started, other.place)


def controller_id(path: Path) -> str:
    """The identity of this controller, made at its first use. `path` is `paths.controller_file`."""
    files.create(path, CONTROLLER_KIND, CONTROLLER_VERSION, {"id": str(uuid.uuid4())})
    data = files.read(path, CONTROLLER_KIND, CONTROLLER_VERSION)
    return files.parse(path, _Controller, data or {}).id


def boot_id() -> str:
    """A uuid that the kernel makes at each boot."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def uptime() -> float:
    """Seconds since boot. It goes on while the machine sleeps, and no one sets it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def place() -> str:
    """The boot and the process namespace: two containers of one machine know different processes by one number."""
    return f"{boot_id()}/{(PROC / 'self/ns/pid').readlink()}"


def wait_for(
    attempt: Callable[[], T | Holder],
    *,
    timeout_s: float,
    on_wait: Callable[[Holder], object],
    every_s: float,
    clock: Callable[[], float],
    sleep: Callable[[float], object],
) -> T:
    """What `attempt` gives once it no longer answers with the one who holds it.

    `on_wait` is told each holder once. Raises `Busy` after `timeout_s` seconds, naming the last one.
    """
    deadline, told = clock() + timeout_s, None
    while isinstance(outcome := attempt(), Holder):
        left = deadline - clock()
        if left <= 0:
            raise _busy(outcome, timeout_s)
        if outcome != told:
            on_wait(outcome)
            told = outcome
        sleep(min(every_s, left))
    return outcome


@dataclass(frozen=True)
class _Controller:
    id: str


def _busy(holder: Holder, waited_s: float) -> Busy:
    waited = f" Waited {waited_s:g} s for it to end." if waited_s > 0 else ""
    wait = "Run the command again when it is done, or wait for it with --lock-timeout SECONDS."
    end = f" If it hangs, end process {holder.pid} on {holder.host}." if holder.pid else ""
    return Busy(f"{holder} is at work on this cluster.{waited}", hint=wait + end)


def _start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when there is none."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    process = processes.parse(pid, stat)
    return process.started if process else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        return f"uid {os.getuid()}"
