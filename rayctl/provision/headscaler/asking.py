# SPDX-License-Identifier: Apache-2.0
"""Requests about scalers to a host's end of the line (`rayctl/node/scaler_ops.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rayctl.errors import RayctlError
from rayctl.node.wire import Message
from rayctl.provision.deployment import Deployment
from rayctl.provision.headscaler.target import Target, chosen
from rayctl.provision.headscaler.wanted import Had
from rayctl.transport import failures
from rayctl.transport.base import Transport
from rayctl.transport.shipping import SCALER
from rayctl.transport.ssh import SshTransport


def ask(transport: Transport, request: Mapping[str, Any]) -> Message:
    """The reply. Raises `Unreachable`, and RayctlError with the host's word for what it cannot do."""
    assert isinstance(transport, SshTransport)  # only declared hosts have scalers
    channel = transport.open({"state_dir": transport.connection.state_dir, **request}, SCALER)
    reply = next(iter(channel), None)
    status = channel.close()
    if reply is None:
        raise failures.ended(transport.connection, status, channel.stderr)
    if reply.get("failed"):
        raise RayctlError(f"{transport.connection.name}: {reply['message']}")
    return reply


def target_of(deployment: Deployment, head: Transport, had: Had | None) -> Target:
    """The Python that runs the scaler there: the one that does, else the best there is. Raises `Refused` for none."""
    asked = deployment.config.scaler.python or ""
    if had is not None and had.alive and had.asked == asked:
        return had.target
    return chosen(ask(head, {"op": "scaler_probe", "python": asked}), head.connection.name, asked)
