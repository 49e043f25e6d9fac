# SPDX-License-Identifier: Apache-2.0
"""File mounts: what a tree holds, its digest, and copying it on this machine.

A mount's digest covers relative path, type, mode and content (the target, for links) of everything that would be copied:
not where the source lies, not times, not what is excluded. A tree is walked once per run; its files are read again only
when the walk shows other sizes, times or inodes than the last time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import struct
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision import patterns

STAMP = struct.Struct("<QQQQqq")
CONTENT = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK, stat.S_IFIFO}  # sockets and devices are none
SETTLED_S = 2.0  # a file changed so recently may change again without a trace in its times


@dataclass(frozen=True)
class Entry:
    """One file, folder, link or FIFO of a tree, by its path relative to the root ("" is the root itself)."""

    relative: str
    path: str
    info: os.stat_result

    @property
    def mode(self) -> int:
        """Permission bits."""
        return stat.S_IMODE(self.info.st_mode)

    @property
    def stamp(self) -> bytes:
        """Changes when the content does, and is found out without reading it; `STAMP.size` bytes."""
        i = self.info
        return STAMP.pack(i.st_dev, i.st_ino, i.st_size, i.st_mode, i.st_mtime_ns, i.st_ctime_ns)

    def settled(self, now: float) -> bool:
        """Whether the file has been quiet long enough for its stamp to be believed next time."""
        return now - self.info.st_ctime > SETTLED_S

    def place(self, target: str) -> str:
        """Where the entry goes when the root goes to `target`."""
        return f"{target}/{self.relative}" if self.relative else target

    @property
    def points_to(self) -> str:
        """A link's target, as it is written."""
        return os.readlink(self.path)

    def identity(self, read: Reader) -> list[object]:
        """The entry's part in the digest."""
        if stat.S_ISLNK(self.info.st_mode):
            return [self.relative, "link", self.points_to]  # not followed: a broken one is fine
        if stat.S_ISREG(self.info.st_mode):
            return [self.relative, "file", self.mode, read(self).hex()]
        return [self.relative, "folder" if stat.S_ISDIR(self.info.st_mode) else "fifo", self.mode]


Reader = Callable[[Entry], bytes]
"""How the sha256 of a file is found out."""


def sha256(entry: Entry) -> bytes:
    """Read the file."""
    with open(entry.path, "rb") as f:
        return hashlib.file_digest(f, "sha256").digest()


@dataclass(frozen=True)
class Mount:
    """A local file or folder and its place on the nodes. `exclude` and `filters` are rsync_exclude and rsync_filter."""

    target: str
    source: Path
    exclude: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """Everything that would be copied, sorted, the root first. Raises RayctlError when it cannot be read."""
        try:
            root = Entry("", str(self.source), self.source.stat())
            inside = self._walk(root.path, "", patterns.rules(self.exclude)) if stat.S_ISDIR(root.info.st_mode) else ()
            return (root, *sorted(inside, key=lambda entry: entry.relative))
        except OSError as e:
            raise RayctlError(f"the file mount {self.target} cannot be read: {e.filename}: {e.strerror}") from None

    @property
    def mode(self) -> int:
        """Permission bits of the source itself."""
        return self.entries[0].mode

    def _walk(self, folder: str, prefix: str, rules: tuple[patterns.Rule, ...]) -> Iterator[Entry]:
        rules = (*self._merged(folder, prefix), *rules)
        with os.scandir(folder) as found:
            for item in found:
                relative, is_folder = prefix + item.name, item.is_dir(follow_symlinks=False)
                if any(rule.excludes(relative, is_folder) for rule in rules):
                    continue
                info = item.stat(follow_symlinks=False)
                if stat.S_IFMT(info.st_mode) in CONTENT:
                    yield Entry(relative, item.path, info)
                if is_folder:
                    yield from self._walk(item.path, relative + "/", rules)

    def _merged(self, folder: str, prefix: str) -> Iterator[patterns.Rule]:
        for name in self.filters:
            with suppress(FileNotFoundError):
                yield from patterns.merge_file(Path(folder, name).read_text(errors="surrogateescape"), prefix)

    @cached_property
    def listing(self) -> str:
        """Changes whenever an entry's size, times, mode or inode do."""
        total = hashlib.sha256()
        for entry in self.entries:
            total.update(os.fsencode(entry.relative) + b"\0" + entry.stamp)
        return total.hexdigest()

    def settled(self, now: float) -> bool:
        """Whether every entry has been quiet long enough for `listing` to be believed next time."""
        return all(entry.settled(now) for entry in self.entries)

    @cached_property
    def digest(self) -> str:
        """Reads every file."""
        return self.digest_by(sha256)

    def digest_by(self, read: Reader) -> str:
        """The digest, with what `read` says of each file."""
        total = hashlib.sha256()
        try:
            for entry in self.entries:
                total.update(json.dumps(entry.identity(read)).encode() + b"\n")
        except OSError as e:
            raise RayctlError(f"the file mount {self.target} cannot be read: {e.filename}: {e.strerror}") from None
        return "v1:" + total.hexdigest()


