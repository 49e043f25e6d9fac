# SPDX-License-Identifier: Apache-2.0
"""The moments at which a provider was asked to launch, kept in a file that the providers of both sides write."""

from __future__ import annotations

import json
import time
from pathlib import Path

SLOT = "slot"  # begins the names of types that the provider notes and refuses, so that no node's start weighs on the next
LOOK_S = 0.005


def note(path: Path, node_type: str) -> None:
    """Write down that a machine of this type is asked for now."""
    moment = time.time()
    with path.open("a") as file:
        file.write(json.dumps({"at": moment, "type": node_type}) + "\n")


def wait(path: Path, node_type: str, since: float, patience_s: float) -> float:
    """When a machine of this type was first asked for after `since`. Raises TimeoutError."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        for line in path.read_text().splitlines() if path.exists() else ():
            noted = json.loads(line)
            if noted["type"] == node_type and noted["at"] >= since:
                return float(noted["at"])
        time.sleep(LOOK_S)
    raise TimeoutError(f"no {node_type} was launched within {patience_s:g} s")
