# SPDX-License-Identifier: Apache-2.0
"""Ray's temporary folder of an embedded node: /tmp/rayctl-<uid>/<8 hex digits of the cluster id>/<number>.

Ray puts sockets some 64 characters below it, and a socket's path may have 107 bytes: hence so short, and not below the
user's home. /tmp is open to all, so every folder on the way is checked before it is used, and again before it is removed.
"""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path

from rayctl.errors import StateRefused
from rayctl.state.files import private_dir

TMP = Path("/tmp")  # noqa: S108  not TMPDIR: it may be long, and Ray's own files go there too


def base() -> Path:
    """The folder of all embedded clusters of this user."""
    return TMP / f"rayctl-{os.geteuid()}"


def folder(cluster_id: str, number: int) -> Path:
    """Where the node with this number has its temporary folder."""
    return base() / cluster_id.replace("-", "")[:8] / str(number)


def make(path: Path) -> None:
    """Make the folder, private on all levels. Raises `StateRefused` when someone else made one of them."""
    for level in (base(), path.parent, path):
        private_dir(level)


def remove(path: Path) -> None:
    """Remove this folder, and those above it that it leaves empty; nothing when it is gone already.

    Raises `StateRefused` unless the path is one that `folder` gives and all its levels are plain folders of this user.
    """
    if path.parent.parent != base() or ".." in path.parts:
        raise StateRefused(f"{path} is no temporary folder of an embedded node, so it is not removed")
    if not all(_is_ours(level) for level in (base(), path.parent, path)):
        return
    shutil.rmtree(path)
    with suppress(OSError):  # other nodes or clusters are still there
        path.parent.rmdir()
        base().rmdir()


def _is_ours(level: Path) -> bool:
    """Whether the folder is there and ours; refused when it is something else."""
    try:
        status = level.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StateRefused(f"{level} is a symlink or someone else's, so nothing below it is removed", hint=f"Look at {level}.")
    return True
