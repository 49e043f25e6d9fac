# SPDX-License-Identifier: Apache-2.0
"""`up` beside a living scaler: what is wanted now is handed over, and what the scaler makes of it is watched.

A scaler of this controller reads the cluster file by itself; flags that change what it says lie in a file beside its
journal. The one on the head gets all of it as a bundle (`headscaler.py`). Machines are launched and ended by the scaler
alone then, which drains them first. Importing this costs nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts
from rayctl.state import files, lock, paths

if TYPE_CHECKING:
    from rayctl.operations.scaling.following import Watch

KIND, VERSION = "scaler-wanted", 1


def scaler_lock(root: Path, cluster: str) -> Path:
    """What a scaler of this controller holds as long as it lives."""
    return paths.cluster_dir(root, cluster) / "scaler.lock"


def lives(session: Session) -> bool:
    """Whether a scaler of this controller is at work on the cluster."""
    return lock.holder(scaler_lock(session.root, session.name)) is not None


def hand_over(session: Session) -> None:
    """Let the scaler know which flags hold beside the file."""
    overrides = {key: value for key, value in session.overrides.items() if key != "cluster_name"}
    files.write(paths.scaler_wanted(session.root, session.name), KIND, VERSION, {"overrides": overrides})


def handed_over(path: Path) -> Mapping[str, Any]:
    """The flags that were handed over last. Raises `StateRefused`."""
    data = files.read(path, KIND, VERSION) or {}
    return dict(data.get("overrides") or {})


def lives_on_head(session: Session) -> bool:
    """Whether the cluster's head runs its scaler."""
    provider = session.provider
    if session.config.scaler_runs_on != "head" or session.deployment.head is None or not isinstance(provider, DeclaresHosts):
        return False
    had = provider.head_scaler() or {}
    return bool(had.get("alive")) and had.get("cluster_id") == session.deployment.cluster_id


def watch(session: Session) -> Watch | None:
    """A look at what the cluster's scaler will do from now on; None where none is at work."""
    head = session.deployment.head
    here = lives(session)
    if head is None or not (here or lives_on_head(session)):
        return None
    from rayctl.operations.scaling import ears  # here, since it costs grpc's import
    from rayctl.operations.scaling.following import Watch

    found = Watch(session, ears.Here(session) if here else ears.OnHead(session, head))
    return found if found.begin() else None
