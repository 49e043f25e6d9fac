# SPDX-License-Identifier: Apache-2.0
"""Scalers in processes of their own, ended by SIGKILL; the town goes on in ours.

A child asks for everything over a socket but for its journal, which it reads and writes itself: a kill may meet it within a
write, between a request and its answer, or anywhere else.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import select
import signal
import socket
import struct
import time
from typing import Any

from rayctl.reconcile import journal as journals
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.seam import seam
from rayctl.scaler import Scaler
from tests.unit.scaler.town import CLUSTER, Eyes, Town

HEADER = struct.Struct("!I")
TURN_OVER = "turn over"
INSTANTS_S = 0.01  # a kill comes within so long after a call: a write of the journal takes some milliseconds


class Line:
    """Messages over a socket."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def send(self, message: object) -> None:
        content = pickle.dumps(message)
        self._end.sendall(HEADER.pack(len(content)) + content)

    def receive(self) -> Any:
        """The next message. Raises `EOFError` where the other side is gone."""
        (length,) = HEADER.unpack(self._exactly(HEADER.size))
        return pickle.loads(self._exactly(length))

    def waits(self, seconds: float) -> bool:
        """Whether a message comes within this time."""
        return bool(select.select([self._end], [], [], max(0.0, seconds))[0])

    def close(self) -> None:
        self._end.close()

    def _exactly(self, length: int) -> bytes:
        found = b""
        while len(found) < length:
            part = self._end.recv(length - len(found))
            if not part:
                raise EOFError
            found += part
        return found


class Far:
    """An outside that is asked over a line, but for the journal."""

    def __init__(self, line: Line, town: Town) -> None:
        self._line, self._path = line, town.path

    def recall(self) -> Journal | None:
        return journals.load(self._path)

    def remember(self, journal: Journal) -> None:
        journals.store(self._path, journal)

    def __getattr__(self, name: str) -> Any:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self._line.send((name, args, kwargs))
            answer, error = self._line.receive()
            if error is not None:
                raise error
            return answer

        return ask


def _be_a_scaler(line: Line, town: Town) -> None:
    far: Any = Far(line, town)
    scaler = Scaler(seam(far), town.world.clusters[CLUSTER])
    while True:
        line.send((TURN_OVER, (scaler.turn(),), {}))
        line.receive()


class Victim:
    """A scaler in a process of its own, which lives until it is killed."""

    def __init__(self, town: Town) -> None:
        self.town, self.eyes = town, Eyes(town)
        ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            with contextlib.suppress(BaseException):
                ours.close()
                _be_a_scaler(Line(theirs), town)
            os._exit(1)
        theirs.close()
        self._line = Line(ours)

    def live(self, calls: int, dice: random.Random) -> None:
        """Serve it so many calls, then kill it at any instant; what it had just asked for may still be done."""
        for _ in range(calls):
            self._serve()
        end = time.monotonic() + dice.uniform(0.0, INSTANTS_S)
        while self._line.waits(end - time.monotonic()):
            self._serve()
        self.kill(heard=dice.random() < 0.5)

    def turn(self) -> None:
        """Serve it until its turn is over."""
        while self._serve() != TURN_OVER:
            pass

    def kill(self, *, heard: bool = True) -> None:
        """SIGKILL. `heard`: whether what it asked for last is done."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        with contextlib.suppress(OSError, EOFError):
            if heard and self._line.waits(0):
                self._serve()
        self._line.close()

    def _serve(self) -> str:
        name, args, kwargs = self._line.receive()
        try:
            if name == TURN_OVER:
                self.town.pass_time(max(args[0], 0.05))
                self.eyes.work()
                answer: object = None
            else:
                answer = getattr(self.eyes, name)(*args, **kwargs)
            self._line.send((answer, None))
        except (EOFError, OSError):
            raise
        except Exception as error:
            self._line.send((None, error))
        return name
