# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Ansible was told about reaching a host, as words for ssh's command line.

All lines of rayctl's to a host are built alike, so that claim, lease, set-up and mounts go to the same host, as the same
user, over the same master: ssh with the cluster's own configuration, and before it what Ansible was told beyond that. Host
keys are checked by the cluster's rules, whatever Ansible's `host_key_checking` says; its `ssh_args` are not heeded, since
the inventory plugin names the cluster's configuration there.
"""

from __future__ import annotations

import shlex
import typing as t
from pathlib import Path

from ansible import constants as C
from ansible import context
from ansible.errors import AnsibleActionFail
from ansible.plugins.connection import ConnectionBase
from ansible.plugins.loader import connection_loader
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.transport.connection import Connection
from rayctl.transport.quoting import plain, word

Get = t.Callable[[str], t.Any]
"""Gives the value of an option of Ansible's ssh connection."""


def require(connection: ConnectionBase, wanted: Connection) -> None:
    """Fail when Ansible reaches the host in another way than the cluster does."""
    kind = str(connection.ansible_name).removeprefix("ansible.builtin.")
    if kind != wanted.kind:
        raise AnsibleActionFail(
            f"rayctl.ray.node reaches this host by the connection {wanted.kind}, as the cluster file says, not by {kind!r}. "
            "Remove ansible_connection from your variables."
        )


def of_variables(variables: t.Mapping[str, t.Any]) -> Get:
    """The options of a host that is reached without a connection of Ansible's: its variables, the command line, ansible.cfg."""
    connection_loader.get("ssh", class_only=True)  # makes its options known
    said = {"remote_user": context.CLIARGS.get("remote_user")}  # by `-u`, which Ansible hands on as if plays had said it
    return lambda option: C.config.get_config_value(
        option, plugin_type="connection", plugin_name="ssh", variables=variables, keys=said
    )


def options_of(get: Get, known: Connection) -> tuple[str, ...]:
    """Words for ssh's command line: what was said of a host beyond what the cluster file says of it."""
    ssh, words = known.ssh, []
    if (host := get("host")) and host not in (known.name, known.address):
        words += ["-o", f"HostName={plain(f'{host}')}"]
    if (user := get("remote_user")) and user != ssh.user:
        words += ["-o", f"User={plain(f'{user}')}"]
    if (port := get("port")) and int(port) != (ssh.port or 22):
        words += ["-o", f"Port={int(port)}"]
    if (key := get("private_key_file")) and (path := str(Path(f"{key}").expanduser())) != ssh.key:
        words += ["-o", f"IdentityFile={word(path)}"]
    return (*words, *(each for name in ("ssh_common_args", "ssh_extra_args") for each in shlex.split(f"{get(name) or ''}")))
