# SPDX-License-Identifier: Apache-2.0
"""Sinks without a screen: plain lines for people and CI logs, JSON lines for programs, and the run's own log file."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from io import FileIO
from pathlib import Path
from typing import TextIO

from rayctl.events import Event, EventKind, Sink
from rayctl.events.wording import details, elapsed, lines, shorten, step_name

KEPT_RUNS = 20
LOG_BYTES = 64 << 20
FIRST_SIGN_S = 2.0
NEXT_SIGN_S = 10.0
URGENT = (EventKind.FIRST_CONTACT, EventKind.NOTICE, EventKind.WARNING, EventKind.ERROR)


class JsonLinesSink(Sink):
    """Each event as a line of JSON, at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event) -> None:
        """Write the line and flush it: whoever reads the pipe follows live."""
        self._stream.write(event.to_json() + "\n")
        self._stream.flush()


class FirstContactSink(Sink):
    """Tells of nothing but hosts whose keys were believed at first contact: what follows on the stream is not about that."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, event: Event) -> None:
        """Print a line for each."""
        if event.kind == EventKind.FIRST_CONTACT:
            key = event.data.get("key")
            self._stream.write(f"{event.node}: first contact, its host key {key} is believed unverified\n")
            self._stream.flush()


class LogFileSink(Sink):
    """The run's log: JSON lines in a new file (0600). The folder is the operation's own, private, and keeps its last 20 runs.

    Names of `path` and its neighbours sort by time (`paths.run_log`). Of a run without end the last `limit` bytes are kept, and
    as many before them in a second file. Raises `OSError` when the file cannot be made.
    """

    def __init__(self, path: Path, limit: int = LOG_BYTES) -> None:
        self._path, self._limit, self._size = path, limit, 0
        self._file = self._opened()
        for old in sorted(path.parent.glob(f"*{path.suffix}"))[:-KEPT_RUNS]:
            # another run may be tidying up too
            with suppress(FileNotFoundError):
                old.unlink()

    def write(self, event: Event) -> None:
        """Append the line; it is with the kernel when this returns, so a kill loses nothing of it.

        Raises `OSError` where the disk is full; then nothing of the line is there, and the next one may find room again.
        """
        line = (event.to_json() + "\n").encode()
        if self._size + len(line) > self._limit and self._size:
            with suppress(FileNotFoundError):  # it has its other name since the last time, when there was no room for a new one
                self._path.rename(self._path.with_suffix(f"{self._path.suffix}.1"))
            new = self._opened()
            self.close()
            self._file, self._size = new, 0
        if self._file.write(line) < len(line):
            self._file.truncate(self._size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _opened(self) -> FileIO:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        return FileIO(os.open(self._path, flags, 0o600), "w")


@dataclass
class _RunningStep:
    started: Event
    next_sign: float
    signs: int = 0


class PlainSink(Sink):
    """Lines for CI logs and pipes: `12:03:07 demo-worker-1  step 3/15 pip install -r requirements.txt`.

    A step that runs longer than 2 s says so, then every 10 s; one that said so also tells its end. With `verbosity` 1 the
    steps' output is printed as it comes, with -1 nothing but notices, warnings and errors. `zone` is the time zone of the
    times (None: this machine's).
    """

    def __init__(
        self,
        stream: TextIO,
        clock: Callable[[], float] = time.time,
        *,
        verbosity: int = 0,
        zone: tzinfo | None = None,
    ) -> None:
        self._stream = stream
        self._clock = clock
        self._verbosity = verbosity
        self._zone = zone
        self._width = 0
        self._running: dict[tuple[str, str], _RunningStep] = {}

    def write(self, event: Event) -> None:
        """Print what the event has to say, if anything."""
        if self._verbosity < 0 and event.kind not in URGENT:
            return
        said = lines(event)
        if not said and (self._verbosity or self._was_long(event)):
            said = details(event)
        self._follow(event)
        self._print(event.ts, event.node or event.cluster, said)

    def tick(self, now: float | None = None) -> None:
        """Print a sign of life for each step that has been running for long."""
        moment = self._clock() if now is None else now
        for step in self._running.values():
            if moment >= step.next_sign:
                started = step.started
                step.signs += 1
                step.next_sign = moment + NEXT_SIGN_S
                command = shorten(str(started.data.get("text", "")))
                sign = f"{step_name(started)} running for {elapsed(moment - started.ts)}: {command}".rstrip(" :")
                self._print(moment, started.node, (sign,))

    def _follow(self, event: Event) -> None:
        if event.kind == EventKind.STEP_STARTED:
            self._running[event.node, event.step] = _RunningStep(event, event.ts + FIRST_SIGN_S)
        elif event.kind == EventKind.STEP_ENDED:
            self._running.pop((event.node, event.step), None)
        elif event.kind == EventKind.NODE_ENDED:
            # a lost connection leaves steps without an end
            for key in [key for key in self._running if key[0] == event.node]:
                del self._running[key]

    def _was_long(self, event: Event) -> bool:
        step = self._running.get((event.node, event.step))
        return event.kind == EventKind.STEP_ENDED and step is not None and step.signs > 0

    def _print(self, ts: float, who: str, said: tuple[str, ...]) -> None:
        if not said:
            return
        self._width = max(self._width, len(who))
        stamp = datetime.fromtimestamp(ts, self._zone).strftime("%H:%M:%S")
        text = "".join(f"{stamp} {who:<{self._width}}  {line}".rstrip() + "\n" for line in said)
        # a terminal of another encoding shows an odd character as its number rather than nothing more at all
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        self._stream.flush()
