# SPDX-License-Identifier: Apache-2.0
"""What the planner decides, and why: for a cluster as it is now, or for a snapshot that was saved. Nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rayctl.errors import StateRefused, UsageError
from rayctl.operations import joined
from rayctl.operations.machines import the_head
from rayctl.operations.session import Session
from rayctl.planner import plan
from rayctl.planner.explain import Explanation
from rayctl.planner.explain import explain as explained
from rayctl.planner.snapshot import KIND, NoSnapshot, Saved, dump, load
from rayctl.providers.base import ListsPrices
from rayctl.reconcile import observe

BEGINNING = 200  # bytes of a file within which a snapshot says that it is one


@dataclass(frozen=True)
class Told:
    """A snapshot and what follows from it."""

    saved: Saved
    explanation: Explanation

    def store(self, path: Path) -> None:
        """Write the snapshot, to be told again. Raises `UsageError`."""
        try:
            path.write_text(dump(self.saved.snapshot, self.saved.cluster, self.saved.taken_at))
        except OSError as error:
            raise UsageError(f"the snapshot could not be written to {path}: {error.strerror}") from None


def of_cluster(session: Session) -> Told:
    """Decide for a running cluster as it is now. Raises RayctlError where its head does not answer."""
    the_head(session)
    with joined.client(session, timeout_s=5) as client:
        view = client.cluster()
    provider = session.provider
    prices = provider.prices() if isinstance(provider, ListsPrices) else {}
    snapshot = observe.snapshot(session.config, session.deployment.nodes, view, prices=prices)
    return _told(Saved(snapshot, session.name, datetime.now(UTC).isoformat(timespec="seconds")))


def of_file(path: Path) -> Told | None:
    """Decide anew from a saved snapshot; None for a file that does not begin as one.

    Raises `UsageError` for a damaged one, `StateRefused` for a newer rayctl's.
    """
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if f'"{KIND}"'.encode() not in content[:BEGINNING]:
        return None
    try:
        return _told(load(content))
    except NoSnapshot as error:
        if error.newer:
            raise StateRefused(f"{path}: {error}", hint="Update this rayctl to the one that wrote it.") from None
        raise UsageError(f"{path} is a damaged snapshot: {error}") from None


def _told(saved: Saved) -> Told:
    return Told(saved, explained(saved.snapshot, plan(saved.snapshot)))
