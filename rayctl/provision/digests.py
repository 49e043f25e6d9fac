# SPDX-License-Identifier: Apache-2.0
"""Digests of file mounts, taken once: a tree that looks as it did last time is not read again."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision.mounts import Mount
from rayctl.state import files, paths

KIND, VERSION = "mount-digests", 1
KEPT = 200  # trees remembered


def digests_of(mounts: Sequence[Mount]) -> dict[str, str]:
    """Target -> digest. Remembers what it read, keyed by how each tree looked; a memory that fails costs time only."""
    if not mounts:
        return {}
    path = paths.home(os.environ) / "cache" / "mounts.json"
    known: dict[str, str] = {}
    with suppress(RayctlError, OSError):
        known = (files.read(path, KIND, VERSION) or {}).get("trees", {})
    fresh = dict(known)
    now = time.time()
    result = {}
    for mount in mounts:
        result[mount.target] = known.get(mount.listing) or mount.digest
        if mount.settled(now):
            fresh[mount.listing] = result[mount.target]
    if fresh != known:
        with suppress(RayctlError, OSError):
            files.write(path, KIND, VERSION, {"trees": dict(list(fresh.items())[-KEPT:])})
    return result


def once_per_run(mounts: Sequence[Mount], folder: Path) -> dict[str, str]:
    """The same for many processes at once: the first one computes, the others wait and read. `folder` belongs to the run."""
    if not mounts:
        return {}
    key = hashlib.sha256(repr([(m.target, str(m.source)) for m in mounts]).encode("utf-8", "surrogateescape")).hexdigest()
    memo = folder / f"rayctl-mounts-{key[:16]}"
    with open(f"{memo}.lock", "a") as lock:  # noqa: PTH123
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not memo.exists():
            memo.write_text(json.dumps(digests_of(mounts)))
        found: dict[str, str] = json.loads(memo.read_text())
        return found
