# SPDX-License-Identifier: Apache-2.0
"""Nodes on this machine: commands run as the caller, in the caller's environment less what belongs to our own tools."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rayctl.errors import StateRefused
from rayctl.node import control, noise, probe, processes, steps
from rayctl.node.state import NodeError
from rayctl.state.private import private_dir
from rayctl.transport.base import MARK, OWN_ENDS, Ends
from rayctl.transport.channel import Channel
from rayctl.transport.connection import Connection
from rayctl.transport.ports import Forward, relayed
from rayctl.transport.shipping import boot_command, opening

# what rayctl, Ansible and a surrounding Ray job put into the environment: none of it is the user's for a node
OURS = re.compile(
    r"^(RAYCTL|ANSIBLE|AWX|RUNNER)_|^RAY_(ADDRESS|CLOUD_INSTANCE_ID|CLOUD_INSTANCE_TYPE_NAME|NODE_TYPE_NAME|HEAD_IP|"
    r"OVERRIDE_RESOURCES|OVERRIDE_LABELS|JOB_ID|AUTH_MODE|AUTH_TOKEN|AUTH_TOKEN_PATH)$"
)
# the command is an argument of its own: it is parsed once, by eval, as if it had been typed
QUICK = f'{steps.PRELUDE}_command=$1; set --; trap : INT; (eval "$_command")'
PIPE_BYTES = 65536
# By process groups, as a terminal does it: a process that is just being made gets it too, what a trap starts does not. Then
# wait until all have ended, though not for ever.
INTERRUPT = """found() {{ grep -ls {mark} /proc/[0-9]*/environ; }}
groups() {{ for f in $(found); do read -r line < "${{f%environ}}stat" && set -- ${{line##*) }} && echo "$3"; done | sort -u; }}
for group in $(groups 2>/dev/null); do kill -INT "-$group"; done 2>/dev/null
i=0; while [ -n "$(found)" ]; do i=$((i+1)); [ $i -lt 50 ] || exit 1; sleep 0.1; done"""
GRACE_S = 3.0  # for a command that is interrupted because we are
OWNER = "RAYCTL_OWNER"  # pid/start time of the wrapper that runs this playbook


def caller_environment() -> dict[str, str]:
    """The environment a person's shell on this machine would give a command.

    Under a wrapper that is the wrapper's, read from its process: what Ansible itself was given is smaller, since
    ansible-runner writes it to disk.
    """
    environment = _owner_environment() or dict(os.environ)
    return {name: value for name, value in environment.items() if not OURS.match(name)}


def under_wrapper() -> bool:
    """Whether this process works for a `rayctl` that has looked at the nodes already."""
    return bool(os.environ.get(OWNER))


def _owner_environment() -> dict[str, str] | None:
    pid, _, started = os.environ.get(OWNER, "").partition("/")
    if not pid or not processes.alive(int(pid), int(started)):
        return None
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return None  # it ended just now, or runs as another user
    entries = [os.fsdecode(entry).partition("=") for entry in content.split(b"\0") if entry]
    return {name: value for name, _, value in entries}


def argv(interpreters: Sequence[str]) -> list[str]:
    """The process that is a line to a node on this machine."""
    return ["/bin/sh", "-c", boot_command(interpreters)]


class LocalTransport:
    """One node on this machine."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def open(self, request: Mapping[str, Any]) -> Channel:
        """A conversation with the node's runner."""
        return Channel(argv(self.connection.python), caller_environment(), opening(request))

    def probe(self, mark: str) -> dict[str, Any]:
        """What the node remembers and whether its Ray lives (`node/probe.py`)."""
        with _refused():
            return probe.look(self.connection.state_dir, mark)

    def rsh(self) -> list[str]:
        """See `Transport`."""
        return ["/bin/sh", "-c"]

    def leave_master(self) -> None:
        """There is no connection that stays open."""

    def cancel(self) -> bool:
        """End the run that is under way there; whether there was one."""
        with _refused():
            return control.stop_runner(self.connection.state_dir)

    def stop_ray(self, mark: str) -> list[str]:
        """See `Transport`."""
        return [f"{process.name} (pid {process.pid})" for process in processes.stop(mark)]

    def put(self, source: Path) -> str:
        """Copy a file into the node's own folder; its path there."""
        folder = private_dir(Path(self.connection.state_dir) / "files")
        return str(shutil.copy2(source, folder / source.name))

    def run(self, command: str, env: Mapping[str, str], forwards: Sequence[Forward] = (), ends: Ends = OWN_ENDS) -> int:
        """Run one command in a login shell as Ray's launcher does; its exit code. See `Transport`.

        It begins in the home folder, where an ssh login begins. A death by signal n is 128 + n, as in a shell.
        """
        environment = {**caller_environment(), **self.connection.env, **env}
        environment["RAYCTL_PATH"] = os.pathsep.join(self.connection.path_prefix)
        home = Path("~").expanduser()
        with relayed(forwards):
            return _in_foreground(command, environment, home if home.is_dir() else Path("/"), ends)

    def interrupt(self, mark: str) -> bool:
        """See `Transport`."""
        script = INTERRUPT.format(mark=shlex.quote(f"{MARK}={mark}"))
        return subprocess.run(["/bin/sh", "-c", script], stdin=subprocess.DEVNULL, check=False).returncode == 0

    def hold(self, forwards: Sequence[Forward], ready: Callable[[], None]) -> None:
        """See `Transport`."""
        with relayed(forwards), suppress(KeyboardInterrupt):
            ready()
            threading.Event().wait()


def _in_foreground(command: str, environment: Mapping[str, str], folder: Path, ends: Ends) -> int:
    shell = ["/bin/bash", "--login", "-i", "-c", QUICK, "bash", command]
    if ends == OWN_ENDS and _has_terminal():  # which gives Ctrl-C to the command by itself
        child = subprocess.Popen(shell, env=environment, cwd=folder)
        return exit_code(child, lambda: None, lambda: child.send_signal(signal.SIGHUP))
    with heard(shell, ends, env=environment, cwd=folder) as child:
        return exit_code(child, lambda: _signal(child, signal.SIGINT), lambda: _signal(child, signal.SIGKILL))


def _signal(child: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, number)


@contextmanager
def heard(
    argv: Sequence[str], ends: Ends, *, env: Mapping[str, str], cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a session of its own, without a terminal: what bash then complains of is left out."""
    child = subprocess.Popen(
        argv, env=env, cwd=cwd, stdin=ends.stdin, stdout=ends.stdout, stderr=subprocess.PIPE, start_new_session=True
    )
    assert child.stderr is not None
    ended = threading.Event()
    pump = threading.Thread(target=copy_without_noise, args=(child.stderr.fileno(), ends.stderr, ended.is_set), daemon=True)
    pump.start()
    try:
        yield child
    finally:
        ended.set()
        pump.join()
        child.stderr.close()


def exit_code(child: subprocess.Popen[bytes], interrupt: Callable[[], object], end: Callable[[], object]) -> int:
    """Wait for a command's own exit code. It gets each Ctrl-C by `interrupt`, and decides what becomes of it.

    Whatever else ends the waiting, such as a SIGTERM, does not leave it behind: it is interrupted, and then ended by `end`.
    """
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            interrupt()
        except BaseException:
            interrupt()
            with suppress(subprocess.TimeoutExpired):
                child.wait(GRACE_S)
            end()
            child.wait()
            raise
        else:
            return code if code >= 0 else 128 - code


def _has_terminal() -> bool:
    """Whether bash will find a terminal to control; without one it complains on stderr."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def copy_without_noise(source: int, target: int, ended: Callable[[], bool] = lambda: False) -> None:
    """Copy a file descriptor to its end, leaving out what bash says about job control.

    Once `ended` says so, the end is where nothing more comes: a background child may keep the descriptor open. Goes on
    reading when nobody reads `target` any more: the command must not be held by that.
    """
    quiet, heard = noise.Quiet(), True
    for chunk in _chunks(source, ended):
        heard = heard and _written(target, quiet.feed(chunk))
    if heard:
        _written(target, quiet.rest())


def _chunks(source: int, ended: Callable[[], bool]) -> Iterator[bytes]:
    left = PIPE_BYTES  # more than a pipe holds, an ended command cannot have left in it
    while left > 0:
        over = ended()
        if select.select([source], [], [], 0.1)[0]:
            chunk = os.read(source, PIPE_BYTES)
            if not chunk:
                return
            yield chunk
            left -= len(chunk) if over else 0
        elif over:
            return


def _written(target: int, data: bytes) -> bool:
    try:
        while data:
            data = data[os.write(target, data) :]
    except OSError:
        return False
    return True


@contextmanager
def _refused() -> Iterator[None]:
    """The node's own errors as those of the controller that it is here."""
    try:
        yield
    except NodeError as e:
        raise StateRefused(str(e)) from None
