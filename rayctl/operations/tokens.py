# SPDX-License-Identifier: Apache-2.0
"""The cluster's Ray token on this controller: made once, or fetched from the head where another controller made it."""

from __future__ import annotations

from rayctl.operations.session import Session
from rayctl.state import paths, private, token
from rayctl.transport.ssh import SshTransport


def known(session: Session) -> str:
    """The token, empty where it was turned off or nobody made one yet. It is registered with the run's redactor."""
    if not session.config.auth.ray_token:
        return ""
    found = token.read(paths.token_file(session.root, session.name)) or _fetched(session)
    if found:
        session.bus.register_secret(found)
    return found


def ensure(session: Session) -> None:
    """Before nodes are worked on: a cluster that has a token keeps it."""
    if session.config.auth.ray_token and not known(session):
        session.bus.register_secret(token.ensure(paths.token_file(session.root, session.name)))


def _fetched(session: Session) -> str:
    """What the head has, kept here from now on."""
    head = session.deployment.head
    transport = session.transport(head) if head else None
    if not isinstance(transport, SshTransport):
        return ""
    found = str(transport.ask({"op": "token", "state_dir": transport.connection.state_dir}).get("token", ""))
    if found:
        private.create(paths.token_file(session.root, session.name), found.encode())
    return found
