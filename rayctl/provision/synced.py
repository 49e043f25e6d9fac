# SPDX-License-Identifier: Apache-2.0
"""`cluster_synced_files`: paths on the head that every worker gets a copy of, by way of the controller.

They are fetched as a tar stream, once per run. Nothing of them is here before, so rsync would save nothing.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision import remote
from rayctl.provision.mounts import Mount
from rayctl.provision.remote import Finished, Remote

HINT = "Make it on the head, or take it out of `cluster_synced_files`."


def relay(paths: Sequence[str], head: Remote, folder: Path) -> tuple[Mount, ...]:
    """Mounts of the head's paths, for workers; their sources lie in `folder`, which belongs to the run alone.

    Of many processes the first one fetches, the others wait. Raises RayctlError, in all of them, when a path cannot be had.
    """
    memo = folder / "rayctl-synced.json"
    with memo.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not memo.exists():
            memo.write_text(json.dumps(_fetched(paths, head, folder / "rayctl-synced")))
        found = json.loads(memo.read_text())
    if found["error"]:
        raise RayctlError(found["error"], hint=HINT)
    return tuple(Mount(path, Path(source)) for path, source in found["sources"].items())


def stamp(paths: Sequence[str], head: Remote) -> str:
    """What changes when one of the paths does on the head, by names, sizes, times and inodes. Raises RayctlError."""
    looks = [line for path in paths for line in (
        remote.refuse(f"[ ! -e {remote.words(path)} ]", f"{path}: the head has nothing there"),
        f"find -L {remote.words(path)} -exec stat -L -c '%n %f %s %y %i' {{}} + || exit",
    )]  # fmt: skip
    finished = remote.run((*head.argv, remote.script(*looks)), head.env)
    if finished.status:
        why = " | ".join(finished.errors) or f"exit status {finished.status}, no output"
        raise RayctlError(f"the head was not asked for its synced files: {why}", hint=HINT)
    return "v1:" + hashlib.sha256(b"".join(sorted(finished.output.splitlines(keepends=True)))).hexdigest()


def _fetched(paths: Sequence[str], head: Remote, folder: Path) -> dict[str, object]:
    try:
        sources = {path: str(_fetch(path, head, folder / str(i))) for i, path in enumerate(p.rstrip("/") for p in paths)}
    except RayctlError as e:
        return {"error": e.message, "sources": {}}
    return {"error": "", "sources": sources}


def _fetch(path: str, head: Remote, folder: Path) -> Path:
    """Bring a file or folder of the head into the new `folder`; where it is now."""
    folder.mkdir(mode=0o700, parents=True)
    finished = _stream(head, _packing(path), folder)
    if finished.status:
        why = " | ".join(finished.errors) or f"exit status {finished.status}, no output"
        raise RayctlError(f"{path} could not be fetched from the head: {why}")
    return next(folder.iterdir())


def _packing(path: str) -> str:
    """A command for the head that packs one thing: the file or folder at the path, or that a link there leads to."""
    folder, name = remote.split(path)
    return remote.script(
        remote.refuse(f"[ ! -e {remote.words(path)} ]", "the head has nothing there"),
        remote.without("tar", "tar is not installed on the head"),
        f'if [ -d {remote.words(path)} ]; then cd -P {remote.words(path)} && set -- -cf - "./${{PWD##*/}}" && cd ..',
        f"else cd {folder} && set -- -chf - ./{shlex.quote(name)}",
        "fi || exit",
        # with times to the nanosecond, or a worker would miss what changed within a second
        'if tar --version 2>/dev/null | grep -q GNU; then set -- --format=posix "$@"; fi',
        'exec tar "$@"',
    )


def _stream(head: Remote, command: str, folder: Path) -> Finished:
    """Run the command on the head and unpack what it writes; the errors are those of the end that failed first."""
    with tempfile.TemporaryFile() as there, tempfile.TemporaryFile() as here:
        sender = subprocess.Popen(
            (*head.argv, command), env=remote.plain(head.env), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=there
        )
        with sender:
            unpack = ("tar", "-xpof", "-", "-C", str(folder))
            unpacked = subprocess.run(unpack, stdin=sender.stdout, stdout=subprocess.DEVNULL, stderr=here, check=False)
        failed_there = sender.returncode and remote.told(there)
        return Finished(sender.returncode or unpacked.returncode, b"", failed_there or remote.told(here))
