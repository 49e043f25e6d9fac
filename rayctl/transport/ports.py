# SPDX-License-Identifier: Apache-2.0
"""Ports of this machine that lead to a node's while a command runs there."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from rayctl.errors import RayctlError, UsageError

HERE = "127.0.0.1"
LOCALHOST = ("localhost", HERE)
MAX = 65535


@dataclass(frozen=True)
class Forward:
    """`local` on this machine's loopback leads to `remote` as the node has it, at `host` as the node knows it."""

    local: int
    remote: int
    host: str = "localhost"

    @classmethod
    def parse(cls, text: str) -> Forward:
        """From "PORT" or "LOCAL:REMOTE". Raises `UsageError`."""
        local, _, remote = text.partition(":")
        try:
            found = cls(int(local), int(remote or local))
        except ValueError:
            raise UsageError(f"{text} is no port", hint="Give a PORT, or LOCAL:REMOTE.") from None
        if not (0 < found.local <= MAX and 0 < found.remote <= MAX):
            raise UsageError(f"{text} is no port: they go from 1 to {MAX}")
        return found


def require_free(forwards: Sequence[Forward]) -> None:
    """Raise `RayctlError` where somebody else has the local port, or it is wanted twice."""
    wanted = [forward.local for forward in forwards]
    for port in wanted:
        if wanted.count(port) > 1:
            raise UsageError(f"port {port} of this machine cannot lead to two places")
        try:
            _listening(port).close()
        except OSError as e:
            raise RayctlError(
                f"port {port} of this machine cannot be used: {e.strerror}", hint=f"Take another one: -p LOCAL:{port}."
            ) from None


def free_port(preferred: int) -> int:
    """The preferred local port, or another where somebody has it."""
    for port in (preferred, 0):
        with suppress(OSError), _listening(port) as found:
            return int(found.getsockname()[1])
    raise RayctlError("this machine has no free port")


def answers(forward: Forward) -> bool:
    """Whether something listens at the local port."""
    with socket.socket() as line:
        return line.connect_ex((HERE, forward.local)) == 0


def _listening(port: int) -> socket.socket:
    # as sshd and ssh listen: a connection that is just ending does not count
    return socket.create_server((HERE, port), reuse_port=False)


@contextmanager
def relayed(forwards: Sequence[Forward]) -> Iterator[None]:
    """The same for a node that is this machine: a port that is to lead to itself needs nothing."""
    needed = [forward for forward in forwards if (forward.local, HERE) != (forward.remote, forward.host.replace(*LOCALHOST))]
    require_free(needed)
    with ExitStack() as stack:
        for forward in needed:
            from rayctl.transport.relay import relay  # noqa: PLC0415  few commands forward ports on this machine

            stack.enter_context(relay((HERE, forward.local), (forward.host, forward.remote)))
        yield
