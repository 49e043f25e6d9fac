# SPDX-License-Identifier: Apache-2.0
"""Which nodes Ray itself says are there: the only proof that a worker joined."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rayctl.errors import Refused, Unreachable
from rayctl.gcs.errors import GcsUnavailable
from rayctl.operations import tokens
from rayctl.operations.machines import the_head
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision.nodeplan import gcs_port
from rayctl.transport.ssh import SshTransport

if TYPE_CHECKING:
    from rayctl.gcs.autoscaler import AutoscalerClient
    from rayctl.gcs.view import RayNode


def gcs_address(session: Session) -> str:
    """Where the head's GCS listens, as host:port. Raises RayctlError when there is no head."""
    head = the_head(session)
    assert head.addresses is not None
    address = head.addresses.internal
    return f"{f'[{address}]' if ':' in address else address}:{_port(session, head)}"


def _port(session: Session, head: Node) -> int:
    """Where it listens now, as the head remembers; before its first start, where it is going to."""
    transport = session.transport(head)
    ray = transport.probe(session.mark(head))["ray"] if isinstance(transport, SshTransport) else None
    return int(ray["port"]) if ray else gcs_port(session.deployment, head)


@contextmanager
def _way_to(session: Session) -> Iterator[str]:
    """Where to connect to: a socket that leads through ssh, empty where the address itself will do.

    A head whose sshd forwards nothing may still be reached straight: machines of one network need no tunnel.
    """
    head = the_head(session)
    transport = session.transport(head)
    if not isinstance(transport, SshTransport):
        yield ""
        return
    _require_gcs(session, head, transport)
    try:
        socket = transport.forward("127.0.0.1", _port(session, head))
    except (Refused, Unreachable):
        yield ""
        return
    yield f"unix:{socket}"


def _require_gcs(session: Session, head: Node, transport: SshTransport) -> None:
    """Refuse to ask where our head's GCS does not run: whoever listens there now must not be sent the cluster's token."""
    known, glance = transport.probe(session.mark(head))["ray"], transport.glance()
    processes = known["processes"] if known else ()
    if not any(name == "gcs_server" and glance.alive(pid, started) for pid, started, name in processes):
        raise GcsUnavailable(gcs_address(session), "no GCS that rayctl started runs there")


@contextmanager
def client(session: Session, timeout_s: float) -> Iterator[AutoscalerClient]:
    """A client of the head's GCS, which may also tell it what an autoscaler tells."""
    from rayctl.gcs.autoscaler import AutoscalerClient  # here, since it costs grpc's import

    with _way_to(session) as via, AutoscalerClient(
        gcs_address(session), token=tokens.known(session), timeout_s=timeout_s, via=via
    ) as found:  # fmt: skip
        yield found


def wait(
    session: Session, nodes: Sequence[Node], deadline_s: float, on_change: Callable[[int], None] = lambda _: None
) -> dict[str, RayNode]:
    """Wait until Ray knows all of these nodes; those that it knows by then, by the provider's node id."""
    from rayctl.gcs.client import wait_for_nodes  # here, since it costs grpc's import

    with _way_to(session) as via:
        found = wait_for_nodes(
            gcs_address(session), {node.id for node in nodes}, deadline_s=deadline_s, token=tokens.known(session),
            clock=time.monotonic, sleep=time.sleep, on_change=on_change, via=via,
        )  # fmt: skip
    return {node.instance_id: node for node in found}


__all__ = ["client", "gcs_address", "wait"]
