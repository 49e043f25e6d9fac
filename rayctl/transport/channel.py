# SPDX-License-Identifier: Apache-2.0
"""A conversation with a node: one process here (a shell, or ssh) whose stdin and stdout carry the lines of `node/wire.py`."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import IO, Any

from rayctl.node import wire

STDERR_KEPT = 65536
CLOSE_S = 10.0  # a process that does not end although its line is closed is killed


class Channel:
    """Start `argv`, send the `opening`, iterate over what the node says, `send` answers, `close` at the end.

    The process has a session of its own: a Ctrl-C at the terminal reaches us and not the line, so that a cancel can still
    be sent over it.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], opening: bytes) -> None:
        self.process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env, start_new_session=True
        )
        self._stderr = bytearray()
        # a thread, not communicate(): something may keep stderr open after the conversation is over
        self._reader = threading.Thread(target=self._read_stderr, daemon=True)
        self._reader.start()
        self._write(opening)

    def _read_stderr(self) -> None:
        leave_signals()
        with _pipe(self.process.stderr) as pipe:
            while chunk := os.read(pipe.fileno(), 65536):
                self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]

    @property
    def stderr(self) -> str:
        """The end of what the process printed on stderr so far."""
        return self._stderr.decode("utf-8", "replace").strip()

    def send(self, message: Mapping[str, Any]) -> None:
        """One line to the node, also from a signal handler. A line that is cut is no error: the reason follows in `close()`."""
        self._write(wire.encode(dict(message)))

    def _write(self, data: bytes) -> None:
        """Past the file object: it may not be entered a second time by a signal handler."""
        with suppress(OSError, ValueError):  # cut at the other end, or closed here
            while data:
                data = data[os.write(_pipe(self.process.stdin).fileno(), data) :]

    def __iter__(self) -> Iterator[wire.Message]:
        for line in _pipe(self.process.stdout):
            message = wire.unmark(line)
            if message is not None:
                yield message

    def close(self) -> int:
        """End the line; the exit status of the process. What runs on the node goes on."""
        with suppress(BrokenPipeError):
            _pipe(self.process.stdin).close()
        try:
            status = self.process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self.process.wait()
        self._reader.join(0.2 if status == 0 else 2.0)  # of what failed, the last words say why
        _pipe(self.process.stdout).close()
        return status

    def kill(self) -> None:
        """Cut the line at once."""
        self.process.kill()


def leave_signals() -> None:
    """Let the main thread get them: it is that one which may be waiting in a system call, and which acts on them."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None
    return pipe
