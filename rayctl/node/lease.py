# SPDX-License-Identifier: Apache-2.0
"""The cluster's lease as it lies on its head: read and replaced for controllers, which decide what it says.

The file and its lock are the very ones that a rayctl on this machine would use.
"""

from __future__ import annotations

import os
from typing import Any, Dict, NamedTuple, Optional

from . import processes, state

FILE = "lease.json"


class Reading(NamedTuple):
    """The lease, and this machine's uptime and boot when it was read: a lease is counted in nothing else."""

    lease: Optional[Dict[str, Any]]
    now: float
    boot_id: str


def read(folder: str) -> Reading:
    """The lease in this folder. Raises NodeError for a file that cannot be trusted: whoever wrote it may hold the cluster."""
    return Reading(_load(folder), processes.uptime(), processes.boot_id())


def compare_and_set(folder: str, expected_generation: int, lease: Dict[str, Any]) -> bool:
    """Store `lease` if the stored one still has this generation (0: there is none); whether it did."""
    path = os.path.join(folder, FILE)
    state.make_private(folder)
    lock = _open_lock(path + ".lock")
    try:
        state.wait_for_lock(lock, path)
        current = _load(folder)
        if (current["generation"] if current else 0) != expected_generation:
            return False
        state.write(path, dict({"version": state.VERSION, "kind": "lease"}, **lease), durable=True)
        return True
    finally:
        os.close(lock)


def parse(text: str, path: str) -> Dict[str, Any]:
    """What a file says of the lease, without version and kind. Raises NodeError for a damaged or newer file."""
    data = state.document(text, path)
    if data is None or data.get("kind") != "lease" or type(data.get("generation")) is not int:
        raise state.NodeError("%s is damaged; move it away, once nobody works on the cluster" % path)
    return {key: value for key, value in data.items() if key not in ("version", "kind")}


def _load(folder: str) -> Optional[Dict[str, Any]]:
    path = os.path.join(folder, FILE)
    text = state.text_of(path)
    if text is None and os.path.lexists(path):
        text = ""
    return None if text is None else parse(text, path)


def _open_lock(path: str) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as e:
        raise state.NodeError("cannot open %s: %s" % (path, e.strerror)) from None
