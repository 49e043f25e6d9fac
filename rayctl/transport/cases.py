# SPDX-License-Identifier: Apache-2.0
"""What ssh says when it fails, in the wordings of OpenSSH 8 and 9, and what to say of it.

The first that is found counts, so those that name a cause stand before those that follow from it: when a bastion fails, ssh
first tells of that, and then that the connection through it was closed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """One thing that happens: how ssh tells it, what to say of it, what to do.

    A group `host` names the host with which it happened. `says` and `hint` may use the groups and the words of
    `failures.words`.
    """

    tells: re.Pattern[str]
    says: str
    hint: str


def _case(tells: str, says: str, hint: str) -> Case:
    return Case(re.compile(tells, re.MULTILINE), says, hint)


CASES = (
    _case(
        r"Bad configuration option|bad configuration options|Bad owner or permissions on|Invalid ProxyJump",
        "ssh does not accept its configuration: {line}", "Correct it; `ssh -G HOST` reads the same files.",
    ),
    _case(r"UNPROTECTED PRIVATE KEY FILE", "ssh uses no private key that others can read", "Run chmod 600 {file}."),
    _case(
        r"^No (?P<kind>\S+) host key is known for (?P<host>\S+) and you have requested strict checking",
        "its host key is not known, and only known ones are accepted ({rule})", "{trust}",
    ),
    _case(r"^Host key verification failed", "its host key is not the one that is expected ({rule})", "{trust}"),
    _case(
        r"^(?:(?P<user>[^@\s]*)@)?(?P<host>\S+): Permission denied \(",
        "it does not let {user} in ({key})",
        "Check user and key: the host must have the key's public half in {user}'s ~/.ssh/authorized_keys, and a key with a "
        "passphrase must be in the agent (ssh-add).",
    ),
    _case(
        r"Too many authentication failures", "it was offered too many keys", "Name the right one in the cluster file.",
    ),
    _case(
        r"Could not resolve hostname (?P<host>\S+): (?P<why>.*)", "no address is known for this name: {why}",
        "Check the name, or give an address.",
    ),
    _case(
        r"connect to host (?P<host>\S+) port (?P<port>\d+): Connection refused", "nothing listens on its port {port}",
        "Does sshd run there, and on this port?",
    ),
    _case(
        r"connect to host (?P<host>\S+) port \d+: (?P<why>No route to host|Network is unreachable)",
        "no way leads to it: {why}", "Check its address; a host in a network of its own is reached through a proxy jump.",
    ),
    _case(
        r"connect to host (?P<host>\S+) port (?P<port>\d+): (?:Connection|Operation) timed out",
        "it does not answer on port {port}", "Is it powered on, and does a firewall let ssh through?",
    ),
    _case(
        r"administratively prohibited", "{way} passes no connections on",
        "Allow it in sshd's configuration there: AllowTcpForwarding yes.",
    ),
    _case(r"open failed: connect failed: (?P<why>.*)", "{way} does not reach it: {why}", "Is it on, and does sshd run?"),
    _case(
        r"[Ss]tdio forwarding", "{way} does not pass the connection on",
        "Is the host powered on, does its sshd run, and may the bastion pass connections on (AllowTcpForwarding yes)?",
    ),
    _case(
        r"timed out during banner exchange|Connection to \S+ port \d+ timed out",
        "its port is open, and nobody speaks there", "It may hang, be overloaded, or be suspended.",
    ),
    _case(
        r"Unable to negotiate with .*: (?P<why>no matching [^.]*)", "its sshd and this ssh have nothing in common: {why}",
        "One of the two is old, or was told to be strict.",
    ),
    _case(
        r"kex_exchange_identification|Connection reset by", "it hangs up before it says anything",
        "Too many may be logging in at once (sshd's MaxStartups), or it is no sshd. Try again.",
    ),
    _case(
        r"Timeout, server \S+ not responding|Broken pipe|client_loop|closed by remote host",
        "the connection broke off", "It may have been rebooted or cut off. Try again.",
    ),
    _case(
        r"Connection closed by (?P<host>\S+) port \d+", "it hung up at the login: {line}",
        "Its sshd's log says why. Hosts that are just booting or shutting down do it too.",
    ),
)  # fmt: skip
