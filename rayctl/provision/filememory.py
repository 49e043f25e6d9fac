# SPDX-License-Identifier: Apache-2.0
"""What the files of a tree hold, remembered from one run to the next: after a change, only what changed is read again.

A file per tree, `<home>/cache/files/<device>-<inode of the root>`: a header, then 80 bytes for each file, its stamp and its
sha256. Files are known by inodes, not by paths, so a tree that was moved is still known. As with every cache here, one that is
lost, damaged or not ours costs time and nothing else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision.mounts import STAMP, Mount
from rayctl.state import private

HEADER = b"rayctl file digests, version 1\n"
RECORD = STAMP.size + 32
KEPT_S = 30 * 86400.0  # trees that were not mounted for that long are forgotten


def place(cache: Path, mount: Mount) -> Path:
    """Where the memory of a mount's source lies."""
    root = mount.entries[0].info
    return cache / "files" / f"{root.st_dev:x}-{root.st_ino:x}"


def load(path: Path) -> dict[bytes, bytes]:
    """Stamp -> sha256; empty where nothing is known."""
    content = None
    with suppress(RayctlError):
        content = private.load(path)
    if content is None or not content.startswith(HEADER) or (len(content) - len(HEADER)) % RECORD:
        return {}
    starts = range(len(HEADER), len(content), RECORD)
    return {content[i : i + STAMP.size]: content[i + STAMP.size : i + RECORD] for i in starts}


def store(path: Path, known: Mapping[bytes, bytes]) -> None:
    """Remember this, instead of what was known of the tree; forget trees that are out of use."""
    with suppress(RayctlError, OSError):
        private.store(path, HEADER + b"".join(stamp + content for stamp, content in known.items()))
        for other in path.parent.iterdir():
            if time.time() - other.stat().st_mtime > KEPT_S:
                other.unlink()


def use(path: Path) -> None:
    """The tree is in use."""
    with suppress(OSError):
        os.utime(path)
