# SPDX-License-Identifier: Apache-2.0
"""What the scaler of a cluster has told here, and whether it is still at work."""

from __future__ import annotations

from rayctl.errors import RayctlError
from rayctl.events.wording import elapsed
from rayctl.node import processes
from rayctl.operations.scaling import handover
from rayctl.operations.scaling.ears import OnHead, Said
from rayctl.operations.session import Session
from rayctl.reconcile import told
from rayctl.reconcile.told import ScalerStatus
from rayctl.state import paths


def heard(session: Session, now: float) -> tuple[ScalerStatus | None, str]:
    """What it told last, and what is to be said of that: nothing when it is fresh, or none was to be expected."""
    try:
        here = told.read(paths.scaler_status(session.root, session.name))
        lives = here is not None and processes.alive(here.pid, here.started)
        said = None if lives else _on_head(session)
    except RayctlError as e:
        return None, e.message
    there = said.status if said else None
    if said and there:
        now = said.now  # by its own clock
    last = there or here  # one that is gone from here may run on the head now
    if last is None:
        return None, _missing(session)
    alive = handover.lives_on_head(session) if there else lives
    if alive and now - last.at <= told.FRESH_S:
        return last, ""
    who = "on the head it" if there else f"its process (pid {last.pid})"
    what = "stands still" if alive else f"is gone; start it: {session.command('up' if there else 'scaler')}"
    return last, f"silent for {elapsed(now - last.at)}; {who} {what}"


def _on_head(session: Session) -> Said | None:
    """What the one on the head told there; None where it belongs elsewhere, or there is no head."""
    head = session.deployment.head
    if session.config.scaler_runs_on != "head" or head is None:
        return None
    return OnHead(session, head).hear()


def _missing(session: Session) -> str:
    match session.config.scaler_runs_on:
        case "head":
            return "it belongs on the head, and has told nothing there"
        case "controller":
            return f"none has told anything here; start one: {session.command('scaler')}"
        case "off":
            return ""
