# SPDX-License-Identifier: Apache-2.0
"""Before a person's own play works on a declared host: how is it reached, and is it a node of the cluster?

The inventory names hosts without asking them. `rayctl up` knows which of them are claimed, a play learns it here, in the way
that Ansible was told to reach the host.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict

from rayctl.errors import RayctlError, Unreachable
from rayctl.providers.base import DeclaresHosts, Node
from rayctl.providers.local import claims
from rayctl.provision.deployment import Deployment
from rayctl.state import paths, private, token
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


def fetch_token(deployment: Deployment) -> None:
    """Where another controller made the cluster's Ray token: have it from the head, if the head answers."""
    file = paths.token_file(paths.home(os.environ), deployment.config.cluster_name)
    head = deployment.head
    if head is None or not deployment.config.auth.ray_token or token.read(file):
        return
    transport = deployment.transport(head)
    assert isinstance(transport, SshTransport)
    with suppress(Unreachable):
        found = transport.ask({"op": "token", "state_dir": transport.connection.state_dir}).get("token", "")
        if found:
            private.create(file, str(found).encode())
