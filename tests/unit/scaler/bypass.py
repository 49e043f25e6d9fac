# SPDX-License-Identifier: Apache-2.0
"""Whether anything reaches the outside beside the seam, as Python's own audit events tell.

    with watching(threads=("rayctl-seam",)) as watch:
        scaler = Scaler(seam(outside, watch.around), cluster_id)
        watch.turn(scaler)
    assert not watch.strays

What C code does by itself, such as gRPC's threads, raises no audit events.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rayctl.scaler import Scaler

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EFFECTS = {
    "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "os.chown",
    "os.utime", "shutil.rmtree", "socket.connect", "socket.bind", "socket.sendto", "socket.sendmsg", "subprocess.Popen",
    "os.fork", "os.forkpty", "os.exec", "os.posix_spawn", "os.spawn", "os.system", "os.kill", "os.killpg",
    "signal.pthread_kill",
}  # fmt: skip


class Watch:
    """What was done. `strays` are effects beside the seam, in words, `within` the events of effects by the call they were in.

    Effects count during turns, in the thread that turns and in all others but those whose names begin with one of `threads`.
    """

    def __init__(self, threads: Sequence[str] = ()) -> None:
        self.strays: list[str] = []
        self.within: defaultdict[str, set[str]] = defaultdict(set)
        self._threads = tuple(threads)
        self._turning: int | None = None
        self._call = ""

    @contextmanager
    def around(self, name: str) -> Iterator[None]:
        """To be passed to `seam`."""
        self._call = name
        try:
            yield
        finally:
            self._call = ""

    def turn(self, scaler: Scaler) -> float:
        """One turn of a scaler, watched."""
        self._turning = threading.get_ident()
        try:
            return scaler.turn()
        finally:
            self._turning = None

    def note(self, event: str, args: tuple[Any, ...]) -> None:
        """An audit event happened in the thread that runs now."""
        if self._turning is None or not _is_effect(event, args):
            return
        me = threading.current_thread()
        if me.ident != self._turning and me.name.startswith(self._threads or "\0"):
            return
        if me.ident == self._turning and self._call:
            self.within[self._call].add(event)
        else:
            self.strays.append(f"{event} {args} in {me.name}")


def _is_effect(event: str, args: tuple[Any, ...]) -> bool:
    if event == "open":
        path, _, flags = args
        return bool(flags & WRITING) and "__pycache__" not in str(path)
    return event in EFFECTS


_watches: list[Watch] = []
_hooked = False


def _hear(event: str, args: tuple[Any, ...]) -> None:
    for watch in _watches:
        watch.note(event, args)


@contextmanager
def watching(*, threads: Sequence[str] = ()) -> Iterator[Watch]:
    """Watch until the end. An audit hook stays for the process's life, so there is one, which hears nothing in between."""
    global _hooked  # noqa: PLW0603
    if not _hooked:
        sys.addaudithook(_hear)
        _hooked = True
    watch = Watch(threads)
    _watches.append(watch)
    try:
        yield watch
    finally:
        _watches.remove(watch)
