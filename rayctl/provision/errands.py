# SPDX-License-Identifier: Apache-2.0
"""A command that is run on several nodes at once by a play, and what each of them answered.

The command is the user's data, so it reaches the play in a file of the run's own folder; output goes to files there, one
for each host and stream, however much it is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self
from urllib.parse import quote

from rayctl.node.wire import Message
from rayctl.provision.deployment import Deployment
from rayctl.provision.nodeplan import gcs_port, token_environment
from rayctl.transport.base import Transport, into_files

NAME, OUTPUT = "errand.json", "output"


@dataclass(frozen=True)
class Errand:
    """A shell command, and what it finds in its environment."""

    command: str
    env: Mapping[str, str] = field(default_factory=dict)

    def store(self, folder: Path) -> None:
        """Put it where the play finds it."""
        private = os.open(folder / NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(private, "w", errors="surrogateescape") as file:
            json.dump(asdict(self), file)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """The one that was put there."""
        try:
            return cls(**json.loads((folder / NAME).read_text()))
        except FileNotFoundError:
            return None

    def run(self, transport: Transport, out: Path, err: Path) -> Message:
        """Run it without input; the message that tells of its end. Raises `Unreachable`."""
        began = time.monotonic()
        with into_files(out, err) as ends:
            code = transport.run(self.command, self.env, ends=ends)
        return {"event": "done", "failed": False, "rc": code, "seconds": round(time.monotonic() - began, 3)}


def by_hand(deployment: Deployment, command: str) -> Errand:
    """One that finds the cluster's Ray, where nobody has looked yet at which port that listens."""
    head = deployment.head
    if head is None or head.addresses is None:
        return Errand(command)
    address = f"{head.addresses.internal}:{gcs_port(deployment, head)}"
    return Errand(command, {"RAY_ADDRESS": address, **token_environment(deployment, head)})


def files(folder: Path, host: str) -> tuple[Path, Path]:
    """Where a host's stdout and stderr go."""
    place = folder / OUTPUT
    place.mkdir(mode=0o700, exist_ok=True)
    name = quote(host, safe="")
    return place / f"{name}.out", place / f"{name}.err"
