# SPDX-License-Identifier: Apache-2.0
"""What the planner decides from a snapshot in a file, and why. Nothing is asked and nothing is touched."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rayctl.errors import StateRefused, UsageError
from rayctl.planner import plan
from rayctl.planner.explain import Explanation
from rayctl.planner.explain import explain as explained
from rayctl.planner.snapshot import NoSnapshot, Saved, load


@dataclass(frozen=True)
class Told:
    """A snapshot and what follows from it."""

    saved: Saved
    explanation: Explanation


def explain(path: Path) -> Told:
    """Decide anew from a saved snapshot. Raises `UsageError` for a file without one, `StateRefused` for a newer rayctl's."""
    try:
        saved = load(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    except NoSnapshot as error:
        if error.newer:
            raise StateRefused(f"{path}: {error}", hint="Update this rayctl to the one that wrote it.") from None
        hint = "give a file that the scaler or `rayctl simulate --snapshots` wrote"
        raise UsageError(f"{path} holds no snapshot: {error}", hint=hint) from None
    return Told(saved, explained(saved.snapshot, plan(saved.snapshot)))
