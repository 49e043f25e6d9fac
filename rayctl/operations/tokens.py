# SPDX-License-Identifier: Apache-2.0
"""The cluster's Ray token in an operation: registered with the run's redactor before anybody may print it."""

from __future__ import annotations

from rayctl.errors import RayctlError
from rayctl.operations.session import Session
from rayctl.provision import ray_token
from rayctl.state import paths, token


def known(session: Session) -> str:
    """The token; empty where it was turned off or nobody made one yet."""
    found = ray_token.known(session.deployment)
    if found:
        session.bus.register_secret(found)
    return found


def told(session: Session) -> str:
    """The token, for a person who asks. Raises RayctlError where there is none."""
    if not session.config.auth.ray_token:
        raise RayctlError(f"{session.name} has no token: auth.ray_token is off in {session.loaded.path}")
    found = known(session)
    if not found:
        raise RayctlError(f"{session.name} has no token yet", hint=f"It is made by {session.command('up')}")
    return found


def ensure(session: Session) -> None:
    """Before nodes are worked on: a cluster that has a token keeps it."""
    if session.config.auth.ray_token and not known(session):
        session.bus.register_secret(token.ensure(paths.token_file(session.root, session.name)))
