# SPDX-License-Identifier: Apache-2.0
"""As whom, and at which port, a host was met: what the head needs to know where the file leaves it to this machine's ssh.

A host tells it itself when it is looked at, and is remembered: one that is silent today is reached tomorrow as yesterday.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rayctl.errors import Unreachable
from rayctl.state import files
from rayctl.transport.glance import Glance

KIND, VERSION, FILE = "hosts-met", 1, "hosts-met.json"


@dataclass(frozen=True)
class Met:
    """The login user there, and the port at which its sshd listens; empty and 0 where that is not known."""

    user: str = ""
    port: int = 0


Facts = Mapping[str, Met]
"""By the host's name."""


def recalled(folder: Path) -> dict[str, Met]:
    """What was remembered in the cluster's folder."""
    data = files.read(folder / FILE, KIND, VERSION) or {"hosts": {}}
    return {name: Met(**met) for name, met in data["hosts"].items()}


def learnt(folder: Path, answers: Mapping[str, Glance | Unreachable], *, keep: bool = True) -> Facts:
    """That, with what hosts told now; it is kept unless nothing may be touched."""
    known = recalled(folder)
    fresh = {**known, **{name: Met(told.user, told.port) for name, told in answers.items() if isinstance(told, Glance)}}
    if keep and fresh != known:
        files.write(folder / FILE, KIND, VERSION, {"hosts": {name: asdict(met) for name, met in fresh.items()}})
    return fresh
