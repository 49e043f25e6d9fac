# SPDX-License-Identifier: Apache-2.0
"""`dashboard`: a port of this machine that leads to the head's dashboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rayctl.errors import RayctlError
from rayctl.operations import joined
from rayctl.operations.machines import the_head
from rayctl.operations.session import Session
from rayctl.transport import ports
from rayctl.transport.ports import Forward

PORT, GCS_S = 8265, 5.0
ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104  what a dashboard says that listens at all addresses


@dataclass(frozen=True)
class Dashboard:
    """Where it is to be seen; `wants_token` when it asks a browser for the cluster's token."""

    url: str
    wants_token: bool


def dashboard(session: Session, local: int | None, remote: int | None, ready: Callable[[Dashboard], None]) -> None:
    """Lead a port to the dashboard until Ctrl-C, and call `ready` once it does.

    `local` is the wanted port of this machine; without it the dashboard's usual one, or any other that is free. `remote` is
    the dashboard's own, which the head tells otherwise.
    """
    head = the_head(session)
    host, port = ("localhost", remote) if remote else _place(session)
    here = local or ports.free_port(PORT)
    shown = Dashboard(f"http://{ports.HERE}:{here}", session.config.auth.ray_token)
    session.transport(head).hold([Forward(here, port, host)], lambda: ready(shown))


def _place(session: Session) -> tuple[str, int]:
    with joined.client(session, GCS_S) as gcs:
        found = gcs.dashboard()
    if found is None:
        raise RayctlError(
            "the head's Ray has no dashboard",
            hint="It needs `ray[default]` there, and start commands without --include-dashboard=false.",
        )
    host, port = found
    return ("localhost" if host in ANYWHERE else host, port)
