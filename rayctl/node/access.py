# SPDX-License-Identifier: Apache-2.0
"""Who may log in here by a key of rayctl's: one line in the login user's authorized_keys, known by its comment.

The line lets commands and files through and nothing that a scaler does not need. It bears no `from=`: by which of its
addresses a head meets a host, nobody can tell beforehand.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import Optional

from .state import NodeError, wait_for_lock

KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+=*")
MARKER = re.compile(r"rayctl:[0-9A-Za-z-]+")
OPTIONS = "no-agent-forwarding,no-X11-forwarding,no-pty"
FOLDER, FILE = "~/.ssh", "authorized_keys"


def authorize(key: str, marker: str) -> bool:
    """Let this public key in (type and text, no comment), and no other with this marker; whether that changed anything."""
    if not KEY.fullmatch(key) or not MARKER.fullmatch(marker):
        raise NodeError("this is no public key of rayctl's: %s %s" % (key, marker))
    return _replace("%s %s %s" % (OPTIONS, key, marker), marker)


def withdraw(marker: str) -> bool:
    """Let nobody with this marker in; whether anybody was."""
    return _replace(None, marker)


def _replace(line: Optional[str], marker: str) -> bool:
    folder = os.path.expanduser(FOLDER)
    path = os.path.realpath(os.path.join(folder, FILE))
    if line is None and not os.path.exists(path):
        return False
    try:
        if line is not None:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        lock = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            wait_for_lock(lock, path)
            return _edit(path, line, marker)
        finally:
            os.close(lock)
    except OSError as e:
        raise NodeError("cannot change %s: %s" % (path, e.strerror)) from None


def _edit(path: str, line: Optional[str], marker: str) -> bool:
    lines = _content(path).splitlines(True)
    ours = [one for one in lines if _bears(one, marker)]
    wanted = [] if line is None else [line.encode() + b"\n"]
    if ours == wanted:
        return False
    kept = [one for one in lines if one not in ours]
    if wanted and kept and not kept[-1].endswith(b"\n"):
        kept[-1] += b"\n"
    _store(path, b"".join(kept + wanted))
    return True


def _bears(line: bytes, marker: str) -> bool:
    return line.split()[-1:] == [marker.encode()] and not line.lstrip().startswith(b"#")


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _store(path: str, content: bytes) -> None:
    """Replace the file in one step; it keeps its mode."""
    mode = 0o600
    with contextlib.suppress(FileNotFoundError):
        mode = stat.S_IMODE(os.stat(path).st_mode)
    new = "%s.rayctl-%d" % (path, os.getpid())
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), mode)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        raise
