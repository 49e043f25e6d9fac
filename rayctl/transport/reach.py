# SPDX-License-Identifier: Apache-2.0
"""What one operation knows of how its hosts are reached: their ssh_config, a transport each, one look at each."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import wait
from pathlib import Path

from rayctl.errors import Refused, Unreachable
from rayctl.transport import hostkeys, looks, masters, sshconfig
from rayctl.transport.base import Transport
from rayctl.transport.connection import Connection
from rayctl.transport.glance import Glance
from rayctl.transport.hostkeys import Pinned
from rayctl.transport.local import LocalTransport
from rayctl.transport.looks import Look
from rayctl.transport.ssh import SshTransport


class Reach:
    """The hosts of one cluster. `folder` is the cluster's on this controller; `hosts` are all that its ssh_config has to know.

    Every host is asked once: a second `look` tells the same until `forget`, and who was silent is not waited for again.
    """

    def __init__(self, folder: Path, hosts: Sequence[Connection]) -> None:
        self._folder = folder
        self._hosts = {host.name: host for host in hosts if host.kind == "ssh"}
        self._config: Path | None = None
        self._transports: dict[str, SshTransport] = {}
        self._looks: dict[str, Look] = {}
        self._answers: dict[str, Glance | Unreachable] = {}
        self._slots = threading.Semaphore(looks.AT_ONCE)
        self._lock = threading.RLock()

    @property
    def config(self) -> Path:
        """The cluster's ssh_config, up to date."""
        with self._lock:
            if self._config is None:
                self._config = sshconfig.write(self._folder, list(self._hosts.values()))
            return self._config

    def transport(self, connection: Connection) -> Transport:
        """How commands reach a node."""
        if connection.kind == "local":
            return LocalTransport(connection)
        if connection.kind == "ssh":
            return self._ssh(connection)
        raise Refused(f"nodes reached by {connection.kind!r} are not built yet; nothing was touched.")

    def look(self, connections: Sequence[Connection]) -> Mapping[str, Glance | Unreachable]:
        """What these hosts tell, or why not, by name. Hosts that are much slower than the others count as silent."""
        with self._lock:
            self._ask([connection for connection in connections if connection.name not in self._answers])
            return {connection.name: self._answers[connection.name] for connection in connections}

    def late(self) -> Mapping[str, Glance | Unreachable]:
        """What hosts that counted as silent said after all."""
        with self._lock:
            silent = [name for name, answer in self._answers.items() if not isinstance(answer, Glance)]
            said = {name: _answer(self._looks[name]) for name in silent if self._looks[name].answer.done()}
            return {name: answer for name, answer in said.items() if answer is not self._answers[name]}

    def forget(self, names: Collection[str] | None = None, *, silent: bool = False) -> None:
        """What hosts told, all or these, is old: they are asked again at the next look, less those that are still silent.

        `silent`: those too, as is right after longer than an operation lasts.
        """
        with self._lock:
            old = self._answers.keys() if names is None else names
            came = {name for name, answer in self.late().items() if isinstance(answer, Glance)}
            self._answers = {
                name: answer for name, answer in self._answers.items()
                if name not in old or (isinstance(answer, Unreachable) and name not in came and not silent)
            }  # fmt: skip

    def pinned(self) -> Mapping[str, Pinned]:
        """The keys that were believed at first contact, by the host's name; those of hosts on the way by ssh's."""
        names = {hostkeys.host_name(host): name for name, host in self._hosts.items()}
        return {names.get(place, place): key for place, key in hostkeys.pinned(self._folder).items()}

    def close(self) -> None:
        """End what this object holds open. Masters stay, for whoever comes next."""
        for look in self._looks.values():
            look.end()
        for transport in self._transports.values():
            transport.close()

    def close_masters(self) -> None:
        """End the connections to all hosts, also those of other rayctls: after this nobody needs them."""
        self.close()
        for host in self._hosts.values():
            masters.close(sshconfig.prefix(self._folder, host))
        masters.close(sshconfig.common_prefix(self._folder, list(self._hosts.values())))

    def _ssh(self, connection: Connection) -> SshTransport:
        with self._lock:
            if connection.name not in self._hosts:
                self._hosts[connection.name], self._config = connection, None
            if self._config is not None and not sshconfig.in_use(self._config):
                self._config = sshconfig.write(self._folder, list(self._hosts.values()))
            if connection.name not in self._transports:
                self._transports[connection.name] = SshTransport(
                    connection, self.config, sshconfig.prefix(self._folder, connection), lambda: self._glance(connection)
                )
            return self._transports[connection.name]

    def _glance(self, connection: Connection) -> Glance:
        answer = self.look([connection])[connection.name]
        if isinstance(answer, Unreachable):
            raise answer
        return answer

    def _ask(self, connections: Sequence[Connection]) -> None:
        fresh = {connection.name: Look(self._ssh(connection)) for connection in connections}
        self._looks.update(fresh)
        ahead = {
            connection.ssh.proxy_jump: connection.name for connection in reversed(connections) if connection.ssh.proxy_jump
        }
        first = [look for name, look in fresh.items() if name in ahead.values()]
        # one goes ahead and opens the bastion's master; all at once would be more logins than an sshd takes
        looks.begin(first, self._slots)
        wait([look.answer for look in first], looks.SLOW_S)
        looks.begin([look for look in fresh.values() if look not in first], self._slots)
        looks.wait_for(list(fresh.values()))
        self._answers.update({name: _answer(look) for name, look in fresh.items()})


def _answer(look: Look) -> Glance | Unreachable:
    """What a host has told by now; another error than that it was not reached is raised."""
    if not look.answer.done():
        return Unreachable(f"{look.name} did not answer while the others did", hint="Is it powered on?")
    try:
        return look.answer.result()
    except Unreachable as problem:
        return problem
