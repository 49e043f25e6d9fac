# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible's `become` as rayctl's: steps run as root through sudo, or as the login user. Ray itself never runs as root."""

from __future__ import annotations

import typing as t

from ansible import constants as C
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.plugins.become import BecomeBase
from ansible.plugins.loader import become_loader

SUDO = ("sudo", "ansible.builtin.sudo")
LOCAL = ("local", "ansible.builtin.local")


def is_wanted(action: ActionBase) -> bool:
    """Whether the task says `become`, in whatever way. Fails for another way to become somebody than sudo, or another user."""
    plugin = action._connection.become
    if plugin is None:
        return False
    if action._connection.ansible_name in LOCAL:
        raise AnsibleActionFail("This node is on this machine, where steps run as you: remove become.")
    if plugin.ansible_name not in SUDO:
        raise AnsibleActionFail(f"rayctl.ray.node runs steps as root by sudo, not by the method {plugin.ansible_name!r}.")
    if (user := plugin.get_option("become_user")) not in (None, "", "root"):
        raise AnsibleActionFail(f"rayctl.ray.node runs steps as the login user or as root, not as the become user {user!r}.")
    return True


def password(action: ActionBase, variables: t.Mapping[str, t.Any]) -> str:
    """What Ansible would give to sudo on this host: also where the cluster file alone says that steps run as root."""
    plugin = action._connection.become or _sudo(action, variables)
    return f"{plugin.get_option('become_pass') or ''}"


def _sudo(action: ActionBase, variables: t.Mapping[str, t.Any]) -> BecomeBase:
    plugin = become_loader.get("ansible.builtin.sudo")
    names = [name for name in C.config.get_plugin_vars("become", plugin._load_name) if name in variables]
    asked = action._play_context.become_pass
    plugin.set_options(
        task_keys={"become_pass": asked} if asked else {},
        var_options={name: action._templar.template(variables[name]) for name in names},
    )
    return plugin
