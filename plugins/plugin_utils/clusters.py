# Copyright (c) 2026 the rayctl authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cluster that a task is about, its hosts reached as Ansible was told, if it was a person who did."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible.plugins.action import ActionBase
from ansible_collections.rayctl.ray.plugins.plugin_utils import connections
from ansible_collections.rayctl.ray.plugins.plugin_utils.tree import rayctl  # noqa: F401  (makes the package importable)

from rayctl.providers.base import Node
from rayctl.provision import admission, deployment
from rayctl.transport import local

ARGUMENTS = {
    "cluster_file": {"type": "str", "required": True},  # a path would lose its $
    "overrides": {"type": "dict", "default": {}},
}


def of_task(action: ActionBase, args: dict[str, t.Any], task_vars: dict[str, t.Any]) -> deployment.Deployment:
    """Read it, or take what the inventory has read."""
    overrides = {key: value for key, value in args["overrides"].items() if value is not None}
    deployed = deployment.recall(Path(args["cluster_file"]).expanduser().resolve(), overrides)
    node = deployed.node(task_vars["inventory_hostname"])
    if node is not None and not local.under_wrapper():
        connections.require(action._connection, deployed.provider.connection(node))
        admission.heed(deployed, _told(action, deployed, node, task_vars["hostvars"]))
    return deployed


def _told(
    action: ActionBase, deployed: deployment.Deployment, node: Node, hostvars: t.Mapping[str, t.Any]
) -> dict[str, tuple[str, ...]]:
    """What Ansible was told of this host, and of the head, which may have to be asked from here."""
    if not deployed.declares_hosts:
        return {}
    told = {node.name: connections.options_of(action._connection.get_option, deployed.provider.connection(node))}
    head = deployed.head
    if head is not None and head.name != node.name and head.name in hostvars:
        get = connections.of_variables(hostvars[head.name])
        told[head.name] = connections.options_of(get, deployed.provider.connection(head))
    return told


def tell_of_all(deployed: deployment.Deployment, hostvars: t.Mapping[str, t.Any]) -> None:
    """Let all hosts of the cluster be reached as Ansible was told: for a task on one host that asks the others too."""
    told = {}
    for node in deployed.nodes:
        if node.name in hostvars:
            known = deployed.provider.connection(node)
            told[node.name] = connections.options_of(connections.of_variables(hostvars[node.name]), known)
    admission.heed(deployed, told)
