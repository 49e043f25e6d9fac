# SPDX-License-Identifier: Apache-2.0
"""Whom we trust to be a host: the lines for ssh's configuration, and what ssh pinned at first contact.

1. The cluster file gives the host's key or its fingerprint: that one and no other.
2. It names a known_hosts file: what stands there and nothing else.
3. Otherwise a key that the user's own known_hosts has is checked, and an unknown host's is pinned in the cluster's at
   first contact. From then on another one is refused.

ssh itself checks, so the key is known before anything of ours is said to the host, and jump hosts are treated alike.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rayctl.errors import Refused
from rayctl.state import private
from rayctl.transport import masters
from rayctl.transport.connection import Connection
from rayctl.transport.quoting import word

USERS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
PINNED = "known_hosts"  # in the cluster's folder; ssh writes it
FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")
COMMANDS_SINCE = (8, 5)  # the release that brought KnownHostsCommand
PUBLIC_KEY = re.compile(r"[a-z0-9@.-]+ [A-Za-z0-9+/]+=*")
# prints the offered key only if it is the one that is wanted; ssh calls it once without a key, to learn which type to ask for
ONLY = """/bin/sh -c 'if [ "$1" = "$2" ]; then echo "$3 $4 $5"; fi' sh %f {fingerprint} %H %t %K"""


def prepare(folder: Path, connections: Sequence[Connection]) -> None:
    """Put the files in place to which the rules refer. Raises `Refused` for a key that is none, or an ssh that is too old."""
    private.create(folder / PINNED, b"")  # ssh would let others read it
    for connection in connections:
        if FINGERPRINT.fullmatch(connection.ssh.host_key):
            masters.require(COMMANDS_SINCE, f"to check the fingerprint given for {connection.name}")
        elif connection.ssh.host_key:
            _store_given_key(folder, connection)


def own_rule(folder: Path, connection: Connection) -> list[str]:
    """The lines for a host that the cluster file says something of; none where the common rule holds."""
    ssh = connection.ssh
    if FINGERPRINT.fullmatch(ssh.host_key):
        return [*_strict("none"), f"KnownHostsCommand {ONLY.format(fingerprint=ssh.host_key)}"]
    if ssh.host_key:
        return _strict(word(str(_given_key(folder, connection))))
    return _strict(word(ssh.known_hosts)) if ssh.known_hosts else []


def common_rule(folder: Path, connections: Sequence[Connection]) -> list[str]:
    """The lines for all other hosts: those on the way, and nodes of which nothing is said."""
    named = sorted({connection.ssh.known_hosts for connection in connections if connection.ssh.known_hosts})
    if named:  # who names the hosts that are trusted wants no key pinned on the way either
        return [_files(*map(word, named), *USERS), "StrictHostKeyChecking yes"]
    return [_files(word(str(folder / PINNED)), *USERS), "StrictHostKeyChecking accept-new"]


def _strict(file: str) -> list[str]:
    return [_files(file), "GlobalKnownHostsFile none", "StrictHostKeyChecking yes", "VerifyHostKeyDNS no"]


def _files(*files: str) -> str:
    return f"UserKnownHostsFile {' '.join(files)}"


def _given_key(folder: Path, connection: Connection) -> Path:
    """The known_hosts file of the key that the cluster file gives."""
    return folder / "host_keys" / hashlib.sha256(_key(connection).encode()).hexdigest()[:16]


def _store_given_key(folder: Path, connection: Connection) -> None:
    if not PUBLIC_KEY.fullmatch(_key(connection)):
        raise Refused(
            f"the host key given for {connection.name} is neither a fingerprint nor a public key; nothing was touched.",
            hint="Give `SHA256:...` as `ssh-keygen -l` shows it, or the text of the host's /etc/ssh/ssh_host_ed25519_key.pub.",
        )
    # for any name: whatever the host is called, it must have that key
    private.create(_given_key(folder, connection), f"* {_key(connection)}\n".encode())


def _key(connection: Connection) -> str:
    """Type and key, without the comment."""
    return " ".join(connection.ssh.host_key.split()[:2])


# ---- what was pinned
@dataclass(frozen=True)
class Pinned:
    """A key that was believed at first contact. `host` is how ssh names it: an address, or `[address]:port`."""

    host: str
    fingerprint: str
    verified: bool

    def __str__(self) -> str:
        return self.fingerprint


def pinned(folder: Path) -> Mapping[str, Pinned]:
    """The keys pinned for a cluster, by host; one that the user's own known_hosts has by now is verified."""
    verified = {key for file in USERS for _, key in _entries(_read(Path(file).expanduser()))}
    entries = _entries(private.load(folder / PINNED) or b"")
    return {host: Pinned(host, fingerprint(key), key in verified) for host, key in entries}


def new_since(before: Mapping[str, Pinned], folder: Path) -> list[Pinned]:
    """What was pinned meanwhile."""
    return [key for host, key in pinned(folder).items() if key != before.get(host)]


def host_name(connection: Connection) -> str:
    """How ssh names the host in a known_hosts file."""
    port = connection.ssh.port
    return f"[{connection.address}]:{port}" if port not in (0, 22) else connection.address


def fingerprint(key: str) -> str:
    """`SHA256:... (ED25519)` of a key as it stands in a known_hosts file, as ssh and ssh-keygen show it."""
    kind, _, text = key.partition(" ")
    try:
        digest = hashlib.sha256(base64.b64decode(text)).digest()
    except binascii.Error:
        return "a key that cannot be read"
    name = "ECDSA" if "ecdsa" in kind else kind.removeprefix("sk-").removeprefix("ssh-").partition("@")[0].upper()
    return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')} ({name})"


def _entries(content: bytes) -> Iterator[tuple[str, str]]:
    """Names and keys of the lines of a known_hosts file; lines with a marker (@revoked, ...) are none."""
    for line in content.decode("utf-8", "replace").splitlines():
        words = line.split()
        if len(words) >= 3 and not line.startswith(("#", "@")):
            yield words[0], f"{words[1]} {words[2]}"


def _read(file: Path) -> bytes:
    with suppress(OSError):
        return file.read_bytes()
    return b""
