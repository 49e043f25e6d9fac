# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of rayctl.ray.cluster (documented in plugins/modules/cluster.py)."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rayctl.ray.plugins.plugin_utils.connections import of_variables, options_of
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.errors import RayctlError
from rayctl.operations import byhand
from rayctl.transport.connection import Connection

ARGUMENTS = {
    "cluster_file": {"type": "str", "required": True},  # a path would lose its $
    "overrides": {"type": "dict", "default": {}},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "workers_only": {"type": "bool", "default": False},
    "lock_timeout": {"type": "float", "default": 60},
}


class ActionModule(ActionBase):
    """Launches or ends machines, and keeps other writers away until the playbook run is over."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Do it, or say what would be done."""
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(ARGUMENTS)
        overrides = {key: value for key, value in args["overrides"].items() if value is not None}
        try:
            outcome = byhand.machines(
                Path(args["cluster_file"]).expanduser().resolve(), overrides, absent=args["state"] == "absent",
                workers_only=args["workers_only"], lock_timeout_s=args["lock_timeout"],
                check=self._task.check_mode, playbook_pid=os.getppid(),
                ssh_options=lambda host: _ssh_options(host, task_vars or {}),
            )  # fmt: skip
        except RayctlError as e:
            raise AnsibleActionFail(f"{e.message} {e.hint}".strip()) from None
        result.update(changed=bool(outcome.launched or outcome.ended), launched=outcome.launched, ended=outcome.ended)
        if self._task.diff and result["changed"]:
            result["diff"] = [{"prepared": "".join(f"{line}\n" for line in outcome.lines)}]
        return result


def _ssh_options(host: Connection, task_vars: t.Mapping[str, t.Any]) -> tuple[str, ...]:
    """What Ansible was told of one of the cluster's hosts, if it is in the inventory."""
    variables = task_vars["hostvars"].get(host.name)
    return options_of(of_variables(variables), host) if variables else ()