def change(verb: str, place: str, entry: Entry) -> str:
    """The line for people about an entry that is to be put in its place; what cannot be printed of a name is escaped."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in place)
    return f"{verb} {shown} ({entry.mode:04o})"


# ---- copying, for nodes that share this machine's file system
def changes(mount: Mount, destination: Path) -> list[str]:
    """What `copy` would do, a line each, in rsync's words for people: names and modes, never contents."""
    places = ((entry, entry.place(str(destination))) for entry in mount.entries)
    return [change("update" if os.path.lexists(there) else "create", there, e) for e, there in places if not _same(e, there)]


def copy(mount: Mount, destination: Path) -> None:
    """Bring the destination to what the source holds. Files that are gone at the source stay, as with Ray."""
    _refuse_loops(mount.source, destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        for entry in mount.entries:
            place = entry.place(str(destination))
            if not _same(entry, place):
                _put(entry, place)
        for entry in reversed(mount.entries):  # a folder's own times and mode last: filling it changed them
            if stat.S_ISDIR(entry.info.st_mode):
                shutil.copystat(entry.path, entry.place(str(destination)))
    except OSError as e:
        raise RayctlError(f"{e.filename2 or e.filename or destination}: {e.strerror}") from None


def _refuse_loops(source: Path, destination: Path) -> None:
    real, target = source.resolve(), destination.resolve()
    if real != target and target.is_relative_to(real):
        raise RayctlError(f"{destination} lies inside of its own source {source}; choose a target outside of it")


def _same(entry: Entry, place: str) -> bool:
    """Whether a copy is there already, by rsync's quick check: type, mode, size and time of modification."""
    try:
        there = os.stat(place) if entry.relative == "" else os.lstat(place)
    except OSError:
        return False
    if stat.S_ISLNK(entry.info.st_mode):
        return stat.S_ISLNK(there.st_mode) and os.readlink(place) == os.readlink(entry.path)
    if there.st_mode != entry.info.st_mode:
        return False
    if not stat.S_ISREG(there.st_mode):
        return True
    return (there.st_size, there.st_mtime_ns) == (entry.info.st_size, entry.info.st_mtime_ns)


def _put(entry: Entry, place: str) -> None:
    mode = entry.info.st_mode
    if stat.S_ISDIR(mode):
        if os.path.lexists(place) and not os.path.isdir(place):
            raise OSError(errno.ENOTDIR, "a file is in the place of a folder", place)
        os.makedirs(place, exist_ok=True)
        return
    if os.path.isdir(place) and not os.path.islink(place):
        raise OSError(errno.EISDIR, "a folder is in the place of a file", place)
    # beside its place first, so that nobody ever sees half a file
    with tempfile.TemporaryDirectory(prefix=".rayctl-", dir=os.path.dirname(place)) as folder:
        new = os.path.join(folder, "new")
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(entry.path), new)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(new, entry.mode)
        else:
            shutil.copyfile(entry.path, new)
            shutil.copystat(entry.path, new)
        os.replace(new, place)
