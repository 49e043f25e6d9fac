# SPDX-License-Identifier: Apache-2.0
"""What a provider says of how a node is reached: plain data, which the transports act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Ssh:
    """What of a host's ssh connection is not left to ssh itself, its configuration files and the agent.

    `key` and `known_hosts` are absolute paths here. `proxy_jump` is ssh's ProxyJump, `host_key` a fingerprint
    ("SHA256:...") or a public key ("ssh-ed25519 AAAA..."). `options` are words for ssh's command line that go first and
    so win: a playbook's own variables.
    """

    user: str = ""
    port: int = 0
    key: str = ""
    proxy_command: str = ""
    proxy_jump: str = ""
    known_hosts: str = ""
    host_key: str = ""
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Connection:
    """How commands reach a node. `kind` names the transport: "local" on this machine, "ssh" elsewhere.

    `name` is the node's. `state_dir` is the folder on the node where the node runner keeps its state. `env` is what every
    command there gets; `path_prefix` are folders put first on PATH after the login files were read. `python` are
    interpreters to try for the runner, in order. `tells_keys`: a look at the host asks which of rayctl's keys may log in.
    """

    kind: str
    address: str
    state_dir: str
    env: Mapping[str, str] = field(default_factory=dict)
    path_prefix: tuple[str, ...] = ()
    python: tuple[str, ...] = ("python3", "/usr/libexec/platform-python")
    name: str = ""
    ssh: Ssh = Ssh()
    tells_keys: bool = False
