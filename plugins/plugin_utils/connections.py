# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Ansible was told about reaching a host, as words for ssh's command line."""

from __future__ import annotations

import os
import shlex
import typing as t

from ansible.plugins.connection import ConnectionBase

# variables of Ansible's ssh connection, older spellings after newer ones, and the option that each becomes
OPTIONS = (
    (("ansible_user", "ansible_ssh_user"), "User"),
    (("ansible_port", "ansible_ssh_port"), "Port"),
    (("ansible_private_key_file", "ansible_ssh_private_key_file"), "IdentityFile"),
    (("ansible_host", "ansible_ssh_host"), "HostName"),
)
WORDS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")


def command_line(connection: ConnectionBase) -> tuple[str, ...]:
    """The ssh of this connection with all its settings, and the host last: a shell command may be appended."""
    connection.host = connection.get_option("host") or connection._play_context.remote_addr
    executable = connection.get_option("ssh_executable")
    words = connection._build_command(executable, "ssh", "-T", "-o", "BatchMode=yes", connection.host)
    return tuple(os.fsdecode(word) for word in words)


def options_of(variables: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """The same for a host that is reached without a connection of Ansible's: what its variables say beyond the inventory."""
    words = [word for name in WORDS for word in shlex.split(str(variables.get(name) or ""))]
    for names, option in OPTIONS:
        value = next((variables[name] for name in names if variables.get(name)), None)
        words += ["-o", f'{option}="{value}"'] if value else []
    return tuple(words)
