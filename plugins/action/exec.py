# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of rayctl.ray.exec (documented in plugins/modules/exec.py)."""

from __future__ import annotations

import os
import signal
import typing as t
from pathlib import Path

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rayctl.ray.plugins.plugin_utils import clusters
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.errors import RayctlError, Unreachable
from rayctl.provision import errands, progress
from rayctl.transport import local

display = Display()
ENDING = (signal.SIGTERM, signal.SIGINT)


def _interrupt_once(*_: t.Any) -> t.NoReturn:
    """End the command as Ctrl-C does, whatever else is sent until it has ended."""
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


class ActionModule(ActionBase):
    """Runs a command on one host."""

    TRANSFERS_FILES = False
    _supports_check_mode = False
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Run it to its end."""
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec({**clusters.ARGUMENTS, "command": {"type": "str", "default": ""}})
        task_vars = task_vars or {}
        name = task_vars["inventory_hostname"]
        folder = Path(os.environ.get(progress.FOLDER) or C.DEFAULT_LOCAL_TMP)
        for number in ENDING:
            signal.signal(number, _interrupt_once)
        try:
            deployed = clusters.of_task(self, args, task_vars)
            node = deployed.node(name)
            if node is None:
                raise AnsibleActionFail(f"{name} is no host of {args['cluster_file']}")
            given = errands.Errand.load(folder) if local.under_wrapper() else None
            errand = given or errands.by_hand(deployed, args["command"])
            out, err = errands.files(folder, name)
            ended = errand.run(deployed.transport(node), out, err)
        except Unreachable as e:
            raise AnsibleConnectionFailure(f"{e.message} {e.hint}".strip()) from None
        except RayctlError as e:
            raise AnsibleActionFail(f"{e.message} {e.hint}".strip()) from None
        progress.reporter(name, display)(ended)
        result.update(changed=True, rc=ended["rc"])
        if not local.under_wrapper():
            result.update(stdout=out.read_text(errors="replace"), stderr=err.read_text(errors="replace"))
            result.update(failed=ended["rc"] != 0, msg=f"exit code {ended['rc']}" if ended["rc"] else "")
        return result
