# SPDX-License-Identifier: Apache-2.0
"""One host over OpenSSH: every call is one ssh, which rides on the host's master when there is one.

What ssh needs to know stands in the cluster's ssh_config. It is always given the host's address, by which the user's own
configuration knows the host too.
"""

from __future__ import annotations

import shlex
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError
from rayctl.node.wire import Message
from rayctl.transport import failures, glance, masters, sshconfig
from rayctl.transport.base import OWN_ENDS, Ends
from rayctl.transport.channel import Channel
from rayctl.transport.connection import Connection
from rayctl.transport.foreground import Foreground
from rayctl.transport.forward import Forwards
from rayctl.transport.ports import Forward
from rayctl.transport.remote import folder_word, remote
from rayctl.transport.shipping import boot_command, opening

# INFO: much of what goes wrong at a login ssh tells at that level only
UNATTENDED = ("-T", "-o", "BatchMode=yes", "-o", "ClearAllForwardings=yes", "-o", "LogLevel=INFO")
PUT = """umask 077
mkdir -p {folder} && cd {folder} && chmod 700 . || exit
[ -O . ] && [ ! -L {folder} ] || {{ echo "$PWD is not ours alone" >&2; exit 1; }}
cat > .{name}.$$ && mv -f .{name}.$$ {name} || {{ rm -f .{name}.$$; exit 1; }}
printf '\\n%s\\n' "$PWD"/{name}"""


class SshTransport:
    """One host. `config` is the cluster's ssh_config; `look` gives the look that the operation took at the host.

    `masters` is what the names of its masters' sockets begin with.
    """

    def __init__(self, connection: Connection, config: Path, masters: str, look: Callable[[], glance.Glance]) -> None:
        self.connection = connection
        self.masters = masters
        self._config, self._look = config, look
        self._lock = threading.Lock()
        self._line: Channel | None = None
        self._replies: Iterator[Message] = iter(())
        self._forwards = Forwards(connection, self.masters, self.command)

    def command(self, *options: str) -> list[str]:
        """ssh to this host with these options; what is to be run there may follow."""
        given = self.connection.ssh.options
        # who brings options of his own may be another user or trust other keys: those masters are apart
        path = ("-o", sshconfig.control_path(masters.folder(), self.masters)) if given else ()
        return [masters.program(), *given, "-F", str(self._config), *path, *options, self.connection.address]

    def rsh(self, *options: str) -> list[str]:
        """ssh to this host with nobody to ask; rsync, tar and others append what is to be run there."""
        return self.command(*options, *UNATTENDED)

    def open(self, request: Mapping[str, Any], further: tuple[str, ...] = ()) -> Channel:
        """See `Transport`; `further` are modules of the node code beyond those that every request needs."""
        boot = remote(boot_command(self.connection.python))
        return Channel([*self.rsh(), boot], masters.environment(), opening(request, further))

    def leave_master(self) -> None:
        """See `Transport`. What is under way on the master goes on; the next ssh opens another."""
        masters.stop(self.masters)

    def ask(self, request: Mapping[str, Any]) -> Message:
        """One request about this node to its end of the line (`node/ops.py`), and the reply. Fit for several threads.

        One line serves them all. Raises RayctlError with the node's word for what it cannot do.
        """
        with self._lock:
            reply = self._reply_to({**request, "state_dir": self.connection.state_dir})
        if reply.get("failed"):
            raise RayctlError(f"{self.connection.name}: {reply['message']}")
        return reply

    def _reply_to(self, request: Mapping[str, Any]) -> Message:
        line = self._standing_line()
        line.send(request)
        for reply in self._replies:
            return reply
        self._line = None
        raise failures.ended(self.connection, line.close(), line.stderr)

    def _standing_line(self) -> Channel:
        if self._line is None or self._line.process.poll() is not None:
            self._end_line()
            self._line = self.open({"op": "serve"})
            self._replies = iter(self._line)
        return self._line

    def glance(self) -> glance.Glance:
        """What the look at the host told that this operation took. Raises `Unreachable`."""
        return self._look()

    def probe(self, mark: str) -> dict[str, Any]:
        """See `Transport`; from the look at the host."""
        return glance.seen(self._look(), mark)

    def cancel(self) -> bool:
        """See `Transport`."""
        return bool(self.ask({"op": "cancel"})["stopped"])

    def stop_ray(self, mark: str) -> list[str]:
        """See `Transport`."""
        return list(self.ask({"op": "stop_ray", "mark": mark})["left"])

    def put(self, source: Path) -> str:
        """See `Transport`. The file is there whole or not at all, and nobody else can read it."""
        folder = folder_word(f"{self.connection.state_dir}/files")
        script = PUT.format(folder=folder, name=shlex.quote(source.name))
        with source.open("rb") as file:
            done = subprocess.run(
                [*self.rsh(), remote(script)], stdin=file, capture_output=True, env=masters.environment(),
                start_new_session=True, check=False,
            )  # fmt: skip
        if done.returncode == failures.SSH_FAILED:
            raise failures.unreachable(self.connection, _text(done.stderr))
        if done.returncode:
            raise RayctlError(f"cannot copy {source} to {self.connection.name}: {failures.last_words(_text(done.stderr))}")
        return _text(done.stdout).splitlines()[-1]

    def run(self, command: str, env: Mapping[str, str], forwards: Sequence[Forward] = (), ends: Ends = OWN_ENDS) -> int:
        """See `Transport`."""
        return Foreground(self.connection, self.masters, self.command).run(command, env, forwards, ends)

    def interrupt(self, mark: str) -> bool:
        """See `Transport`."""
        return Foreground(self.connection, self.masters, self.command).interrupt(mark)

    def hold(self, forwards: Sequence[Forward], ready: Callable[[], None]) -> None:
        """See `Transport`."""
        Foreground(self.connection, self.masters, self.command).hold(forwards, ready)

    def forward(self, host: str, port: int) -> Path:
        """A UNIX socket that leads to a port as the node sees it, until `close`. Raises `Refused` where sshd forbids it."""
        return self._forwards.open(host, port)

    def close(self) -> None:
        """End what this object holds open. The host's master stays, for whoever comes next."""
        with self._lock:
            self._end_line()
        self._forwards.close()

    def _end_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
