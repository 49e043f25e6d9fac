# SPDX-License-Identifier: Apache-2.0
"""What every transport can do with one node, whatever lies between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from rayctl.transport.channel import Channel
from rayctl.transport.connection import Connection
from rayctl.transport.ports import Forward


@dataclass(frozen=True)
class Ends:
    """Where a command's stdin comes from and where its output goes to, as file descriptors; None is our own."""

    stdin: int | None = None
    stdout: int | None = None
    stderr: int = 2


@contextmanager
def into_files(stdout: Path, stderr: Path) -> Iterator[Ends]:
    """Ends that keep what is said, and have no input."""
    with Path(os.devnull).open("rb") as nothing, stdout.open("wb") as out, stderr.open("wb") as err:
        yield Ends(nothing.fileno(), out.fileno(), err.fileno())


OWN_ENDS: Final = Ends()
MARK: Final = "RAYCTL_EXEC"  # a variable by whose value a Ctrl-C finds a command's processes


class Transport(Protocol):
    """One node. Every call raises `Unreachable` when the node does not answer."""

    connection: Connection

    def open(self, request: Mapping[str, Any]) -> Channel:
        """A conversation with the node's end of the line (`node/front.py`)."""

    def probe(self, mark: str) -> dict[str, Any]:
        """What the node remembers and whether its Ray lives (`node/probe.py`); `mark` is `<cluster_id>/<node>`."""

    def rsh(self) -> list[str]:
        """What runs a shell command there that is appended to it, for other programs."""

    def leave_master(self) -> None:
        """Let the next connection be a fresh login, which knows of groups that were given just now."""

    def cancel(self) -> bool:
        """End the run that is under way there; whether there was one."""

    def stop_ray(self, mark: str) -> list[str]:
        """End the node's own Ray (see `probe`); what does not end, in words."""

    def put(self, source: Path) -> str:
        """Copy a file into the node's own folder; its path there."""

    def run(self, command: str, env: Mapping[str, str], forwards: Sequence[Forward] = (), ends: Ends = OWN_ENDS) -> int:
        """Run one command in a login shell there, with our stdin, stdout and stderr or those given; its exit code.

        While it runs, local ports lead to the node's. Raises `RayctlError` when one of them is taken.
        """

    def interrupt(self, mark: str) -> bool:
        """End what runs there with this value of `MARK` in its environment, as Ctrl-C does; whether it has ended."""

    def hold(self, forwards: Sequence[Forward], ready: Callable[[], None]) -> None:
        """Let local ports lead to the node's until Ctrl-C; `ready` is called once they do."""
