# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controller side of rayctl.ray.node (documented in plugins/modules/node.py).

A thin shell: `rayctl.provision.conversation` talks with the node; here are only Ansible's arguments, connection, signals
and result.
"""

from __future__ import annotations

import signal
import typing as t
from contextlib import suppress
from pathlib import Path

from ansible import constants as C
from ansible.errors import AnsibleActionFail, AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rayctl.ray.plugins.plugin_utils import becoming, clusters
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.errors import RayctlError, Unreachable
from rayctl.provision import admission, conversation, deployment, nodeplan, progress, ray_token
from rayctl.transport import local

display = Display()
ARGUMENTS = {
    **clusters.ARGUMENTS,
    "phases": {"type": "list", "elements": "str", "choices": list(nodeplan.PHASES), "default": list(nodeplan.PHASES)},
    "restart": {"type": "str", "choices": ["auto", "always", "never"], "default": "auto"},
    "rerun_from": {"type": "int"},
}


class ActionModule(ActionBase):
    """Brings one host to its wanted state."""

    TRANSFERS_FILES = False
    _supports_check_mode = True
    _supports_async = False

    def run(self, tmp: None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        """Talk with the node until its run ends."""
        result = super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(ARGUMENTS)
        task_vars = task_vars or {}
        try:
            talk = self._conversation(args, task_vars)
            if talk is None:
                return self._free(result, task_vars["inventory_hostname"])
            with cancelled_by_signals(talk):
                outcome = talk.run()
        except Unreachable as e:
            raise AnsibleConnectionFailure(f"{e.message} {e.hint}".strip()) from None
        except RayctlError as e:
            raise AnsibleActionFail(f"{e.message} {e.hint}".strip()) from None
        return self._result(result, outcome)

    def _conversation(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> conversation.Conversation | None:
        name = task_vars["inventory_hostname"]
        deployed = self._admitted(clusters.of_task(self, args, task_vars), name)
        if deployed is None:
            return None
        return conversation.Conversation(
            deployed, name, self._options(args, task_vars),
            heads=set(task_vars["groups"].get("ray_head", ())) & set(task_vars["ansible_play_hosts_all"]),
            run_folder=Path(C.DEFAULT_LOCAL_TMP), report=progress.reporter(name, display),
            become_password=becoming.password(self, task_vars),
        )  # fmt: skip

    def _options(self, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> nodeplan.Options:
        return nodeplan.Options(
            phases=self._phases(args["phases"], task_vars),
            restart=args["restart"],
            rerun_from=args["rerun_from"] - 1 if args["rerun_from"] else None,
            check=self._task.check_mode,
            # under a wrapper the file alone counts: that is what it compared the nodes with
            become=not local.under_wrapper() and becoming.is_wanted(self),
        )

    def _admitted(self, deployed: deployment.Deployment, name: str) -> deployment.Deployment | None:
        """The cluster, if it has this host; `rayctl up` knows that already."""
        node = deployed.node(name)
        if node is None or not deployed.declares_hosts or local.under_wrapper():
            return deployed
        cluster_id = admission.cluster_id(deployed, node)
        if cluster_id is None:
            return None
        if not self._task.check_mode:
            with suppress(Unreachable):  # without the head nothing starts in any case, and that is told then
                ray_token.known(deployed)
        return deployed.with_identity(cluster_id)

    @staticmethod
    def _free(result: dict[str, t.Any], name: str) -> dict[str, t.Any]:
        message = f"{name} is free: the cluster does not need this host, or has not claimed it yet"
        display.display(message)  # Ansible itself shows why only with -v
        return {**result, "skipped": True, "msg": message}

    def _phases(self, wanted: list[str], task_vars: dict[str, t.Any]) -> tuple[str, ...]:
        chosen = set(task_vars.get("ansible_run_tags") or ()) & set(nodeplan.PHASES)
        skipped = set(task_vars.get("ansible_skip_tags") or ())
        return tuple(p for p in nodeplan.PHASES if p in wanted and (not chosen or p in chosen) and p not in skipped)

    def _result(self, result: dict[str, t.Any], outcome: dict[str, t.Any]) -> dict[str, t.Any]:
        diff = outcome.pop("diff", None)
        listing = outcome.pop("listing", [])
        result.update(outcome, msg=outcome["message"])
        if self._task.diff and outcome["changed"] and diff:
            result["diff"] = [{**diff, "before_header": "on the node", "after_header": "wanted"}]
            if listing:
                result["diff"].append({"prepared": "\n".join(listing) + "\n"})
        if outcome["failed"]:
            step = outcome.get("step")
            result["stdout_lines"] = step["tail"] if step else []
        return result


class cancelled_by_signals:
    """While it lasts, SIGTERM and SIGINT cancel the node's run before they end this process.

    Ansible ends its workers by a signal to their process group, and a worker's own handler leaves at once; what runs on the
    node would go on without anyone knowing.
    """

    def __init__(self, talk: conversation.Conversation) -> None:
        self.talk = talk
        self.before: dict[int, t.Any] = {}

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            self.before[number] = signal.signal(number, self._cancel)

    def _cancel(self, number: int, _frame: t.Any) -> None:
        self.talk.cancel(f"the playbook run was ended by signal {number}")

    def __exit__(self, *_: t.Any) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
