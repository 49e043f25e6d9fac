# SPDX-License-Identifier: Apache-2.0
"""The first level of "one writer": a lock per cluster on this controller.

It is the kernel's `flock`, so it ends with its holder however that ends. A file beside the lock says who holds it; it is
there for people, and for a holder's own children. Programs started meanwhile do not inherit the lock, plain forks give it
up, and two things hand it down: the descriptor in `pass_fds`, which keeps it held until that child has ended too, and the
operation's token, by which a play of the holder passes where others wait.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.state import files, private
from rayctl.state.holder import UNKNOWN, Holder, myself, surely_dead, wait_for

KIND, VERSION = "holder", 1
POLL_S = 0.1


@dataclass(frozen=True)
class Lock:
    """A lock that is held. `fd` is its descriptor; None when a parent process holds it for us."""

    fd: int | None

    @property
    def handed_down(self) -> bool:
        """Whether a parent process holds the lock: it will give it back, not we."""
        return self.fd is None


@dataclass(frozen=True)
class _Note:
    """What the file beside the lock tells."""

    holder: Holder
    token: str


@contextmanager
def hold(
    path: Path,
    *,
    owner_text: str,
    timeout_s: float,
    on_wait: Callable[[Holder], object] = lambda _: None,
    token: str = "",
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Lock]:
    """Hold the lock `path` while the block runs. `owner_text` is what others read meanwhile: `rayctl up demo`.

    `token` is the operation's `LeaseToken.value`: who bears the token of the living holder is its child and enters at
    once. Everyone else waits, `on_wait` being told for whom, and gets `Busy` after `timeout_s` seconds (0: does not wait).
    """
    fd = private.open_lock(path)
    mine = os.getpid()
    _kept.add(fd)
    try:
        lock = wait_for(
            lambda: _attempt(path, fd, token),
            timeout_s=timeout_s,
            on_wait=on_wait,
            every_s=POLL_S,
            clock=clock,
            sleep=sleep,
        )
        with _noted(path, lock, _Note(myself(owner_text), token)):
            yield lock
    finally:
        # never LOCK_UN: it would also end the lock of a child that got the descriptor
        if os.getpid() == mine:
            _kept.discard(fd)
            os.close(fd)


def holder(path: Path) -> Holder | None:
    """Who holds the lock, as far as the note beside it tells; None where nobody living does. Nothing is locked by asking."""
    if not _note_file(path).exists():
        return None
    found = _read_note(path).holder
    return None if surely_dead(found) else found


def _attempt(path: Path, fd: int, token: str) -> Lock | Holder:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note = _read_note(path)
        if token and note.token == token and not surely_dead(note.holder):
            return Lock(fd=None)
        return note.holder
    return Lock(fd)


@contextmanager
def _noted(path: Path, lock: Lock, note: _Note) -> Iterator[None]:
    """Say who holds the lock, as long as it is held by us."""
    if lock.handed_down:
        yield
        return
    files.write(_note_file(path), KIND, VERSION, asdict(note))
    try:
        yield
    finally:
        if os.getpid() == note.holder.pid:
            with suppress(OSError):
                _note_file(path).unlink()


def _read_note(path: Path) -> _Note:
    """Who holds the lock. A note that is missing or unreadable is no reason not to wait."""
    note = _note_file(path)
    try:
        data = files.read(note, KIND, VERSION)
        return files.parse(note, _Note, data) if data else _Note(UNKNOWN, "")
    except RayctlError:
        return _Note(UNKNOWN, "")


def _note_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder.json")


_kept: set[int] = set()


def _give_up_in_fork() -> None:
    """A forked child would keep the lock of a dead parent; it closes its copies, and the parent's stay."""
    for fd in _kept:
        with suppress(OSError):
            os.close(fd)
    _kept.clear()


os.register_at_fork(after_in_child=_give_up_in_fork)
