# SPDX-License-Identifier: Apache-2.0
"""The cluster's ssh_config: one file by which rayctl, rsync, Ansible and people (`ssh -F FILE h1`) reach its hosts alike.

For each host what the cluster file says of it, then what rayctl wants of every connection, then the user's own
configuration, which so decides all that is left open: agents, further options, ways through other hosts. ssh hands `-F`
on to the ssh of a ProxyJump, so jump hosts get the same checks and the same masters.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from rayctl.state import private
from rayctl.transport import hostkeys, masters
from rayctl.transport.connection import Connection
from rayctl.transport.quoting import line, pattern, plain, word

NAME, COPIES, QUOTE = "ssh_config", "ssh", '"'
UNUSED_S = 7 * 24 * 3600.0
HEADING = "# Written by rayctl from the cluster file: a change here is lost.  ssh -F {file} HOST\n"
CONNECT_S, SILENCE_S, SILENCES, PERSIST = 10, 5, 3, "10m"
DEFAULTS = (
    "ControlMaster auto",
    f"ControlPersist {PERSIST}",
    f"ConnectTimeout {CONNECT_S}",
    f"ServerAliveInterval {SILENCE_S}",
    f"ServerAliveCountMax {SILENCES}",
    "HashKnownHosts no",
    "CheckHostIP no",
    "UpdateHostKeys no",
    "LogLevel ERROR",
    "ForwardAgent no",
    "ForwardX11 no",
    "PermitLocalCommand no",
    "RemoteCommand none",
    "StreamLocalBindUnlink yes",
)
# with -F ssh reads neither by itself
THE_USERS = ("Include ~/.ssh/config", "Include /etc/ssh/ssh_config")
USERS_KEYS = ("~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa")


def write(folder: Path, connections: Sequence[Connection]) -> Path:
    """Bring the file in the cluster's folder up to date. Raises `Refused` for what ssh cannot be told.

    The path returned is that of a copy which never changes: a cluster file that is edited while an operation runs, or that of
    another cluster of this name, must not change whom that operation trusts.
    """
    hostkeys.prepare(folder, connections)
    content = text(folder, connections, masters.folder()).encode("utf-8", "surrogateescape")
    copy = folder / COPIES / hashlib.sha256(content).hexdigest()[:16]
    for file in (copy, folder / NAME):
        if private.load(file) != content:
            private.store(file, content)
    if not in_use(copy):  # another process has just removed it
        private.store(copy, content)
    _sweep(copy)
    return copy


def in_use(copy: Path) -> bool:
    """Whether a copy is still there; it is kept for longer then. A scaler may use one for weeks."""
    try:
        os.utime(copy)
    except FileNotFoundError:
        return False
    return True


def _sweep(used: Path) -> None:
    """Remove copies that nobody has asked for in a long time."""
    for file in used.parent.iterdir():
        with suppress(FileNotFoundError):
            if file.stat().st_mtime < used.stat().st_mtime - UNUSED_S:
                file.unlink()


def text(folder: Path, connections: Sequence[Connection], sockets: Path) -> str:
    """The file's text; `sockets` is where masters listen."""
    blocks = [block for connection in connections for block in _host(folder, connection, sockets)]
    blocks += [_block(pattern(hop), _keys(keys)) for hop, keys in _hops(connections).items()]
    trust = hostkeys.common_rule(folder, connections)
    blocks.append(_block("*", [*trust, control_path(sockets, common_prefix(folder, connections)), *DEFAULTS, *THE_USERS]))
    return HEADING.format(file=folder / NAME) + "".join(blocks)


def for_people(folder: Path, names: Mapping[str, Connection], sockets: Path) -> str:
    """Blocks for a person's own configuration: each host by the name that it is given here, by the same rules and masters.

    What a host's block leaves open, the rest of that configuration decides, ways through other hosts included.
    """
    blocks = []
    for name, connection in names.items():
        lines = [f"HostName {word(connection.address)}", *_lines(folder, connection, sockets)]
        trust = hostkeys.own_rule(folder, connection) or hostkeys.common_rule(folder, list(names.values()))
        blocks.append(_block(pattern(name), [*lines, *trust, *DEFAULTS]))
    return "".join(blocks)


