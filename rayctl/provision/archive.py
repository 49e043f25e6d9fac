# SPDX-License-Identifier: Apache-2.0
"""A mount sent as a tar stream, where rsync is missing on either side: everything travels, and what is gone here stays there.

The format is GNU's: every tar reads it, busybox's too, and names are bytes in it. busybox gives a folder its mode only when it
makes it, and never a setgid bit; files get theirs.
"""

from __future__ import annotations

import os
import stat
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from rayctl.errors import RayctlError
from rayctl.provision import remote
from rayctl.provision.mounts import Entry, Mount
from rayctl.provision.remote import Finished, Remote

MISSING = "neither rsync nor tar is installed on the node"

# tar changes the mode of a folder that is there only after it has filled it, and fails in one that may not be written to
_OPEN = "find . -type d ! -perm -700 -exec chmod u+rwx {} ';' 2>/dev/null"
# for busybox: it makes folders as the umask says, and leaves out links that lead elsewhere without that variable
_UNPACK = "umask 0; EXTRACT_UNSAFE_SYMLINKS=1 exec tar -xpof -"


def send(mount: Mount, node: Remote) -> Finished:
    """Bring the node to what the source holds. Raises RayctlError when that cannot be read to its end."""
    steps = [remote.without("tar", MISSING), *remote.arrive(mount)]
    if remote.is_folder(mount):
        steps.append(_OPEN)
    command = remote.script(*steps, _UNPACK)
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            (*node.argv, command), env=remote.plain(node.env),
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip
        assert process.stdin
        try:
            _pour(mount, process.stdin)
        except BaseException:
            process.kill()
            raise
        finally:
            process.wait()
        return Finished(process.returncode, b"", remote.told(errors))


def _pour(mount: Mount, into: IO[bytes]) -> None:
    """Write all of it, or as much as the node takes: why it took no more, it says itself."""
    try:
        with suppress(BrokenPipeError), into, tarfile.open(fileobj=into, mode="w|", format=tarfile.GNU_FORMAT) as tar:
            for header, entry in _members(mount):
                _add(tar, header, entry)
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
    except OSError as e:
        where = f"{e.filename or mount.source}: {e.strerror or e}"
        raise RayctlError(f"the file mount {mount.target} cannot be read: {where}") from None


def _members(mount: Mount) -> Iterator[tuple[tarfile.TarInfo, Entry]]:
    """All entries, folders first as ones that can be filled, and at the end with the mode and time they are to keep."""
    single = not remote.is_folder(mount)
    folders = [entry for entry in mount.entries if stat.S_ISDIR(entry.info.st_mode)]
    for entry in mount.entries:
        header = _header(entry, remote.split(mount.target)[1] if single else f"./{entry.relative}")
        if header.isdir():
            header.mode |= stat.S_IRWXU
        yield header, entry
    for entry in reversed(folders):
        yield _header(entry, f"./{entry.relative}"), entry


def _header(entry: Entry, name: str) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.mode, header.mtime = entry.mode, entry.info.st_mtime
    if stat.S_ISDIR(entry.info.st_mode):
        header.type = tarfile.DIRTYPE
    elif stat.S_ISLNK(entry.info.st_mode):
        header.type, header.linkname = tarfile.SYMTYPE, entry.points_to
    elif stat.S_ISFIFO(entry.info.st_mode):
        header.type = tarfile.FIFOTYPE
    return header


def _add(tar: tarfile.TarFile, header: tarfile.TarInfo, entry: Entry) -> None:
    if not header.isreg():
        return tar.addfile(header)
    with Path(entry.path).open("rb") as content:
        header.size = os.fstat(content.fileno()).st_size
        return tar.addfile(header, content)
