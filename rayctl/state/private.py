# SPDX-License-Identifier: Apache-2.0
"""Folders and files that nobody else can have written: the ground on which stored state is trusted.

One rule for both: what belongs to someone else, is a symlink, or can be written by others is refused; what others can
merely read is closed to them (0700, 0600). A folder is opened once, checked, and from then on used through its
descriptor, so that nothing can be put in its place between the check and the use. Writing is atomic: a reader, a full
disk or a kill -9 meets the old content or the new, never a part.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import secrets
import shlex
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rayctl.errors import RayctlError, StateRefused

OTHERS = 0o077
OTHERS_WRITE = 0o022
LEFTOVER_S = 3600.0  # no write takes an hour: a temporary file that old was left by a killed process


def private_dir(path: Path) -> Path:
    """Make the folder (0700, and so its missing parents) or check the one that is there. Returns `path`.

    Raises `StateRefused` for a symlink, another's folder, or one that others can write.
    """
    with _explained("make", path):
        missing = [folder for folder in (path, *path.parents) if not folder.exists()]
        for folder in reversed(missing):
            with suppress(FileExistsError):
                folder.mkdir(mode=0o700)
        os.close(_open_folder(path))
    return path


def load(path: Path) -> bytes | None:
    """The file's content; None when there is no such file. Raises `StateRefused` for what others could have put there."""
    with _explained("read", path):
        try:
            with _folder(path.parent) as folder, os.fdopen(_open_file(folder, path, os.O_RDONLY), "rb") as file:
                return file.read()
        except FileNotFoundError:
            return None


def store(path: Path, content: bytes) -> None:
    """Put `content` in place of whatever is at `path`, atomically and durably; makes the folder."""
    private_dir(path.parent)
    with _explained("write", path), _folder(path.parent) as folder, _temporary(folder, path.name, content) as fresh:
        os.replace(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def create(path: Path, content: bytes) -> bool:
    """As `store`, but only if nothing is at `path` yet. Of several racing processes exactly one gets True."""
    private_dir(path.parent)
    with _explained("write", path), _folder(path.parent) as folder, _temporary(folder, path.name, content) as fresh:
        try:
            os.link(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
        except FileExistsError:
            return False
        os.fsync(folder)
        return True


def open_lock(path: Path) -> int:
    """A descriptor to `flock` on, closed in programs that are started meanwhile; the file is never replaced or removed."""
    private_dir(path.parent)
    with _explained("open", path), _folder(path.parent) as folder:
        return _open_file(folder, path, os.O_RDWR | os.O_CREAT)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others out for the few milliseconds of a read and a write."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    descriptor = _open_folder(path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_folder(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENOTDIR):
            raise _refused(path, "is a symlink or no folder", "Move it away; rayctl makes the folder itself.") from problem
        raise
    return _checked(descriptor, path, mode=0o700)


def _open_file(folder: int, path: Path, flags: int) -> int:
    try:
        # without O_NONBLOCK a planted pipe would hold us for ever
        flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(path.name, flags, 0o600, dir_fd=folder)
    except OSError as problem:
        if problem.errno in (errno.ELOOP, errno.ENXIO):
            raise _refused(path, "is a symlink or no plain file", "Move it away; rayctl makes the file itself.") from problem
        raise
    return _checked(descriptor, path, mode=0o600)


def _checked(descriptor: int, path: Path, *, mode: int) -> int:
    """The descriptor, if what it leads to is ours alone; closed and refused otherwise."""
    try:
        _check(os.fstat(descriptor), path)
        if os.fstat(descriptor).st_mode & OTHERS:
            os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check(status: os.stat_result, path: Path) -> None:
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise _refused(path, "is no plain file", "Move it away; rayctl makes the file itself.")
    quoted = shlex.quote(str(path))
    if _owner(status) != os.geteuid():
        owner, me = _user(_owner(status)), _user(os.geteuid())
        hint = f"If that was you under another name: sudo chown -R {me} {quoted}. If not, find out who put it there."
        raise _refused(path, f"belongs to {owner}, not to {me}", hint)
    if status.st_mode & OTHERS_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        hint = f"Look at what is in it; if all of it is yours: chmod go-rwx {quoted}"
        raise _refused(path, f"can be written by others (mode {mode:04o})", hint)


def _owner(status: os.stat_result) -> int:
    """The owner's uid: the one place that asks, so that a test without root can plant a foreign file too."""
    return status.st_uid


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refused(path: Path, why: str, hint: str) -> StateRefused:
    return StateRefused(f"{path} {why}, so nothing in it can be trusted", hint=hint)


@contextmanager
def _temporary(folder: int, name: str, content: bytes) -> Iterator[str]:
    """A new file with `content`, safely on the disk, beside `name`; gone at the end unless it was renamed."""
    prefix = f".{name}."
    fresh = f"{prefix}{secrets.token_hex(6)}.tmp"
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
            written = os.fstat(descriptor).st_mtime
        _sweep(folder, prefix, older_than=written - LEFTOVER_S)
        yield fresh
    finally:
        with suppress(FileNotFoundError):
            os.unlink(fresh, dir_fd=folder)


def _sweep(folder: int, prefix: str, *, older_than: float) -> None:
    """Remove what killed writers left. Ages are compared by the file system's own clock, which a shared home needs."""
    for entry in os.listdir(folder):
        if entry.startswith(prefix) and entry.endswith(".tmp"):
            with suppress(FileNotFoundError):
                if os.stat(entry, dir_fd=folder, follow_symlinks=False).st_mtime < older_than:
                    os.unlink(entry, dir_fd=folder)


@contextmanager
def _explained(verb: str, path: Path) -> Iterator[None]:
    """Tell a reader what the operating system refused, instead of a traceback."""
    try:
        yield
    except OSError as problem:
        full = problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        advice = (
            "Free some space and run the command again." if full else "Check the folder, or set RAYCTL_HOME to another one."
        )
        old = " What it held before is whole." if verb == "write" else ""
        raise RayctlError(f"cannot {verb} {path}: {os.strerror(problem.errno or 0)}.{old}", hint=advice) from problem