def prefix(folder: Path, connection: Connection) -> str:
    """What the names of a host's masters begin with."""
    return _digest(folder, connection.name, connection.address, asdict(connection.ssh))


def common_prefix(folder: Path, connections: Sequence[Connection]) -> str:
    """The same for hosts on the way."""
    return _digest(folder, hostkeys.common_rule(folder, connections))


def _digest(*parts: object) -> str:
    """Eight hex digits that tell masters apart: nobody rides on one that was opened by another rule or as somebody else."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogateescape")).hexdigest()[:8]


def control_path(sockets: Path, prefix: str) -> str:
    """Where masters listen, as ssh is told: it puts a digest of host, port and user for `%C`."""
    return f"ControlPath {word(f'{sockets}/{prefix}').removesuffix(QUOTE)}-%C{QUOTE}"


def _block(names: str, lines: Sequence[str]) -> str:
    return "".join([f"Host {names}\n", *(f"  {line}\n" for line in lines)])


def _host(folder: Path, connection: Connection, sockets: Path) -> Iterator[str]:
    """A host's blocks. By its address ssh finds what the user's own configuration says of it, so that one gets no HostName."""
    name, address = connection.name, connection.address
    if name != address:
        yield _block(pattern(name), [f"HostName {word(address)}"])
    lines = [*_lines(folder, connection, sockets), *hostkeys.own_rule(folder, connection)]
    yield _block(" ".join(pattern(one) for one in dict.fromkeys((name, address))), lines)


def _lines(folder: Path, connection: Connection, sockets: Path) -> list[str]:
    """As whom, where, by which key and way a host is reached, and over which master."""
    ssh = replace(connection.ssh, options=())
    lines = [f"User {plain(ssh.user)}"] if ssh.user else []
    lines += [f"Port {ssh.port}"] if ssh.port else []
    lines += [f"IdentityFile {word(ssh.key)}", "IdentitiesOnly yes"] if ssh.key else []
    return [*lines, *_way(connection), control_path(sockets, prefix(folder, replace(connection, ssh=ssh)))]


def _way(connection: Connection) -> list[str]:
    ssh = connection.ssh
    if ssh.proxy_command:
        return [f"ProxyCommand {line(ssh.proxy_command)}"]
    if not ssh.proxy_jump:
        return []
    hops = ssh.proxy_jump.split(",")
    own = [index for index, hop in enumerate(hops) if _hop_host(hop) in (connection.name, connection.address)]
    # a host that the others are reached through is not reached through itself
    return [f"ProxyJump {line(','.join(hops[: own[0]] if own else hops) or 'none')}"]


def _hops(connections: Sequence[Connection]) -> dict[str, list[str]]:
    """Other hosts on the way, each with the keys of those behind it: what opens a host is tried on its bastion too."""
    own = {name for connection in connections for name in (connection.name, connection.address)}
    found: dict[str, list[str]] = {}
    for ssh in (connection.ssh for connection in connections if connection.ssh.key and connection.ssh.proxy_jump):
        for hop in map(_hop_host, ssh.proxy_jump.split(",")):
            if hop not in own and ssh.key not in found.setdefault(hop, []):
                found[hop].append(ssh.key)
    return found


def _keys(keys: Sequence[str]) -> list[str]:
    # naming one key makes ssh forget those that it tries by itself
    return [f"IdentityFile {word(key)}" for key in keys] + [f"IdentityFile {key}" for key in USERS_KEYS]


def _hop_host(hop: str) -> str:
    """The host of `[user@]host[:port]`; an IPv6 address with a port stands in brackets."""
    place = hop.strip().rpartition("@")[2]
    if place.startswith("["):
        return place[1:].partition("]")[0]
    return place.partition(":")[0] if place.count(":") == 1 else place
