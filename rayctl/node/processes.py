# SPDX-License-Identifier: Apache-2.0
"""Which processes are ours, and how they end: read from /proc, decided by a marker, never by a name.

A node's processes carry `VARIABLE=<cluster_id>/<node>` in their environment: `RAYCTL_NODE` on Ray's own, `RAYCTL_STEP` on
those of set-up steps, `RAYCTL_WATCH` on the one that looks after the head. Some of Ray's processes overwrite the memory in
which their environment lay, but they keep their process session; so ours are the marked processes and all others in their
sessions. Every signal is sent to a pid whose start time was compared right before: a pid that was given to someone else
meanwhile is left alone.

Shipped to nodes: standard library only, Python 3.8 syntax, Linux.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import time
from typing import Iterable, NamedTuple, Sequence

RAY = "RAYCTL_NODE"
STEP = "RAYCTL_STEP"
WATCH = "RAYCTL_WATCH"
LISTENING = "0A"  # TCP_LISTEN as /proc/net/tcp spells it
GCS_GRACE_S = 1.0  # asked to end, a GCS waits 5 s for raylets of other nodes that are connected; it loses nothing without
KILL_WAIT_S = 20.0  # what a kernel may need to take a killed process down that held 100 GB, or a GPU
THREADS = 17  # their number's place in /proc/<pid>/stat, behind the name: proc(5)
MACHINE_ID_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


class Process(NamedTuple):
    """One process. `started` is in clock ticks since boot: with the pid it names a process for as long as the machine is up."""

    pid: int
    started: int
    name: str
    session: int


def snapshot() -> list[Process]:
    """All living processes of the machine; zombies are not living."""
    found = (find(int(entry)) for entry in os.listdir("/proc") if entry.isdigit())
    return [process for process in found if process is not None]


def alive(pid: int, started: int) -> bool:
    """Whether the process that had this pid and start time still lives."""
    process = find(pid)
    return process is not None and process.started == started


def find(pid: int) -> Process | None:
    """The process with this pid as /proc/<pid>/stat tells it; None when it is gone or a zombie.

    A process whose first thread has ended while others have not is no zombie yet: those hold its files, locks and ports.
    """
    return parse(pid, _text(f"/proc/{pid}/stat"))


def parse(pid: int, text: str) -> Process | None:
    """The process that this text of a /proc/<pid>/stat tells of; None for a zombie, and for no such text."""
    # the name stands in brackets and may itself hold brackets and blanks
    head, bracket, tail = text.rpartition(")")
    fields = tail.split()
    if not bracket or (fields[0] in "ZXx" and int(fields[THREADS]) < 2):
        return None
    return Process(pid, started=int(fields[19]), name=head.split("(", 1)[1], session=int(fields[3]))


def marked(marker: str, variables: Sequence[str] = (RAY,)) -> list[Process]:
    """Living processes marked with `marker` in one of `variables`, and all others in their sessions.

    Never this process nor anything in its session. Processes whose environment may not be read count by their session only.
    """
    return _Family(marker, variables).members()


def stop(
    marker: str,
    *,
    order: Sequence[str] = ("raylet", "gcs_server"),
    grace_s: float = 5.0,
    variables: Sequence[str] = (RAY,),
) -> list[Process]:
    """End all of `marked`: SIGTERM to the names in `order`, one name after the other, then SIGKILL to what is left.

    A raylet that is asked takes its agents and workers along, so it goes first. `grace_s` is what each name in `order` gets.
    Returns those that did not end: normally none.
    """
    family = _Family(marker, variables)
    for name in order:
        patience_s = min(grace_s, GCS_GRACE_S) if name == "gcs_server" else grace_s
        _ask([process for process in family.members() if process.name == name], patience_s)
    return _kill(family)


def end(processes: Iterable[Process], grace_s: float = 5.0) -> list[Process]:
    """End exactly these: SIGTERM, and SIGKILL after `grace_s` seconds. Returns those that did not end."""
    rest = _ask(list(processes), grace_s)
    _send(rest, signal.SIGKILL)
    return _wait(rest, KILL_WAIT_S)


def who_listens(port: int) -> Process | None:
    """The process that listens on this TCP port; None when there is none, or when it is another user's and hidden from us."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    if not sockets:
        return None
    return next((process for process in snapshot() if _holds(process.pid, sockets)), None)


