# SPDX-License-Identifier: Apache-2.0
"""Where the cluster's lease lies: in a file of this machine, or on a head that is reached by ssh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rayctl.providers.base import Node
from rayctl.provision.deployment import Deployment
from rayctl.state import files
from rayctl.state.lease import FileLeaseStore, Lease, LeaseStore, Reading
from rayctl.transport.ssh import SshTransport


class Overtaken(Exception):
    """The lease is ours, but others had it since the cluster was looked at; never leaves `operations`."""


class HostLeaseStore:
    """The lease on a head reached by ssh, in the same file that a rayctl on that head would use.

    `seen` is what the look at the host told of it: the first `read` need not ask again, since `compare_and_set` finds out
    whether it still holds.
    """

    def __init__(self, transport: SshTransport, seen: Reading | None = None) -> None:
        self._transport, self._seen = transport, seen

    def read(self) -> Reading:
        """See `LeaseStore`."""
        seen, self._seen = self._seen, None
        return seen or _reading(self._transport, self._transport.ask({"op": "lease_read"}))

    def compare_and_set(self, expected_generation: int, lease: Lease) -> bool:
        """See `LeaseStore`."""
        request = {"op": "lease_set", "expected": expected_generation, "lease": asdict(lease)}
        return bool(self._transport.ask(request)["stored"])


def seen_on(deployment: Deployment, head: Node) -> Reading:
    """The lease as it was when the cluster was looked at."""
    transport = deployment.transport(head)
    if not isinstance(transport, SshTransport):
        return store_on(deployment, head).read()
    glance = transport.glance()
    return _reading(transport, {"lease": glance.lease, "now": glance.uptime, "boot_id": glance.boot_id})


def store_on(deployment: Deployment, head: Node, seen: Reading | None = None) -> LeaseStore:
    """The lease store of a cluster with this head."""
    transport = deployment.transport(head)
    if isinstance(transport, SshTransport):
        return HostLeaseStore(transport, seen)
    return FileLeaseStore(Path(transport.connection.state_dir) / "lease.json")


def _reading(transport: SshTransport, told: Mapping[str, Any]) -> Reading:
    where = Path(f"{transport.connection.name}:{transport.connection.state_dir}/lease.json")
    known = None if told["lease"] is None else files.parse(where, Lease, told["lease"])
    return Reading(known, told["now"], told["boot_id"])
