# SPDX-License-Identifier: Apache-2.0
"""Which nodes Ray itself says are there: the only proof that a worker joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rayctl.errors import RayctlError
from rayctl.gcs.view import RayNode
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision.nodeplan import gcs_port
from rayctl.state import paths, token


def gcs_address(session: Session) -> str:
    """Where the head's GCS listens, as host:port. Raises RayctlError when there is no head."""
    head = session.deployment.head
    if head is None or head.addresses is None:
        raise RayctlError(f"the cluster {session.name} has no head", hint=f"Bring it up: {session.command('up')}")
    address = head.addresses.internal
    return f"{f'[{address}]' if ':' in address else address}:{gcs_port(session.deployment, head)}"


def ray_token(session: Session) -> str:
    """The cluster's Ray token; empty where it was turned off. Callers register it with the redactor before they print."""
    if not session.deployment.config.auth.ray_token:
        return ""
    found = token.read(paths.token_file(session.root, session.name)) or ""
    if found:
        session.bus.register_secret(found)
    return found


def wait(
    session: Session, nodes: Sequence[Node], deadline_s: float, on_change: Callable[[int], None] = lambda _: None
) -> dict[str, RayNode]:
    """Wait until Ray knows all of these nodes; those that it knows by then, by the provider's node id."""
    from rayctl.gcs.client import wait_for_nodes  # here, since it costs grpc's import

    found = wait_for_nodes(
        gcs_address(session), {node.id for node in nodes}, deadline_s=deadline_s, token=ray_token(session),
        clock=time.monotonic, sleep=time.sleep, on_change=on_change,
    )  # fmt: skip
    return {node.instance_id: node for node in found}


__all__ = ["gcs_address", "ray_token", "wait"]
