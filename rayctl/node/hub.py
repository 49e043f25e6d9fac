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
import threading
import time
from typing import Any, Callable, Dict, Iterator, List, Optional

from .follower import Follower
from .state import NodeError
from .wire import PROTOCOL, Message, decode, encode

SOCKET = "control.sock"
ORPHAN_S = 600.0  # how long a run that needs its controller waits for one
FINISH_S = 5.0  # how long the end of a run waits for followers that read slowly


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
        self._reason = ""
        self._followers: List[Follower] = []
        self._history: List[Message] = []
        self._pending: Dict[int, Optional[Message]] = {}  # id of an open question -> its answer
        self._asked = 0
        self._changed = threading.Condition(threading.RLock())

    # ---- the run's side
    @property
    def cancelled(self) -> bool:
        """See `Talk`."""
        return bool(self._reason)

    def check(self) -> None:
        """See `Talk`."""
        if self.cancelled:
            raise Cancelled(self._reason)

    def cancel(self, reason: str) -> None:
        """End the run; may be called from a signal handler, so it takes no lock."""
        self._reason = self._reason or reason or "no reason was given"

    def emit(self, event: str, **fields: Any) -> None:
        """See `Talk`. All but output is kept for followers that come later."""
        message = dict(fields, event=event)
        with self._changed:
            if event != "out":
                self._history.append(message)
            for follower in self._followers:
                follower.send(message)

    def ask(self, what: str, **fields: Any) -> Message:
        """See `Talk`. All followers are asked, as any of them may be asleep; the first answer counts."""
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

    def _wait(self, ready: Callable[[], Optional[Message]]) -> Message:
        alone_since = time.monotonic()
        while True:
            self.check()
            with self._changed:
                got = ready()
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
        try:
            with _address(folder) as path:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
                listener.bind(path)
        except OSError as e:
            raise NodeError("cannot make %s/%s: %s" % (folder, SOCKET, e.strerror)) from None
        listener.listen(8)
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            line, _ = listener.accept()
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError), line.makefile("rb") as lines:
            first = decode(lines.readline()) or {}
            if first.get("plan") != self.plan_digest or first.get("protocol") != PROTOCOL:
                line.sendall(encode({"same": False}))
                line.close()
                return
            follower = self._welcome(line)
            try:
                for raw in lines:
                    self._take(decode(raw) or {})
            finally:
                self._drop(follower)

    def _welcome(self, line: socket.socket) -> Follower:
        follower = Follower(line)
        with self._changed:
            for message in [{"same": True}, *self._history]:
                follower.send(message)
            self._followers.append(follower)
            self._changed.notify_all()
        return follower

    def _take(self, message: Message) -> None:
        if "cancel" in message:
            self.cancel(str(message["cancel"]))
        number = message.get("answer")
        with self._changed:
            if isinstance(number, int) and number in self._pending:
                self._pending[number] = message
            self._changed.notify_all()

    def _drop(self, follower: Follower) -> None:
        with self._changed:
            self._followers.remove(follower)
            self._changed.notify_all()
        follower.close()

    def finish(self) -> None:
        """Let the followers read to the end before the process goes."""
        with self._changed:
            followers = list(self._followers)
        end = time.monotonic() + FINISH_S
        for follower in followers:
            follower.finish(max(0.0, end - time.monotonic()))


def connect(folder: str) -> Optional[socket.socket]:
    """A line to the runner of this folder; None when none listens."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(folder) as path:
            line.connect(path)
    except OSError:
        line.close()
        return None
    return line


@contextlib.contextmanager
def _address(folder: str) -> Iterator[str]:
    """The path of the folder's socket in a form that is always short: a socket's path has room for 107 bytes only."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield "/proc/self/fd/%d/%s" % (fd, SOCKET)
    finally:
        os.close(fd)
