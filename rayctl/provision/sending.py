# SPDX-License-Identifier: Apache-2.0
"""Mounts sent to nodes over their shells: by rsync, and as a tar stream where there is no rsync."""

from __future__ import annotations

import shutil

from rayctl.provision import archive, remote, rsync
from rayctl.provision.mounts import Mount, change
from rayctl.provision.remote import Remote

__all__ = ["Remote", "changes", "send"]

_without_rsync: set[tuple[str, ...]] = set()  # nodes that said so to this process, which handles few


def send(mount: Mount, node: Remote) -> None:
    """Bring the node to what the source holds; files that are gone at the source stay. Raises RayctlError."""
    if _by_rsync(node):
        finished = rsync.send(mount, node)
        if not _unusable(node, finished):
            return _check(mount, finished)
    return _check(mount, archive.send(mount, node))


def changes(mount: Mount, node: Remote) -> list[str]:
    """What `send` would do, a line each: names and modes, never contents. Raises RayctlError."""
    if _by_rsync(node):
        finished = rsync.compare(mount, node)
        if not _unusable(node, finished):
            return _lines(mount, finished)
    return [f"update {mount.target} as a whole: without rsync its files are not compared"]


def _by_rsync(node: Remote) -> bool:
    return node.argv not in _without_rsync and shutil.which("rsync", path=node.env.get("PATH")) is not None


def _unusable(node: Remote, finished: remote.Finished) -> bool:
    if not any(finished.says(word) for word in rsync.UNUSABLE):
        return False
    _without_rsync.add(node.argv)
    return True


def _check(mount: Mount, finished: remote.Finished) -> None:
    if finished.status:
        raise remote.failure(mount, "sent", finished)


def _lines(mount: Mount, finished: remote.Finished) -> list[str]:
    found = rsync.differing(mount, finished)
    if found is None:
        raise remote.failure(mount, "compared", finished)
    target = mount.target.rstrip("/")
    return [change(verb, entry.place(target), entry) for entry, verb in found.items()]
