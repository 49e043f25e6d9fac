# SPDX-License-Identifier: Apache-2.0
"""A conversation with a node: one process here (a shell, or ssh) whose stdin and stdout carry the lines of `node/wire.py`."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from rayctl.node import wire

STDERR_KEPT = 65536


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
        assert self.process.stderr is not None
        while chunk := self.process.stderr.read1(65536):  # type: ignore[attr-defined]
            self._stderr = (self._stderr + chunk)[-STDERR_KEPT:]

    @property
    def stderr(self) -> str:
        """The end of what the process printed on stderr so far."""
        return self._stderr.decode("utf-8", "replace").strip()

    def send(self, message: Mapping[str, Any]) -> None:
        """One line to the node. A line that is cut is no error here: the reason follows in `close()`."""
        self._write(wire.encode(dict(message)))

    def _write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(data)
            self.process.stdin.flush()

    def __iter__(self) -> Iterator[wire.Message]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = wire.unmark(line)
            if message is not None:
                yield message

    def close(self) -> int:
        """End the line; the exit status of the process. What runs on the node goes on."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        status = self.process.wait()
        self._reader.join(0.2)
        return status

    def kill(self) -> None:
        """Cut the line at once."""
        self.process.kill()
