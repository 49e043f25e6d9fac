# SPDX-License-Identifier: Apache-2.0
"""A command on a host with stdin, stdout and stderr of ours, as if it ran here: exit code, terminal, Ctrl-C."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from rayctl.node import handover
from rayctl.transport import failures, masters
from rayctl.transport.base import MARK, OWN_ENDS, Ends
from rayctl.transport.connection import Connection
from rayctl.transport.local import INTERRUPT, QUICK, exit_code, heard
from rayctl.transport.ports import HERE, Forward, answers, require_free
from rayctl.transport.remote import folder_word, remote

INTERRUPT_S = 10.0
LOOK_S = 0.02
REFUSED = re.compile(r"channel \d+: open failed: ")


class Foreground:
    """One command. `prefix` is that of its masters, `ssh` makes the command line of ssh from further options."""

    def __init__(self, connection: Connection, prefix: str, ssh: Callable[..., list[str]]) -> None:
        self._connection, self._prefix, self._ssh = connection, prefix, ssh

    def run(self, command: str, env: Mapping[str, str], forwards: Sequence[Forward] = (), ends: Ends = OWN_ENDS) -> int:
        """Run it in a login shell as Ray's launcher does; its exit code. Raises `Unreachable` when ssh failed, and not it."""
        require_free(forwards)
        mark = env.get(MARK) or uuid.uuid4().hex
        # what ssh itself has to say goes to a file: only so can it be told from what the command says
        with tempfile.NamedTemporaryFile(dir=masters.folder(), prefix="said-") as said:
            script = self._script(command, {**env, MARK: mark})
            code = self._run(remote(script), mark, ["-E", said.name, *_forwarding(forwards)], ends)
            told = _said(Path(said.name).read_text(errors="replace"))
        if code == failures.SSH_FAILED and (told or not (forwards or masters.there(self._prefix))):
            raise failures.unreachable(self._connection, told or "Connection to it closed by remote host")
        return code

    def hold(self, forwards: Sequence[Forward], ready: Callable[[], None]) -> None:
        """Let ports lead to the host's until Ctrl-C. Raises `Unreachable` when ssh ends by itself."""
        require_free(forwards)
        with tempfile.NamedTemporaryFile(dir=masters.folder(), prefix="said-") as said, subprocess.Popen(
            self._ssh("-N", "-T", "-o", "BatchMode=yes", "-E", said.name, *_forwarding(forwards)), env=masters.environment(),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True,
        ) as child:  # fmt: skip
            try:
                while child.poll() is None and not all(map(answers, forwards)):
                    time.sleep(LOOK_S)
                if child.returncode is None:
                    ready()
                child.wait()
            except KeyboardInterrupt:
                return
            finally:
                child.terminate()
            told = _said(Path(said.name).read_text(errors="replace"))
            raise failures.unreachable(self._connection, told or "Connection to it closed by remote host")

    def _script(self, command: str, env: Mapping[str, str]) -> str:
        environment = {**self._connection.env, **env, "RAYCTL_PATH": os.pathsep.join(self._connection.path_prefix)}
        exports = " ".join(f"{name}={self._word(value)}" for name, value in environment.items())
        shell = shlex.join(["/bin/bash", "--login", "-i", "-c", QUICK, "bash", command])
        return f"export {exports}\nexec {shell}"

    def _word(self, value: str) -> str:
        """A value as a word of the shell; the node's own folder is known there only."""
        if value.startswith(handover.HERE):
            return folder_word(self._connection.state_dir + value.removeprefix(handover.HERE))
        return shlex.quote(value)

    def _run(self, words: str, mark: str, further: Sequence[str], ends: Ends) -> int:
        options = ("-o", "BatchMode=yes", *further)
        if ends == OWN_ENDS and os.isatty(0) and os.isatty(1):  # ssh hands on what is typed, Ctrl-C included
            child = subprocess.Popen([*self._ssh("-t", *options), words], env=masters.environment())
            return exit_code(child, lambda: None, child.terminate)
        with heard([*self._ssh("-T", *options), words], ends, env=masters.environment()) as child:
            return exit_code(child, lambda: self.interrupt(mark), child.kill)

    def interrupt(self, mark: str) -> bool:
        """Do on the host what Ctrl-C does here: without a terminal there, ssh cannot. Whether all of it has ended."""
        script = INTERRUPT.format(mark=shlex.quote(f"{MARK}={mark}"))
        with suppress(subprocess.TimeoutExpired):
            done = subprocess.run(
                [*self._ssh("-T", "-o", "BatchMode=yes"), remote(script)], env=masters.environment(), stdin=subprocess.DEVNULL,
                capture_output=True, start_new_session=True, timeout=INTERRUPT_S, check=False,
            )  # fmt: skip
            return done.returncode == 0
        return False


def _forwarding(forwards: Sequence[Forward]) -> list[str]:
    """A master would go on listening for a command that has ended, so ports are forwarded by a connection of their own."""
    if not forwards:
        return ["-o", "ClearAllForwardings=yes"]
    ways = [["-L", f"{HERE}:{forward.local}:{forward.host}:{forward.remote}"] for forward in forwards]
    return ["-S", "none", "-o", "ExitOnForwardFailure=yes", *itertools.chain.from_iterable(ways)]


def _said(text: str) -> str:
    """What ssh itself has to say, but for connections to forwarded ports at which nobody listened."""
    return "".join(line for line in text.splitlines(keepends=True) if not REFUSED.match(line))
