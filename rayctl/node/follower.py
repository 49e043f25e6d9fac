# SPDX-License-Identifier: Apache-2.0
"""One controller's line to a run, from the runner's side: what is sent to it never makes the run wait.

A controller that does not read (suspended, or behind a dead network) misses output of the steps, which is in their logs,
and nothing else: everything that is not output is kept for it.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import threading
from typing import Deque

from .wire import Message, encode

UNREAD = 1 << 20  # so many bytes may wait for it before output is left out


class Follower:
    """Sends lines from a thread of its own, in order."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._waiting: Deque[bytes] = collections.deque()
        self._unread = 0
        self._closed = False
        self._changed = threading.Condition()
        threading.Thread(target=self._write, daemon=True).start()

    def send(self, message: Message) -> None:
        """Returns at once."""
        data = encode(message)
        with self._changed:
            if message.get("event") == "out" and self._unread + len(data) > UNREAD:
                return
            self._waiting.append(data)
            self._unread += len(data)
            self._changed.notify_all()

    def finish(self, patience_s: float) -> None:
        """Let it read to the end, for so long at most."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._unread, patience_s)
        with contextlib.suppress(OSError):
            self._line.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """It is gone."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._line.close()

    def _write(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or bool(self._waiting))
                if self._closed:
                    return
                data = self._waiting.popleft()
            # a broken line is noticed by its reader
            with contextlib.suppress(OSError):
                self._line.sendall(data)
            with self._changed:
                self._unread -= len(data)
                self._changed.notify_all()
