# SPDX-License-Identifier: Apache-2.0
"""What every transport can do with one node, whatever lies between."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from rayctl.transport.channel import Channel
from rayctl.transport.connection import Connection


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

    def put(self, source: Path) -> str:
        """Copy a file into the node's own folder; its path there."""

    def run(self, command: str, env: Mapping[str, str]) -> int:
        """Run one command in a login shell there, with our stdin, stdout and stderr; its exit code."""