def boot_id() -> str:
    """A uuid that is new after each boot of the machine."""
    return _text("/proc/sys/kernel/random/boot_id").strip()


def uptime() -> float:
    """Seconds since the machine booted: a clock that nobody sets."""
    return float(_text("/proc/uptime").split()[0])


def machine_id(files: Sequence[str] = MACHINE_ID_FILES) -> str:
    """32 hex digits that stay over reboots. Machines without one of their own get theirs from the host name."""
    for path in files:
        written = _text(path).strip()
        if re.fullmatch("[0-9a-f]{32}", written):
            return written
    return machine_id_of(socket.gethostname())


def machine_id_of(hostname: str) -> str:
    """The machine id of a host that has none of its own."""
    import uuid

    return uuid.uuid5(uuid.NAMESPACE_DNS, hostname).hex


class _Family:
    """The processes of one marker, followed while they end.

    A session once seen with a marked process stays ours until it is seen empty: its marked processes may end before the rest.
    """

    def __init__(self, marker: str, variables: Sequence[str]) -> None:
        self._entries = {f"{variable}={marker}".encode() for variable in variables}
        self._variables = tuple(f"{variable}=".encode() for variable in variables)
        self._sessions: set[int] = set()

    def members(self) -> list[Process]:
        """Those alive now, without this process's own session and without processes that bear another node's mark."""
        own = os.getsid(0)
        marks = {process: self._marks(process) for process in snapshot() if process.session != own}
        carriers = {process for process, found in marks.items() if found & self._entries}
        # session 0 is "outside of this pid namespace": there it says nothing about kinship
        sessions = self._sessions.union(process.session for process in carriers) - {0}
        kin = {process for process, found in marks.items() if process.session in sessions and not found}
        self._sessions = {process.session for process in carriers | kin} & sessions
        return sorted(carriers | kin)

    def _marks(self, process: Process) -> set[bytes]:
        return {entry for entry in _environment(process.pid) if entry.startswith(self._variables)}


def _ask(processes: list[Process], grace_s: float) -> list[Process]:
    """SIGTERM; returns those that live on after `grace_s` seconds."""
    _send(processes, signal.SIGTERM)
    return _wait(processes, grace_s)


def _kill(family: _Family) -> list[Process]:
    """SIGKILL until none is left; again and again, as members may have forked between a look and its signals."""
    deadline = time.monotonic() + KILL_WAIT_S
    rest = family.members()
    while rest and time.monotonic() < deadline:
        _send(rest, signal.SIGKILL)
        _wait(rest, 0.1)
        rest = family.members()
    return rest


def _send(processes: Iterable[Process], number: int) -> None:
    for process in processes:
        if alive(process.pid, process.started):
            # gone meanwhile, or another user's: the caller sees it among those that did not end
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process.pid, number)


def _wait(processes: list[Process], seconds: float) -> list[Process]:
    """Those of `processes` that still live after at most `seconds`."""
    deadline = time.monotonic() + seconds
    pause = 0.005
    rest = [process for process in processes if alive(process.pid, process.started)]
    while rest and time.monotonic() < deadline:
        time.sleep(pause)
        pause = min(pause * 1.5, 0.05)
        rest = [process for process in rest if alive(process.pid, process.started)]
    return rest


def _environment(pid: int) -> list[bytes]:
    """The entries of a process's environment; none when it is gone or another user's."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []


def _listening_inodes(port: int) -> set[str]:
    rows = (row.split() for table in ("tcp", "tcp6") for row in _text(f"/proc/net/{table}").splitlines()[1:])
    return {row[9] for row in rows if row[3] == LISTENING and int(row[1].rpartition(":")[2], 16) == port}


def _holds(pid: int, sockets: set[str]) -> bool:
    return any(link in sockets for link in _links(f"/proc/{pid}/fd"))


def _links(folder: str) -> Iterable[str]:
    try:
        names: tuple[str, ...] = tuple(os.listdir(folder))
    except OSError:
        return
    for name in names:
        try:
            yield os.readlink(os.path.join(folder, name))
        except OSError:
            continue  # closed meanwhile


def _text(path: str) -> str:
    """A small file's text; empty when it is not there (any more) or not ours to read."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
