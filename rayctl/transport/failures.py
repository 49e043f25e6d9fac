# SPDX-License-Identifier: Apache-2.0
"""What ssh's last words mean: which host, what happened, what to do. The wordings are those of OpenSSH 8 and 9."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from pathlib import Path

from rayctl.errors import RayctlError, Unreachable
from rayctl.transport.cases import CASES, Case
from rayctl.transport.connection import Connection
from rayctl.transport.hostkeys import fingerprint, host_name
from rayctl.transport.shipping import NO_PYTHON

SSH_FAILED = 255  # ssh's own exit status for all that is not the command's
LAST_LINES = 3
PINNED = re.compile("Warning: Permanently added ")


class HostKeyChanged(Unreachable):
    """Seen when a host, or one on the way to it, shows another key than it had. Nothing was said to it."""


def unreachable(connection: Connection, said: str) -> Unreachable:
    """Why a host was not reached, from what ssh said on stderr."""
    if changed := _changed(connection, said):
        return changed
    for case in CASES:
        if found := case.tells.search(said):
            return _told(connection, case, found, said)
    return Unreachable(f"{_name(connection)} does not answer: {last_words(said) or 'the connection ended without a word'}")


def ended(connection: Connection, status: int, said: str) -> RayctlError:
    """Why a conversation ended before its time, from the process's exit status and what it said on stderr."""
    if status == SSH_FAILED:
        return unreachable(connection, said)
    if status == NO_PYTHON:
        return RayctlError(
            f"no Python 3.8 or newer was found on {connection.name} (tried {', '.join(connection.python)})",
            hint="Install python3 there, or name an interpreter in the cluster file.",
        )
    return RayctlError(f"the line to {connection.name} ended early, exit status {status}: {last_words(said) or 'no output'}")


def last_words(said: str) -> str:
    """The last lines of stderr as one, less what ssh tells of a key that it pinned."""
    return " | ".join(_lines(said)[-LAST_LINES:])


def _lines(said: str) -> list[str]:
    return [line.strip() for line in said.splitlines() if line.strip() and not PINNED.match(line)]


def _told(connection: Connection, case: Case, found: re.Match[str], said: str) -> Unreachable:
    elsewhere = _other(connection, found.groupdict().get("host") or "")
    where = f"on the way to {_name(connection)}, {elsewhere}" if elsewhere else _name(connection)
    known = {**words(connection, elsewhere), "line": _line(said, found.start())}
    known |= {name: text for name, text in found.groupdict().items() if text}
    return Unreachable(f"{where}: {case.says.format(**known)}", hint=case.hint.format(**known))


def words(connection: Connection, elsewhere: str) -> dict[str, str]:
    """What the texts of the cases may use; `elsewhere` is the host that failed, if that is not the one that was wanted."""
    ssh = connection.ssh
    tried = f"the key {ssh.key} was tried" if ssh.key else "the keys of the agent and in ~/.ssh were tried"
    return {
        "user": ssh.user or "you", "key": tried, "file": ssh.key or "on it",
        "rule": _rule(connection, elsewhere), "trust": _trust(connection, elsewhere),
        "way": f"the bastion {ssh.proxy_jump}" if ssh.proxy_jump else "the host on the way",
    }  # fmt: skip


def _name(connection: Connection) -> str:
    name, address = connection.name, host_name(connection)
    return name if name == address else f"{name} ({address})"


def _other(connection: Connection, host: str) -> str:
    """The host that a message names, unless it is the one that was wanted."""
    known = (connection.name, connection.address, host_name(connection))
    return "" if not host or host in known or f"[{host}]" in known else host


def _line(said: str, position: int) -> str:
    """The line of what was found, led by the one before, which may be the host's own words."""
    return " ".join([*_lines(said[:position])[-1:], *_lines(said[position:])[:1]])


def _rule(connection: Connection, elsewhere: str) -> str:
    ssh = connection.ssh
    if ssh.host_key and not elsewhere:
        return f"the cluster file says {ssh.host_key}"
    return f"those in {ssh.known_hosts}" if ssh.known_hosts else "your ssh configuration says so"


def _trust(connection: Connection, elsewhere: str) -> str:
    compare = "On the host's own console, `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` shows its key."
    if connection.ssh.host_key and not elsewhere:
        return f"{compare} If the cluster file is right, somebody may be between you and the host."
    file = connection.ssh.known_hosts or "your known_hosts"
    return f"{compare} Add it to {file} once you have compared it."


# ---- a changed key
CHANGED = re.compile(r"Host key for (?P<host>\S+) has changed")
OFFERED = re.compile(
    r"The fingerprint for the (?P<kind>\S+) key sent by the remote host is\s+(?P<fingerprint>\S+?)\.?\s*$", re.M
)
OFFENDING = re.compile(r"^Offending (?P<kind>\S+) key in (?P<file>.+):(?P<line>\d+)\s*$", re.M)


def _changed(connection: Connection, said: str) -> HostKeyChanged | None:
    changed, offered, offending = CHANGED.search(said), OFFERED.search(said), OFFENDING.search(said)
    if changed is None:
        return None
    other = _other(connection, changed["host"])
    who = f"{other}, on the way to {_name(connection)}," if other else _name(connection)
    now = f"{offered['fingerprint']} ({offered['kind']})" if offered else "another"
    was = f"{_known(offending)}, line {offending['line']} of {offending['file']}" if offending else "another"
    return HostKeyChanged(
        f"{who} shows another host key than before, so nothing was said to it: now {now}, known is {was}.",
        hint=_remedy(connection, changed["host"], offending["file"] if offending else "", other),
    )


def _known(offending: re.Match[str]) -> str:
    """The fingerprint of the key that stands where ssh says."""
    with suppress(OSError, IndexError, ValueError):
        words = Path(offending["file"]).read_text(errors="replace").splitlines()[int(offending["line"]) - 1].split()
        start = 1 + words[0].startswith("@")
        return fingerprint(" ".join(words[start : start + 2]))
    return f"a key ({offending['kind']})"


def _remedy(connection: Connection, host: str, file: str, other: str) -> str:
    warning = "If you do not know why, somebody may be between you and the host."
    if connection.ssh.host_key and not other:
        return f"If the host was reinstalled, give its new key in the cluster file (host_key). {warning}"
    command = shlex.join(["ssh-keygen", "-f", file, "-R", host] if file else ["ssh-keygen", "-R", host])
    return f"If the host was reinstalled: {command}, and run this again. {warning}"
