# SPDX-License-Identifier: Apache-2.0
"""`cluster_synced_files`: paths on the head that every worker gets a copy of, by way of the controller.

They are fetched as a tar stream, once per run. Nothing of them is here before, so rsync would save nothing.
"""

from __future__ import annotations

import fcntl
import json
import posixpath
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision import remote
from rayctl.provision.mounts import Mount
from rayctl.provision.remote import Finished, Remote

# times to the nanosecond, or a worker would miss what changed within a second
_PACK = 'tar --version 2>/dev/null | grep -q GNU && set -- --format=posix; tar "$@"'


def relay(paths: Sequence[str], head: Remote, folder: Path) -> tuple[Mount, ...]:
    """Mounts of the head's paths, for workers; their sources lie in `folder`, which belongs to the run alone.

    Of many processes the first one fetches, the others wait. Raises RayctlError, in all of them, when a path cannot be had.
    """
    memo = folder / "rayctl-synced.json"
    with memo.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not memo.exists():
            memo.write_text(json.dumps(_fetched(paths, head, folder / "rayctl-synced")))
        found: dict[str, str] = json.loads(memo.read_text())
    if "error" in found:
        raise RayctlError(found["error"], hint="Make it on the head, or take it out of `cluster_synced_files`.")
    return tuple(Mount(path, Path(source)) for path, source in found.items())


def _fetched(paths: Sequence[str], head: Remote, folder: Path) -> dict[str, str]:
    """Path -> source, or what went wrong as "error"."""
    try:
        return {path.rstrip("/"): str(_fetch(path.rstrip("/"), head, folder / str(i))) for i, path in enumerate(paths)}
    except RayctlError as e:
        return {"error": e.message}


def _fetch(path: str, head: Remote, folder: Path) -> Path:
    """Bring a file or folder of the head into the new `folder`; where it is now."""
    folder.mkdir(mode=0o700, parents=True)
    finished = _stream(head, _packing(path), folder)
    if finished.status:
        why = " | ".join(finished.errors) or f"exit status {finished.status}"
        raise RayctlError(f"{path} could not be fetched from the head: {why}")
    name = folder / posixpath.basename(path)
    return name if name.exists() else folder
