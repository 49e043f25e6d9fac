# SPDX-License-Identifier: Apache-2.0
"""The runner's side of the line: followers come and go, questions wait for an answer.

A runner listens on a UNIX socket in its private folder. Whoever connects and names the same plan follows the run: it is
told what happened so far (without output), hears what happens from then on, and may answer and cancel. The run itself
never waits for a follower, except where it asks.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from typing import Any, Dict, List, Optional

from .state import NodeError
from .wire import PROTOCOL, Message, decode, encode

SOCKET = "control.sock"
ORPHAN_S = 600.0  # how long a run that needs its controller waits for one
SEND_S = 5  # a follower that does not read for so long is dropped


class Cancelled(NodeError):
    """Somebody asked for the end of this run."""


class Talk:
    """What a run says and asks. This one talks to nobody: questions find no answer."""

    def emit(self, event: str, **fields: Any) -> None:
        """Tell what happens."""

    def ask(self, what: str, **fields: Any) -> Message:
        """Ask the controller, and wait for its answer."""
        raise NodeError("nobody answers %s %s" % (what, fields))

    def wait_for_controller(self) -> None:
        """Return once a controller is there."""

    def check(self) -> None:
        """Raise `Cancelled` when the run was asked to end."""

    @property
    def cancelled(self) -> bool:
        """Whether the run was asked to end."""
        return False


class Hub(Talk):
    """The followers of one run. `orphan_s` is for tests."""

    def __init__(self, plan_digest: str, orphan_s: float = ORPHAN_S) -> None:
        self.plan_digest, self.orphan_s = plan_digest, orphan_s
        self.reason = ""
        self._followers: List[socket.socket] = []
        self._history: List[Message] = []
        self._pending: Dict[int, Optional[Message]] = {}  # id of an open question -> its answer
        self._asked = 0
        self._changed = threading.Condition(threading.RLock())
        self._cancelled = threading.Event()

    # ---- the run's side
    @property
    def cancelled(self) -> bool:
        """See `Talk`."""
        return self._cancelled.is_set()

    def check(self) -> None:
        """See `Talk`."""
        if self.cancelled:
            raise Cancelled(self.reason or "cancelled")

    def cancel(self, reason: str) -> None:
        """End the run; may be called from a signal handler."""
        self.reason = self.reason or reason
        self._cancelled.set()

    def emit(self, event: str, **fields: Any) -> None:
        """See `Talk`. All but output is kept for followers that come later."""
        message = dict(fields, event=event)
        with self._changed:
            if event != "out":
                self._history.append(message)
            for follower in list(self._followers):
                self._send(follower, message)

    def ask(self, what: str, **fields: Any) -> Message:
        """See `Talk`. The first answer of any follower counts."""
        with self._changed:
            self._asked += 1
            number = self._asked
            self._pending[number] = None
        self.emit("need", id=number, what=what, **fields)
        try:
            return self._wait(lambda: self._pending[number])
        finally:
            with self._changed:
                del self._pending[number]
                self._history = [m for m in self._history if not (m["event"] == "need" and m["id"] == number)]

    def wait_for_controller(self) -> None:
        """See `Talk`. Raises NodeError when none came for so long."""
        self._wait(lambda: {} if self._followers else None)

    def wait_for_first(self, patience_s: float) -> None:
        """Let the follower that started this runner arrive; without it, a short run would be over before it could look."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._followers) or self.cancelled, patience_s)

    def _wait(self, ready: Any) -> Message:
        alone_since = time.monotonic()
        while True:
            self.check()
            with self._changed:
                got: Optional[Message] = ready()
                if got is not None:
                    return got
                if self._followers:
                    alone_since = time.monotonic()
                self._changed.wait(0.1)
            if time.monotonic() - alone_since > self.orphan_s:
                raise NodeError(
                    "the controller went away and none came back within %g s; what was done is kept" % self.orphan_s
                )

    # ---- the followers' side
    def listen(self, folder: str) -> None:
        """Accept followers from now on, in a thread."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        path = "/proc/self/fd/%d/%s" % (fd, SOCKET)  # a socket's path has room for 107 bytes only
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        listener.bind(path)
        os.close(fd)
        listener.listen(8)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            follower, _ = listener.accept()
            threading.Thread(target=self._serve, args=(follower,), daemon=True).start()

    def _serve(self, follower: socket.socket) -> None:
        lines = follower.makefile("rb")
        first = decode(lines.readline()) or {}
        same = first.get("plan") == self.plan_digest and first.get("protocol") == PROTOCOL
        follower.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", SEND_S, 0))
        with self._changed:
            if not self._send(follower, {"same": same}) or not same:
                follower.close()
                return
            self._followers.append(follower)
            for message in list(self._history):
                self._send(follower, message)
            self._changed.notify_all()
        try:
            for line in lines:
                self._take(decode(line) or {})
        except OSError:
            pass
        self._drop(follower)

    def _take(self, message: Message) -> None:
        if "cancel" in message:
            self.cancel(str(message["cancel"]))
        with self._changed:
            if message.get("answer") in self._pending:
                self._pending[message["answer"]] = message
            self._changed.notify_all()

    def _send(self, follower: socket.socket, message: Message) -> bool:
        try:
            follower.sendall(encode(message))
        except OSError:
            self._drop(follower)
            return False
        return True

    def _drop(self, follower: socket.socket) -> None:
        with self._changed:
            if follower in self._followers:
                self._followers.remove(follower)
            self._changed.notify_all()
        follower.close()

    def finish(self) -> None:
        """Let the followers read to the end before the process goes."""
        with self._changed:
            for follower in list(self._followers):
                with contextlib.suppress(OSError):
                    follower.shutdown(socket.SHUT_WR)


def connect(folder: str) -> Optional[socket.socket]:
    """A line to the runner of this folder; None when none listens."""
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect("/proc/self/fd/%d/%s" % (fd, SOCKET))
    except OSError:
        line.close()
        return None
    finally:
        os.close(fd)
    return line
