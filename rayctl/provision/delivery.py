# SPDX-License-Identifier: Apache-2.0
"""Mounts brought to a node, wherever it is: over its shell, or on this machine."""

from __future__ import annotations

from pathlib import Path

from rayctl.provision import mounts, sending
from rayctl.provision.mounts import Mount
from rayctl.provision.remote import Remote
from rayctl.transport import masters
from rayctl.transport.base import Transport
from rayctl.transport.ssh import SshTransport


def shell_of(transport: Transport) -> Remote:
    """How programs of this machine get to the node's shell."""
    return Remote(tuple(transport.rsh()), masters.environment())


def is_here(transport: Transport) -> bool:
    """Whether the node is this machine, so that its files are ours."""
    return not isinstance(transport, SshTransport)


def deliver(mount: Mount, transport: Transport) -> None:
    """Bring the node to what the source holds; files that are gone at the source stay. Raises RayctlError."""
    if is_here(transport):
        mounts.copy(mount, _place(mount))
    else:
        sending.send(mount, shell_of(transport))


def changes(mount: Mount, transport: Transport) -> list[str]:
    """What `deliver` would do, a line each: names and modes, never contents. Raises RayctlError."""
    return mounts.changes(mount, _place(mount)) if is_here(transport) else sending.changes(mount, shell_of(transport))


def _place(mount: Mount) -> Path:
    """Where a mount goes on this machine; a relative target is below the home folder."""
    return Path.home() / Path(mount.target).expanduser()
