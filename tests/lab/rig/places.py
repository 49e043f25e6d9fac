# SPDX-License-Identifier: Apache-2.0
"""Where the lab keeps what it made, and the lock under which names are given."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .box import LabError, remove_tree


def state() -> Path:
    """The lab's folder on this machine: RAYCTL_LAB_DIR, else /var/lib/rayctl-lab. The key to all hosts lies in it: 0700."""
    folder = Path(os.environ.get("RAYCTL_LAB_DIR", "/var/lib/rayctl-lab"))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.geteuid() or folder.stat().st_mode & 0o077:
        raise LabError(f"{folder} must be yours alone: chown it to you and chmod it to 0700, or name another by RAYCTL_LAB_DIR")
    return folder


def labs() -> Path:
    """The folder of all labs, each in one of its own."""
    folder = state() / "labs"
    folder.mkdir(exist_ok=True)
    return folder


def unfinished(name: str) -> Path:
    """A new folder to build in, to be renamed when done. What killed builds left is removed."""
    for old in state().glob(f"{name}.unfinished.*"):
        remove_tree(old)
    folder = Path(tempfile.mkdtemp(prefix=f"{name}.unfinished.", dir=state()))
    folder.chmod(0o755)  # it becomes a folder of the hosts, for all their users
    return folder


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold this lock; the kernel gives it back when its holder ends, however that ends."""
    with (state() / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
