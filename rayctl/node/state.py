# SPDX-License-Identifier: Apache-2.0
"""What a node remembers between runs, and the lock that keeps two runs from working beside each other.

`state.json` holds the digests of the mounts and steps that are done and how Ray was started. It is valid only for the
cluster, the node name and the machine it was written on: homes may be shared by NFS, machine ids by cloned machines.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import time
from typing import Any, Dict, List, Optional

from . import processes

VERSION = 1
OTHERS, OTHERS_WRITE = 0o077, 0o022
LOCK_S = 10.0  # for locks that are held for milliseconds


class NodeError(Exception):
    """The run cannot go on; the text is for the user."""


class Locked(Exception):
    """Another runner works on this node."""


def folder_of(state_dir: str) -> str:
    """The folder for this machine below `state_dir`, which may lie on a home shared by several."""
    return os.path.join(os.path.expanduser(state_dir), processes.machine_id()[:16])


def make_private(folder: str) -> None:
    """Make the folder (0700, and so its missing parents), or refuse one that others own or can write to."""
    before = os.umask(OTHERS)
    try:
        os.makedirs(folder, exist_ok=True)
        _check_at(folder)
        os.chmod(folder, 0o700)
    except OSError as e:
        raise NodeError("cannot make the state folder %s: %s" % (folder, e.strerror)) from None
    finally:
        os.umask(before)


class NodeState:
    """The contents of state.json.

    `mounts` {target: digest}, `steps` [{digest, name, command}], `ray` how it was started or None, `ray_stale` whether a
    step ran since then, `resume` what a run did before it asked for a fresh login (`run.py`), or None. `watch` is the
    process that looks after the head (`watch.py`), or None.
    """

    def __init__(self, folder: str, cluster_id: str, node: str, machine_id: str = "") -> None:
        self.folder = folder
        self.path = os.path.join(folder, "state.json")
        self.identity = {"cluster_id": cluster_id, "node": node, "machine_id": machine_id or processes.machine_id()}
        self.mounts: Dict[str, str] = {}
        self.steps: List[Dict[str, str]] = []
        self.ray: Optional[Dict[str, Any]] = None
        self.ray_stale = False
        self.resume: Optional[Dict[str, Any]] = None
        self.watch: Optional[Dict[str, Any]] = None

    def load(self) -> NodeState:
        """Read what is there."""
        return self.believe(read(self.path))

    def believe(self, data: Optional[Dict[str, Any]]) -> NodeState:
        """Take over what a file says. Unreadable or foreign contents count as none: everything then runs again."""
        if data is not None and _complete(data) and all(data.get(k) == v for k, v in self.identity.items()):
            self.mounts, self.steps = data["mounts"], data["steps"]
            self.ray, self.ray_stale, self.resume = data["ray"], data["ray_stale"], data.get("resume")
            self.watch = data.get("watch")
        return self

    def seen(self) -> Dict[str, Any]:
        """What `look.py` compares with a plan, but for `broken` and `watch_s`."""
        digests = [step["digest"] for step in self.steps]
        return {"mounts": self.mounts, "steps": digests, "ray": self.ray, "ray_stale": self.ray_stale}

    def save(self) -> None:
        """Write all of it at once, so that a kill at any moment leaves the old or the new state."""
        data = {"version": VERSION, "kind": "node-state", "mounts": self.mounts, "steps": self.steps}
        data.update(self.identity, ray=self.ray, ray_stale=self.ray_stale, resume=self.resume, watch=self.watch)
        write(self.path, data, durable=True)


def _complete(data: Dict[str, Any]) -> bool:
    """Whether it has the shape that `save` writes: a file of the right version may still have been damaged."""
    try:
        ray = data["ray"]
        return (
            all(isinstance(digest, str) for digest in data["mounts"].values())
            and all(isinstance(step[key], str) for step in data["steps"] for key in ("digest", "name", "command"))
            and isinstance(data["ray_stale"], bool)
            and isinstance(data.get("resume") or {}, dict)
            and (ray is None or _complete_ray(ray))
            and (data.get("watch") is None or _complete_watch(data["watch"]))
        )
    except (KeyError, TypeError, AttributeError, ValueError):
        return False


def _complete_ray(ray: Dict[str, Any]) -> bool:
    return {"digest", "boot_id", "processes", "head", "port", "versions"} <= set(ray) and all(
        type(pid) is int and type(started) is int and isinstance(name, str) for pid, started, name in ray["processes"]
    )


def _complete_watch(watch: Dict[str, Any]) -> bool:
    return (
        type(watch["pid"]) is type(watch["started"]) is int
        and type(watch["timeout_s"]) in (int, float)
        and isinstance(watch["boot_id"], str)
        and isinstance(watch["digest"], str)
    )


def read(path: str) -> Optional[Dict[str, Any]]:
    """A versioned JSON file of ours; None when it is absent or broken.

    Raises NodeError for what others could have put there, and for what a newer rayctl wrote.
    """
    text = text_of(path)
    return None if text is None else document(text, path)


def text_of(path: str) -> Optional[str]:
    """What a file of ours says; None when it is absent or no text. Raises NodeError for what others could have put there."""
    try:
        _check_at(os.path.dirname(path))
        # without O_NONBLOCK a pipe in its place would hold us for ever
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), encoding="utf-8") as f:
            info = os.fstat(f.fileno())
            check(info.st_mode, info.st_uid, os.geteuid(), path)
            return f.read()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as e:
        raise NodeError("cannot read %s: %s" % (path, e.strerror)) from None


def decoded(text: str) -> Optional[Dict[str, Any]]:
    """The versioned JSON object that a text is; None for anything else."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return data if isinstance(data, dict) and type(data.get("version")) is int else None


