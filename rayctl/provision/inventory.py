# SPDX-License-Identifier: Apache-2.0
"""The provider's nodes as Ansible's hosts, groups and variables.

Variables are few: what a play needs beyond the connection is resolved from the cluster file by the node action itself, so
that ten thousand hosts list in seconds and no command of the user's ever passes through a template.
"""

from __future__ import annotations

import ctypes
import os
import re
import shlex
import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayctl.errors import ProviderError
from rayctl.providers.base import Kind, Node
from rayctl.provision.deployment import Deployment, remember
from rayctl.transport.connection import Connection
from rayctl.transport.local import OWNER

GROUPS = {Kind.HEAD: "ray_head", Kind.WORKER: "ray_worker"}
SCALER_GROUP = "ray_scaler"
PR_SET_PDEATHSIG = 1  # prctl(2)
TOP_LEVEL = ("cluster_name:", "provider:")


@dataclass(frozen=True)
class Host:
    """One inventory host."""

    name: str
    groups: tuple[str, ...]
    variables: Mapping[str, Any]


@dataclass(frozen=True)
class Inventory:
    """Everything the inventory plugin sets. `variables` belong to the group `all`, so that localhost has them too.

    `node_variables` belong to the groups of all nodes, where a team's own variables for a host or a group win.
    """

    hosts: tuple[Host, ...]
    groups: tuple[str, ...]
    variables: Mapping[str, Any] = field(default_factory=dict)
    node_variables: Mapping[str, Any] = field(default_factory=dict)


def looks_like_cluster_file(path: Path) -> bool:
    """Whether the file has a cluster file's two required keys at its top level."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return all(any(line.startswith(key) for line in lines) for key in TOP_LEVEL)


def read(path: Path, overrides: Mapping[str, Any]) -> Inventory:
    """The inventory of a cluster file as its provider lists it now. Raises RayctlError."""
    deployment = Deployment.load(path, overrides)
    remember(path, overrides, deployment)
    hosts = tuple(_host(deployment, node) for node in deployment.nodes if node.state.alive)
    groups = dict.fromkeys([*GROUPS.values(), *(group for host in hosts for group in host.groups)])
    variables = {
        "rayctl_cluster_file": str(path),
        "rayctl_overrides": dict(overrides),
        "rayctl_cluster_name": deployment.config.cluster_name,
        "rayctl_cluster_id": deployment.cluster_id or "",
    }
    return Inventory(hosts, tuple(groups), variables, _node_variables(deployment, hosts))


def die_with_owner() -> None:
    """Under a wrapper: have the kernel kill this `ansible-playbook` when the wrapper dies.

    By SIGKILL, on purpose: Ansible's workers then only see their line end, and the nodes finish what they are at and wait
    to be adopted. A SIGTERM would cancel it.
    """
    owner = os.environ.get(OWNER, "").partition("/")[0]
    if not owner:
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if str(os.getppid()) != owner:  # it died before the kernel was told
        os.kill(os.getpid(), signal.SIGKILL)


def _host(deployment: Deployment, node: Node) -> Host:
    variables: dict[str, Any] = {
        "rayctl_kind": node.kind.value, "rayctl_type": node.type, "rayctl_status": node.state.value, "rayctl_id": node.id,
    }  # fmt: skip
    try:
        variables |= _connection_variables(deployment.provider.connection(node))
    except ProviderError:
        variables["rayctl_takes_commands"] = False
    # all hosts are in it, since each must let the head's key in
    scaled = (SCALER_GROUP,) if deployment.declares_hosts and deployment.config.scaler_runs_on == "head" else ()
    return Host(node.name, groups_of(node) + scaled, variables)


def _node_variables(deployment: Deployment, hosts: Iterable[Host]) -> dict[str, Any]:
    """The cluster's ssh configuration: what it holds of users, ports, keys, jumps and host keys holds for Ansible too."""
    if not any(host.variables.get("ansible_connection") == "ssh" for host in hosts):
        return {}
    arguments = f"-F {shlex.quote(str(deployment.reach.config))}"
    return {"ansible_ssh_args": arguments, "ansible_host_key_checking": True}


def _connection_variables(connection: Connection) -> dict[str, Any]:
    # the interpreter is for people's own modules; rayctl's action finds one by itself
    interpreter = {"ansible_python_interpreter": connection.python[0]} if len(connection.python) == 1 else {}
    return {"ansible_host": connection.address, "ansible_connection": connection.kind, **interpreter}


def groups_of(node: Node) -> tuple[str, ...]:
    """The inventory groups of a node."""
    return (GROUPS[node.kind], f"ray_type_{_group_name(node.type)}", f"ray_status_{node.state.value}")


def _group_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_]", "_", text)
