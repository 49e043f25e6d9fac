# SPDX-License-Identifier: Apache-2.0
"""Declared hosts that are folders of this machine: what rayctl runs on hosts runs for real, only ssh is left out.

Each has a home, a place for claims and a machine id of its own. The look is the real script; requests are answered by the
node's own code, in a process each.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError, Unreachable
from rayctl.node.wire import Message
from rayctl.transport import glance
from rayctl.transport.connection import Connection
from rayctl.transport.glance import Glance
from rayctl.transport.reach import Reach
from rayctl.transport.ssh import SshTransport

ANSWER = """
import json, sys
from rayctl.node import claims, ops, processes
claims.PLACE, processes.machine_id = sys.argv[1], lambda: sys.argv[2]
print(json.dumps(ops.answer(json.load(sys.stdin))))
"""


@dataclass(frozen=True)
class FolderHost:
    """A host in a folder. While there is a file `off` beside it, it does not answer."""

    folder: Path

    @property
    def place(self) -> Path:
        """Where claims lie."""
        return self.folder / "var-tmp"

    @property
    def machine_id(self) -> str:
        """32 hex digits that no other host has."""
        return hashlib.sha256(str(self.folder).encode()).hexdigest()[:32]

    def run(self, *argv: str, text: str = "") -> bytes:
        """The output of a command there."""
        if self.folder.with_name("off").exists():
            raise Unreachable(f"{self.folder.name} does not answer")
        self.place.mkdir(parents=True, exist_ok=True, mode=0o700)
        env = {**os.environ, "HOME": str(self.folder)}
        return subprocess.run(argv, input=text.encode(), env=env, capture_output=True, check=True).stdout

    def look(self, state_dir: str) -> Glance:
        """What the host tells."""
        return glance.parse(self.run("sh", "-c", glance.command(state_dir, self.machine_id, str(self.place))))


class FolderTransport(SshTransport):
    """Asks a host without ssh."""

    def __init__(self, host: FolderHost, connection: Connection) -> None:
        self.host, self.connection = host, connection

    def ask(self, request: Mapping[str, Any]) -> Message:
        """See `SshTransport`."""
        words = (sys.executable, "-c", ANSWER, str(self.host.place), self.host.machine_id)
        text = json.dumps({**request, "state_dir": self.connection.state_dir})
        reply: Message = json.loads(self.host.run(*words, text=text))
        if reply.get("failed"):
            raise RayctlError(f"{self.connection.name}: {reply['message']}")
        return reply


class FolderReach(Reach):
    """Reaches hosts in folders; like the real one it looks at each host once, until `forget`."""

    def __init__(self, hosts: Path) -> None:
        self._folders = hosts
        self._known: dict[str, Glance | Unreachable] = {}

    def look(self, connections: Sequence[Connection]) -> Mapping[str, Glance | Unreachable]:
        """See `Reach`."""
        for connection in connections:
            if connection.name not in self._known:
                self._known[connection.name] = self._answer(connection)
        return {connection.name: self._known[connection.name] for connection in connections}

    def _answer(self, connection: Connection) -> Glance | Unreachable:
        try:
            return self._host(connection).look(connection.state_dir)
        except Unreachable as silence:
            return silence

    def _host(self, connection: Connection) -> FolderHost:
        return FolderHost(self._folders / connection.name)

    def transport(self, connection: Connection) -> FolderTransport:
        """See `Reach`."""
        return FolderTransport(self._host(connection), connection)

    def forget(self, names: Collection[str] | None = None) -> None:
        """See `Reach`."""
        self._known = {name: known for name, known in self._known.items() if names is not None and name not in names}

    def close_masters(self) -> None:
        """There are none."""
