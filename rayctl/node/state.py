# SPDX-License-Identifier: Apache-2.0
"""What a node remembers between runs, and the lock that keeps two runs from working beside each other.

`state.json` holds the digests of the mounts and steps that are done and how Ray was started. It is valid only for the
cluster, the node name and the machine it was written on: homes may be shared by NFS, machine ids by cloned machines.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
from typing import Any, Dict, List, Optional

from . import processes

VERSION = 1


class NodeError(Exception):
    """The run cannot go on; the text is for the user."""


class Locked(Exception):
    """Another runner works on this node."""


def folder_of(state_dir: str) -> str:
    """The folder for this machine below `state_dir`, which may lie on a home shared by several."""
    return os.path.join(os.path.expanduser(state_dir), processes.machine_id()[:16])


def make_private(folder: str) -> None:
    """Make the folder 0700, or refuse one that others own or can write to."""
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        info = os.lstat(folder)
    except OSError as e:
        raise NodeError("cannot make the state folder %s: %s" % (folder, e.strerror)) from None
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise NodeError("the state folder %s belongs to someone else; it is not trusted" % folder)
    if info.st_mode & 0o077:
        os.chmod(folder, 0o700)


class NodeState:
    """The contents of state.json: `mounts` {target: digest}, `steps` [{digest, name, command}], `ray`, `ray_stale`."""

    def __init__(self, folder: str, cluster_id: str, node: str) -> None:
        self.folder = folder
        self.path = os.path.join(folder, "state.json")
        self.identity = {"cluster_id": cluster_id, "node": node, "machine_id": processes.machine_id()}
        self.mounts: Dict[str, str] = {}
        self.steps: List[Dict[str, str]] = []
        self.ray: Optional[Dict[str, Any]] = None
        self.ray_stale = False

    def load(self) -> NodeState:
        """Read what is there. Unreadable or foreign contents count as none: everything then runs again."""
        data = read(self.path)
        if data is not None and all(data.get(k) == v for k, v in self.identity.items()):
            self.mounts, self.steps = data["mounts"], data["steps"]
            self.ray, self.ray_stale = data["ray"], data["ray_stale"]
        return self

    def seen(self) -> Dict[str, Any]:
        """What `look.py` compares with a plan, but for `broken`."""
        digests = [step["digest"] for step in self.steps]
        return {"mounts": self.mounts, "steps": digests, "ray": self.ray, "ray_stale": self.ray_stale}

    def save(self) -> None:
        """Write all of it at once, so that a kill at any moment leaves the old or the new state."""
        data = {"version": VERSION, "kind": "node-state", "mounts": self.mounts, "steps": self.steps}
        data.update(self.identity, ray=self.ray, ray_stale=self.ray_stale)
        write(self.path, data)


def read(path: str) -> Optional[Dict[str, Any]]:
    """A versioned JSON file of ours; None when it is absent or broken. Foreign and newer files are refused."""
    try:
        with open(path, encoding="utf-8") as f:
            if os.fstat(f.fileno()).st_uid != os.geteuid():
                raise NodeError("%s belongs to someone else; it is not trusted" % path)
            data = json.load(f)
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError):
        return None
    except OSError as e:
        raise NodeError("cannot read %s: %s" % (path, e.strerror)) from None
    if not isinstance(data, dict) or not isinstance(data.get("version"), int):
        return None
    if data["version"] > VERSION:
        raise NodeError(
            "%s was written by a newer rayctl (version %d, this one reads up to %d); update rayctl on the controller"
            % (path, data["version"], VERSION)
        )
    return data


def write(path: str, data: Dict[str, Any]) -> None:
    """Replace a file in one step, 0600."""
    new = path + ".new"
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as f:
            json.dump(data, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(new, path)
    except OSError as e:
        raise NodeError("cannot write %s: %s" % (path, e.strerror)) from None


def take_lock(folder: str) -> int:
    """The node's lock as an open file descriptor; it is free again when the last holder of the descriptor is gone."""
    fd = os.open(os.path.join(folder, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(fd)
        if e.errno in (errno.EAGAIN, errno.EACCES):
            raise Locked from None
        raise NodeError("cannot lock %s/lock: %s" % (folder, e.strerror)) from None
    return fd
