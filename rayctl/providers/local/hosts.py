# SPDX-License-Identifier: Apache-2.0
"""The declared hosts as nodes and as connections; no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rayctl.config.files import expand_local
from rayctl.providers.base import Addresses, Kind, Node, NodeState
from rayctl.transport.connection import Connection, Ssh

PYTHON = ("python3", "/usr/libexec/platform-python")
NOTHING = Ssh()


@dataclass(frozen=True)
class Host:
    """One declared host. `ssh` holds what the file says of this host alone."""

    name: str
    address: str
    kind: Kind
    type: str
    ssh: Ssh = NOTHING
    python: str = ""
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, settings: Mapping[str, Any], folder: Path) -> Host:
        """From an item of the settled `hosts:` list of a cluster file in `folder`."""
        given = {key: value for key, value in settings.items() if value is not None}
        key = str(expand_local(given["key"], folder)) if "key" in given else ""
        return cls(
            name=given["name"], address=given["address"], kind=Kind.HEAD if given.get("head") else Kind.WORKER,
            type=given["type"], python=given.get("python", ""),
            ssh=Ssh(given.get("user", ""), given.get("port", 0), key, host_key=given.get("host_key", "")),
            resources=given.get("resources", {}), labels=given.get("labels", {}),
        )  # fmt: skip

    def node(self) -> Node:
        """The host as a node of which nothing is known yet."""
        return Node(
            id=self.name, name=self.name, kind=self.kind, type=self.type, state=NodeState.UNKNOWN, launch_token="",
            addresses=Addresses(self.address), resources=self.resources, labels=self.labels,
        )  # fmt: skip

    def connection(self, cluster: str, common: Ssh, *, tells_keys: bool = False) -> Connection:
        """How the host is reached; `common` is what the file says of all hosts, `tells_keys` is `Connection`'s."""
        own = self.ssh
        ssh = replace(
            common, user=own.user or common.user, port=own.port or common.port, key=own.key or common.key, host_key=own.host_key
        )
        return Connection(
            kind="ssh", name=self.name, address=self.address, state_dir=f"~/.rayctl/{cluster}", ssh=ssh,
            python=(self.python,) if self.python else PYTHON, tells_keys=tells_keys,
        )  # fmt: skip
