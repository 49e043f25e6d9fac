# SPDX-License-Identifier: Apache-2.0
"""A command on a host with our stdin, stdout and stderr, as if it ran here: exit code, terminal, Ctrl-C."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from rayctl.node import handover
from rayctl.transport import failures, masters
from rayctl.transport.connection import Connection
from rayctl.transport.local import QUICK, copy_without_noise
from rayctl.transport.remote import folder_word, remote

MARK = "RAYCTL_EXEC"  # by which a Ctrl-C finds the command's processes
INTERRUPT = "for f in $(grep -ls {mark} /proc/[0-9]*/environ); do f=${{f#/proc/}}; kill -INT ${{f%/*}}; done 2>/dev/null"
INTERRUPT_S = 10.0


class Foreground:
    """One command. `prefix` is that of its masters, `ssh` makes the command line of ssh from further options."""

    def __init__(self, connection: Connection, prefix: str, ssh: Callable[..., list[str]]) -> None:
        self._connection, self._prefix, self._ssh = connection, prefix, ssh
        self._mark = f"{MARK}={uuid.uuid4().hex}"

    def run(self, command: str, env: Mapping[str, str]) -> int:
        """Run it in a login shell as Ray's launcher does; its exit code. Raises `Unreachable` when ssh failed, and not it."""
        # what ssh itself has to say goes to a file: only so can it be told from what the command says
        with tempfile.NamedTemporaryFile(dir=masters.folder(), prefix="said-") as said:
            code = self._run(remote(self._script(command, env)), said.name)
            told = Path(said.name).read_text(errors="replace")
        if code == failures.SSH_FAILED and (told or not masters.there(self._prefix)):
            raise failures.unreachable(self._connection, told or "Connection to it closed by remote host")
        return code

    def _script(self, command: str, env: Mapping[str, str]) -> str:
        environment = {**self._connection.env, **env, "RAYCTL_PATH": os.pathsep.join(self._connection.path_prefix)}
        exports = " ".join(f"{name}={self._word(value)}" for name, value in environment.items())
        shell = shlex.join(["/bin/bash", "--login", "-i", "-c", QUICK, "bash", command])
        return f"export {self._mark} {exports}\nexec {shell}"

    def _word(self, value: str) -> str:
        """A value as a word of the shell; the node's own folder is known there only."""
        if value.startswith(handover.HERE):
            return folder_word(self._connection.state_dir + value.removeprefix(handover.HERE))
        return shlex.quote(value)

    def _run(self, words: str, said: str) -> int:
        options = ("-E", said, "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes")
        if os.isatty(0) and os.isatty(1):  # ssh hands on what is typed, Ctrl-C included
            return _wait(subprocess.Popen([*self._ssh("-t", *options), words], env=masters.environment()), lambda: None)
        child = subprocess.Popen(
            [*self._ssh("-T", *options), words], env=masters.environment(), stderr=subprocess.PIPE, start_new_session=True
        )
        assert child.stderr is not None
        ended = threading.Event()
        pump = threading.Thread(target=copy_without_noise, args=(child.stderr.fileno(), 2, ended.is_set), daemon=True)
        pump.start()
        code = _wait(child, self._interrupt)
        ended.set()
        pump.join()
        child.stderr.close()
        return code

    def _interrupt(self) -> None:
        """Do on the host what Ctrl-C does here: without a terminal there, ssh cannot."""
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                [*self._ssh("-T", "-o", "BatchMode=yes"), remote(INTERRUPT.format(mark=self._mark))],
                env=masters.environment(), stdin=subprocess.DEVNULL, capture_output=True, start_new_session=True,
                timeout=INTERRUPT_S, check=False,
            )  # fmt: skip


def _wait(child: subprocess.Popen[bytes], interrupt: Callable[[], None]) -> int:
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            interrupt()
            continue  # the command decides what becomes of it
        return code if code >= 0 else 128 - code