def document(text: str, path: str) -> Optional[Dict[str, Any]]:
    """The same for a file of ours: one of a newer rayctl is refused with a NodeError."""
    data = decoded(text)
    if data is not None and data["version"] > VERSION:
        raise NodeError(
            "%s was written by a newer rayctl (version %d, this one reads up to %d); update rayctl on the controller"
            % (path, data["version"], VERSION)
        )
    return data


def _check_at(path: str) -> None:
    info = os.lstat(path)
    check(info.st_mode, info.st_uid, os.geteuid(), path)


def check(mode: int, owner: int, me: int, path: str) -> None:
    """Refuse what is not ours alone. `mode` and `owner` are a file's, `me` is our user id."""
    if stat.S_ISLNK(mode):
        raise NodeError("%s is a symlink, so nothing in it can be trusted; move it away" % path)
    if owner != me:
        raise NodeError("%s belongs to someone else, so nothing in it can be trusted; find out who put it there" % path)
    if mode & OTHERS_WRITE:
        raise NodeError(
            "%s can be written by others (mode %04o), so nothing in it can be trusted; look at what is in it, and if all of "
            "it is yours: chmod go-rwx %s" % (path, stat.S_IMODE(mode), path)
        )


def write(path: str, data: Dict[str, Any], durable: bool = False) -> None:
    """Replace a versioned JSON file in one step, 0600. `durable` is for what must outlive a crash of the machine."""
    store(path, json.dumps(data), durable)


def store(path: str, text: str, durable: bool = False) -> None:
    """The same for any text."""
    new = "%s.%s.new" % (path, processes.machine_id()[:16])  # hosts that share a home write at the same time
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as f:
            f.write(text)
            f.flush()
            if durable:
                os.fsync(f.fileno())
        os.replace(new, path)
    except OSError as e:
        raise NodeError("cannot write %s: %s" % (path, e.strerror)) from None


def remove(path: str) -> None:
    """Remove a file, a link itself, or a folder with all in it, also where that may not be written to.

    Only for what lies in a private folder: nobody else can put a link into it.
    """
    if not os.path.isdir(path) or os.path.islink(path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        return
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        os.chmod(path, stat.S_IMODE(os.lstat(path).st_mode) | stat.S_IRWXU)
    for name in os.listdir(path):
        remove(os.path.join(path, name))
    os.rmdir(path)


def wait_for_lock(fd: int, path: str) -> None:
    """Lock an open file or folder against all others that do. Raises NodeError when it is not free within seconds."""
    end = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            if e.errno not in (errno.EAGAIN, errno.EACCES):
                raise NodeError("cannot lock %s: %s" % (path, e.strerror)) from None
        if time.monotonic() > end:
            raise NodeError("another program holds the lock on %s for more than %g s; lslocks shows which" % (path, LOCK_S))
        time.sleep(0.01)


def take_lock(folder: str) -> int:
    """The node's lock as an open file descriptor; it is free again when the last holder of the descriptor is gone."""
    path = os.path.join(folder, "lock")
    try:
        fd = _open_lock(path)
    except OSError as e:
        raise NodeError("cannot open %s: %s" % (path, e.strerror)) from None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as e:
        os.close(fd)
        if e.errno in (errno.EAGAIN, errno.EACCES):
            raise Locked from None
        raise NodeError("cannot lock %s: %s" % (path, e.strerror)) from None
    return fd


def _open_lock(path: str) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        return os.open(path, flags | os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        if e.errno != errno.EROFS:
            raise
    return os.open(path, flags | os.O_RDONLY)  # a disk that became read-only: its locks still tell who is at work
