# SPDX-License-Identifier: Apache-2.0
"""Digests of file mounts, taken once: a tree that looks as it did last time is not read again.

Two memories: how a whole tree looked (`<home>/cache/mounts.json`, a line per tree), and, where that is not enough, what each
of its files held (`filememory`).
"""

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
from rayctl.provision import filememory
from rayctl.provision.mounts import Entry, Mount, sha256
from rayctl.state import files, paths

KIND, VERSION = "mount-digests", 1
KEPT = 200  # trees remembered


def digests_of(mounts: Sequence[Mount]) -> dict[str, str]:
    """Target -> digest. A memory that fails costs time only."""
    if not mounts:
        return {}
    cache = paths.home(os.environ) / "cache"
    known: dict[str, str] = {}
    with suppress(RayctlError, OSError):
        known = (files.read(cache / "mounts.json", KIND, VERSION) or {}).get("trees", {})
    fresh = dict(known)
    now = time.time()
    result = {}
    for mount in mounts:
        result[mount.target] = _known(mount, known, cache) or _read(mount, cache, now)
        if mount.settled(now):
            fresh[mount.listing] = result[mount.target]
    if fresh != known:
        with suppress(RayctlError, OSError):
            files.write(cache / "mounts.json", KIND, VERSION, {"trees": dict(list(fresh.items())[-KEPT:])})
    return result


def _known(mount: Mount, known: dict[str, str], cache: Path) -> str | None:
    """The digest of a tree that looks as it did; the memory of its files is kept for the day when it does not."""
    filememory.use(filememory.place(cache, mount))
    return known.get(mount.listing)


def _read(mount: Mount, cache: Path, now: float) -> str:
    """The digest of a tree of which only files are read that look other than last time."""
    path = filememory.place(cache, mount)
    known = filememory.load(path)
    fresh: dict[bytes, bytes] = {}

    def read(entry: Entry) -> bytes:
        stamp = entry.stamp
        content = known.get(stamp) or sha256(entry)
        if entry.settled(now):
            fresh[stamp] = content
        return content

    digest = mount.digest_by(read)
    if fresh != known:
        filememory.store(path, fresh)
    return digest


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
