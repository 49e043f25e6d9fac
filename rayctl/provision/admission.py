# SPDX-License-Identifier: Apache-2.0
"""Before a person's own play works on a declared host: how is it reached, and is it a node of the cluster?

The inventory names hosts without asking them. `rayctl up` knows which of them are claimed, a play learns it here, in the way
that Ansible was told to reach the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from rayctl.errors import RayctlError
from rayctl.providers.base import DeclaresHosts, Node
from rayctl.providers.local import claims
from rayctl.provision.deployment import Deployment
from rayctl.transport.ssh import SshTransport


def heed(deployment: Deployment, ssh_options: Mapping[str, tuple[str, ...]]) -> None:
    """Reach hosts with these words for ssh's command line, by host name; before any of them was asked."""
    if isinstance(deployment.provider, DeclaresHosts):
        deployment.provider.ssh_options = ssh_options


def cluster_id(deployment: Deployment, node: Node) -> str | None:
    """The identity of the cluster of this name whose node the host is; None for a host that is free.

    Raises `Unreachable`, and `RayctlError` naming the owner of a host that somebody else has.
    """
    transport = deployment.transport(node)
    assert isinstance(transport, SshTransport)
    seen = transport.glance()
    mine = claims.ours(seen, deployment.config.cluster_name)
    if mine is not None:
        return mine.cluster_id
    if held := next((claim for claim in seen.claims if claim.holds), None):
        raise RayctlError(claims.taken(node.name, asdict(held)), hint=claims.release_hint(asdict(held)))
    return None
