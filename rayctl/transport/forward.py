# SPDX-License-Identifier: Apache-2.0
"""Ports that only a host sees, as UNIX sockets here: forwarded by the host's master, so no process of ours has to stay."""

from __future__ import annotations

import atexit
import itertools
import os
import select
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rayctl.errors import Refused, Unreachable
from rayctl.transport import failures, masters
from rayctl.transport.connection import Connection

ANSWER_S = 1.0  # a refusal comes within one round trip; most servers speak first, and then the wait is over
CONNECT_S = 30.0
NAME = "forward"
_numbers = itertools.count()


class Forwards:
    """A host's forwarded ports. `prefix` is that of its masters, `ssh` makes the command line of ssh from further options."""

    def __init__(self, connection: Connection, prefix: str, ssh: Callable[..., list[str]]) -> None:
        self._connection, self._prefix, self._ssh = connection, prefix, ssh
        self._sockets: dict[str, Path] = {}

    def open(self, host: str, port: int) -> Path:
        """A socket that leads to this port as the host sees it. Whether anything listens there shows when it is used."""
        target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        if target in self._sockets and not _listens(self._sockets[target]):  # its master has lost the host
            self._sockets.pop(target).unlink(missing_ok=True)
        if target not in self._sockets:
            # a master goes on listening for those that are gone, and in the end can listen no more
            atexit.register(self.close)
            self._sockets[target] = self._opened(target)
        return self._sockets[target]

    def close(self) -> None:
        """End all of them."""
        atexit.unregister(self.close)
        while self._sockets:
            self._end(*self._sockets.popitem())

    def _opened(self, target: str) -> Path:
        self._need_master()
        _sweep()
        path = masters.folder() / f"{NAME}-{os.getpid()}-{next(_numbers)}"
        self._order("forward", f"{path}:{target}")
        if _closed_at_once(path) and "prohibited" in self._reason(target):
            self._end(target, path)
            raise Refused(
                f"{self._connection.name} does not let ssh forward ports, which is the way to {target} there",
                hint="Allow it in sshd's configuration on that host: AllowTcpForwarding yes.",
            )
        return path

    def _end(self, target: str, path: Path) -> None:
        with suppress(Unreachable):  # the master is gone, and it went with it
            self._order("cancel", f"{path}:{target}")
        path.unlink(missing_ok=True)

    def _need_master(self) -> None:
        if not masters.there(self._prefix):
            self._succeed("-T", "-o", "LogLevel=INFO", command="true")

    def _order(self, order: str, forward: str) -> None:
        self._succeed("-O", order, "-L", forward)

    def _succeed(self, *options: str, command: str = "") -> None:
        done = self._call(*options, command=command)
        if done.returncode:
            raise failures.unreachable(self._connection, done.stderr)

    def _reason(self, target: str) -> str:
        """Why a connection was closed at once; through a master ssh does not tell."""
        return self._call("-o", "ControlPath=none", "-o", "LogLevel=INFO", "-T", "-W", target).stderr

    def _call(self, *options: str, command: str = "") -> subprocess.CompletedProcess[str]:
        words = [*self._ssh("-o", "BatchMode=yes", *options), *filter(None, [command])]
        try:
            return subprocess.run(
                words, env=masters.environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                start_new_session=True, timeout=CONNECT_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{self._connection.name} does not answer within {CONNECT_S:g} s") from None


def _sweep() -> None:
    """Remove sockets of processes that were killed."""
    for path in masters.folder().glob(f"{NAME}-*-*"):
        if not Path("/proc", path.name.split("-")[1]).exists():
            path.unlink(missing_ok=True)


def _listens(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        return True
    return False


def _closed_at_once(path: Path) -> bool:
    """Whether a connection is closed without a word: the master accepts it before the host was asked."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(path))
        return bool(select.select([line], [], [], ANSWER_S)[0]) and not line.recv(1)
