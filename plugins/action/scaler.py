# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of rayctl.ray.scaler (documented in plugins/modules/scaler.py)."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rayctl.ray.plugins.plugin_utils import clusters
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.errors import RayctlError, Unreachable
from rayctl.provision import admission, deployment, progress
from rayctl.provision.headscaler import install
from rayctl.transport import local

display = Display()


class ActionModule(ActionBase):
    """Brings one host to what the scaler on the head needs."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Do it, or say what would be done."""
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(clusters.ARGUMENTS)
        task_vars = task_vars or {}
        try:
            wanted = self._installation(args, task_vars)
            if wanted is None:
                return {**result, "skipped": True, "msg": "no scaler runs on the head of this cluster, or it is not up"}
            outcome = wanted.run()
        except Unreachable as e:
            raise AnsibleConnectionFailure(f"{e.message} {e.hint}".strip()) from None
        except RayctlError as e:
            raise AnsibleActionFail(f"{e.message} {e.hint}".strip()) from None
        result.update(outcome, msg=outcome["message"])
        if self._task.diff and outcome["changed"]:
            result["diff"] = [{"prepared": f"{outcome['message']}\n"}]
        return result

    def _installation(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> install.Installation | None:
        name, by_hand = task_vars["inventory_hostname"], not local.under_wrapper()
        deployed = clusters.of_task(self, args, task_vars)
        if not deployed.declares_hosts or deployed.config.scaler_runs_on != "head":
            return None
        if by_hand:
            clusters.tell_of_all(deployed, task_vars["hostvars"])
            deployed = self._identified(deployed)
        node = deployed.node(name)
        if node is None or deployed.cluster_id is None:
            return None
        return install.Installation(
            deployed, node, run_folder=Path(C.DEFAULT_LOCAL_TMP), report=progress.reporter(name, display),
            check=self._task.check_mode, learn=by_hand,
        )  # fmt: skip

    @staticmethod
    def _identified(deployed: deployment.Deployment) -> deployment.Deployment:
        """The cluster as its head knows it; the inventory has asked nobody."""
        head = deployed.head
        found = admission.cluster_id(deployed, head) if head else None
        return deployed.with_identity(found) if found else deployed
