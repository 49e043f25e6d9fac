# SPDX-License-Identifier: Apache-2.0
"""A plan that is kept for later: what `up` is to do then, and nothing else."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError, UsageError
from rayctl.operations.proposal import Proposal

KIND, VERSION = "rayctl-plan", 1


@dataclass(frozen=True)
class Kept:
    """The flags that led to a proposal, and its fingerprint."""

    flags: Mapping[str, Any]
    fingerprint: str


def store(path: Path, proposal: Proposal, flags: Mapping[str, Any]) -> None:
    """Write it, readable for its owner alone: it holds parts of commands. Raises RayctlError."""
    given = {key: value for key, value in flags.items() if value}
    data = {"kind": KIND, "version": VERSION, "flags": given, "proposal": proposal.to_dict()}
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w") as file:
            json.dump(data, file, indent=2)
    except OSError as e:
        raise RayctlError(f"cannot write {path}: {e.strerror}") from None


def load(path: Path) -> Kept:
    """Read one. Raises `UsageError` for what is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UsageError(f"cannot read the plan {path}: {e.strerror}") from None
    except ValueError:
        data = None
    if not isinstance(data, dict) or data.get("kind") != KIND:
        raise UsageError(f"{path} is no plan", hint="Make one: rayctl plan cluster.yaml --out FILE")
    if data.get("version") != VERSION:
        raise UsageError(f"the plan {path} was made by another version of rayctl", hint="Make it again.")
    return Kept(data["flags"], data["proposal"]["fingerprint"])
