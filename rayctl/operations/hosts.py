# SPDX-License-Identifier: Apache-2.0
"""Declared hosts as people see them: whose each one is, and when it was asked last."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Standing
from rayctl.state import files, paths

KIND, VERSION = "hosts-seen", 1


@dataclass(frozen=True)
class Seen:
    """What a host told, and when (seconds since the epoch)."""

    standing: Standing
    at: float


def look(session: Session) -> dict[str, Seen]:
    """What the hosts tell that this operation asked, and what the others told the last one that did."""
    provider = session.provider
    if not isinstance(provider, DeclaresHosts):
        return {}
    now = time.time()
    found = {**_recalled(session), **{name: Seen(standing, now) for name, standing in provider.standing().items()}}
    if not session.deployment.cluster_id:  # there is no cluster that hosts left out could be part of
        found = {host.name: found[host.name] for host in provider.declared() if host.name in found}
    files.write(_file(session), KIND, VERSION, {"hosts": {name: asdict(seen) for name, seen in found.items()}})
    return found


def left_out(session: Session) -> list[str]:
    """Hosts that were this cluster's when they were asked last, and are in its file no more."""
    provider = session.provider
    if not isinstance(provider, DeclaresHosts):
        return []
    declared = {host.name for host in provider.declared()}
    return [name for name, seen in _recalled(session).items() if seen.standing.state == "ours" and name not in declared]


def _recalled(session: Session) -> dict[str, Seen]:
    data = files.read(_file(session), KIND, VERSION) or {"hosts": {}}
    return {name: Seen(Standing(**seen["standing"]), seen["at"]) for name, seen in data["hosts"].items()}


def _file(session: Session) -> Path:
    return paths.cluster_dir(session.root, session.name) / "hosts.json"
