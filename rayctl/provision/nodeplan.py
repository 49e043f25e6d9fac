# SPDX-License-Identifier: Apache-2.0
"""What a node is sent: its plan, one JSON object that `rayctl/node/run.py` describes and carries out."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from rayctl.config import start as starting
from rayctl.config import steps as stepping
from rayctl.config.digest import digest
from rayctl.config.provider import DeclaredHost, LocalProvider
from rayctl.errors import RayctlError
from rayctl.node.wire import PROTOCOL
from rayctl.providers.base import DeclaresHosts, Kind, Node
from rayctl.provision.deployment import Deployment
from rayctl.state import paths, token

PHASES = ("mounts", "setup", "start")
DEFAULT_PORT = 6379
DEFAULT_TEMP_DIR = "/tmp/ray"  # noqa: S108  Ray's
# With the agents' ports given, a raylet need not wait until they have told theirs: that is a third to a half of `ray start`.
# None may lie in the range of the workers' ports, 10002-19999, nor where the kernel takes its own from 32768 on.
PREFERRED = {
    "dashboard-agent-grpc-port": 20101, "dashboard-agent-listen-port": 20102, "metrics-export-port": 20103,
    "runtime-env-agent-port": 20104,
}  # fmt: skip
PREFERRED_HEAD = {"port": DEFAULT_PORT, "ray-client-server-port": 10001, "dashboard-port": 8265}
HANDED_OVER = "{state_dir}/token"  # the node knows where its state folder lies
WATCHED = {Kind.HEAD: ["gcs_server", "raylet"], Kind.WORKER: ["raylet"]}


@dataclass(frozen=True)
class Options:
    """How much of a node's plan is wanted. `restart` is auto, always or never; `rerun_from` counts steps from 0.

    `become`: the file's steps run as root, also where the file does not say so.
    """

    phases: tuple[str, ...] = PHASES
    restart: str = "auto"
    rerun_from: int | None = None
    check: bool = False
    become: bool = False


def plan_of(deployment: Deployment, node: Node, mount_digests: Mapping[str, str], options: Options) -> dict[str, Any]:
    """The plan of one node."""
    connection = deployment.provider.connection(node)
    mounts = [{"target": target, "digest": value} for target, value in mount_digests.items()]
    return {
        "cluster_id": deployment.cluster_id,
        "node": node.name,
        "state_dir": connection.state_dir,
        "env": dict(connection.env),
        "path_prefix": os.pathsep.join(connection.path_prefix),
        "phases": list(options.phases),
        "check": options.check,
        "rerun_from": options.rerun_from,
        "mounts": mounts,
        "steps": _steps(deployment, node, mount_digests, become=options.become),
        "ray": _ray(deployment, node, options.restart),
        **_on_its_own(deployment, node),
    }


def _on_its_own(deployment: Deployment, node: Node) -> dict[str, Any]:
    """What a node apart has to do more: get the head's files, let people who log in there find the cluster, end without it.

    A worker on this machine needs no time after which it gives up: its controller reaches it always.
    """
    if not _apart(deployment, node):
        return {}
    config, worker = deployment.config, node.kind is Kind.WORKER
    synced = list(config.cluster_synced_files) if worker else []
    claimed = {"claimed": True} if isinstance(deployment.provider, DeclaresHosts) else {}
    orphan = {"orphan_timeout_s": config.scaler.orphan_timeout} if worker and config.scaler.orphan_timeout else {}
    return {**claimed, **orphan, "synced": synced, "handover": {"env": token_environment(deployment, node)}}


def _apart(deployment: Deployment, node: Node) -> bool:
    """Whether the node has files of its own, and not this machine's."""
    return deployment.provider.connection(node).kind != "local"


def request_for(plan: Mapping[str, Any], secrets: Mapping[str, str]) -> dict[str, Any]:
    """The request that opens a conversation about a plan (`rayctl/node/front.py`). Secrets are no part of the plan."""
    if plan["check"]:
        return {"op": "check", "plan": plan}
    return {"op": "run", "protocol": PROTOCOL, "plan": plan, "plan_digest": digest(plan), "secrets": dict(secrets)}


def secrets_for(deployment: Deployment, node: Node, plan: Mapping[str, Any], become_password: str) -> dict[str, str]:
    """What a node is handed beside this plan. Raises `RayctlError` where the cluster's token is not known here."""
    as_root = any(step.get("become") for step in plan["steps"])
    return {**_ray_token(deployment, node), **({"become_password": become_password} if as_root and become_password else {})}


def _ray_token(deployment: Deployment, node: Node) -> dict[str, str]:
    if not _apart(deployment, node) or not deployment.config.auth.ray_token:
        return {}
    found = token.read(paths.token_file(paths.home(os.environ), deployment.config.cluster_name))
    if not found:
        raise RayctlError(
            f"this controller does not know the Ray token of {deployment.config.cluster_name}",
            hint="Fetch it from the head by `rayctl status`, or run the playbook without --limit and --tags.",
        )
    return {"ray_token": found}


def base_digest(mount_digests: Mapping[str, str]) -> str:
    """What the first step's digest is chained to."""
    return digest(["mounts", sorted(mount_digests.items())])


def set_up_steps(deployment: Deployment, kind: Kind, node_type: str, *, become: bool = False) -> list[stepping.Step]:
    """The set-up steps of nodes of a type, in their order. `become`: see `Options`."""
    own = stepping.steps_of(deployment.config, kind.value, node_type)
    return [*(replace(step, become=step.become or become) for step in own), *_installation(deployment)]


def _steps(deployment: Deployment, node: Node, mount_digests: Mapping[str, str], *, become: bool) -> list[dict[str, Any]]:
    steps = set_up_steps(deployment, node.kind, node.type, become=become)
    digests = stepping.chained(base_digest(mount_digests), steps)
    return [_step(step, step_digest) for step, step_digest in zip(steps, digests, strict=True)]


def _step(step: stepping.Step, step_digest: str) -> dict[str, Any]:
    return {
        "phase": step.phase, "name": step.name, "command": step.command, "digest": step_digest, "env": dict(step.env),
        "timeout_s": step.timeout_s, **({"become": True} if step.become else {}),
    }  # fmt: skip


def _installation(deployment: Deployment) -> list[stepping.Step]:
    """The last set-up step, where the file asks for Ray to be installed: nothing happens where the version is right."""
    wanted = deployment.config.ray_version
    if wanted is None or not wanted.install:
        return []
    version = shlex.quote(wanted.version)
    found = "import importlib.metadata as m; print(m.version('ray'))"
    command = (
        "python=$(command -v python3 || command -v python); "
        f'[ "$("$python" -c {shlex.quote(found)} 2>/dev/null)" = {version} ] || '
        f'"$python" -m pip install --quiet "ray[default]=="{version}'
    )
    return [stepping.Step("setup", command, f"install Ray {wanted.version}")]


def _ray(deployment: Deployment, node: Node, restart: str) -> dict[str, Any]:
    start = start_of(deployment, node)
    flags = {**deployment.provider.start_flags(node), **_scaled_flags(deployment, node)}
    commands = [_command(command, flags, node.kind) for command in start.commands if command.action == "run"]
    starts_ray = any(command["checks"] for command in commands)
    wanted = deployment.config.ray_version
    return {
        "kind": node.kind.value,
        "digest": start.digest,
        "commands": commands,
        "processes": WATCHED[node.kind] if starts_ray else [],
        "env": ray_environment(deployment, node),
        "address": node.addresses.internal if node.addresses else "",
        "port": gcs_port(deployment, node),
        "temp_dir": flags.get("temp-dir", DEFAULT_TEMP_DIR),
        "ports": _fixed_ports(start, flags) if starts_ray else [],
        "preferred_ports": _preferred_ports(deployment, node),
        "policy": restart,
        "want_ray": wanted.version if wanted else "",
    }


def _scaled(deployment: Deployment, node: Node) -> bool:
    """Whether the node is a head that rayctl's scaler tells what `ray status` shows, instead of a monitor of Ray's."""
    return node.kind is Kind.HEAD and deployment.config.scaler_runs_on != "off"


def _scaled_flags(deployment: Deployment, node: Node) -> dict[str, str]:
    return {"no-monitor": ""} if _scaled(deployment, node) else {}


def _preferred_ports(deployment: Deployment, node: Node) -> dict[str, int]:
    """Ports for rayctl's own start commands on a machine that others may use too: the node takes free ones near them."""
    config, head = deployment.config, node.kind is Kind.HEAD
    written = config.head_start_ray_commands if head else config.worker_start_ray_commands
    if written or not _apart(deployment, node):
        return {}
    return {**(PREFERRED_HEAD if head else {}), **PREFERRED}


def offers(deployment: Deployment, node: Node) -> tuple[dict[str, float], dict[str, str]]:
    """The resources and labels of a node: what the file says of its type now, else what it was launched with."""
    node_type = deployment.config.available_node_types.get(node.type)
    own = _declared(deployment, node)
    if node_type is not None and own is not None:
        return {**node_type.resources, **own.resources}, {**node_type.labels, **own.labels}
    resources = node_type.resources if node_type and node_type.resources else node.resources
    labels = node_type.labels if node_type and node_type.labels else node.labels
    return dict(resources), dict(labels)


def _declared(deployment: Deployment, node: Node) -> DeclaredHost | None:
    """What the file says of this very host, if it names hosts."""
    provider = deployment.config.provider
    hosts = provider.hosts if isinstance(provider, LocalProvider) else ()
    return next((host for host in hosts if host.name == node.name), None)


def start_of(deployment: Deployment, node: Node) -> starting.Start:
    """The start commands of a node as they are read from the file, with their digest."""
    resources, labels = offers(deployment, node)
    return starting.start_of(deployment.config, node.kind.value, resources=resources, labels=labels)


def _command(command: starting.StartCommand, flags: Mapping[str, str], kind: Kind) -> dict[str, Any]:
    text = starting.with_flags(command.command, flags, head=kind is Kind.HEAD)
    return {
        "name": command.name or command.command.strip().splitlines()[0][:60], "command": text,
        "timeout_s": command.timeout_s, "env": dict(command.env), "checks": starting.starts_ray(command.command),
    }  # fmt: skip


def gcs_port(deployment: Deployment, node: Node) -> int:
    """Where the head's GCS listens: what the file says, else what the provider gave, else Ray's default."""
    flags = deployment.provider.start_flags(node)
    return start_of(deployment, node).port or int(flags.get("port", DEFAULT_PORT))


def _fixed_ports(start: starting.Start, flags: Mapping[str, str]) -> list[int]:
    """The ports that must be free: those the provider gave, and the GCS's where the file names it."""
    given = {name: int(value) for name, value in flags.items() if name.endswith("port") and "worker" not in name}
    if start.port:
        given["port"] = start.port
    return sorted(set(given.values()))


def ray_environment(deployment: Deployment, node: Node) -> dict[str, str]:
    """What Ray's processes of a node are started with: who they are, what they have, how they trust each other."""
    env = {
        "RAY_CLOUD_INSTANCE_ID": node.id,
        "RAY_NODE_TYPE_NAME": node.type,
        "RAY_USAGE_STATS_ENABLED": "0",
        **({"RAY_enable_autoscaler_v2": "1"} if _scaled(deployment, node) else {}),
        **token_environment(deployment, node),
    }
    resources, labels = offers(deployment, node)
    if resources:
        env["RAY_OVERRIDE_RESOURCES"] = json.dumps(resources)
    if labels:
        env["RAY_OVERRIDE_LABELS"] = json.dumps(labels)
    return env


def token_environment(deployment: Deployment, node: Node) -> dict[str, str]:
    """How a process proves that it belongs to this cluster; the token itself stays in its file."""
    if not deployment.config.auth.ray_token:
        return {"RAY_AUTH_MODE": "disabled"}
    path = HANDED_OVER if _apart(deployment, node) else token_path(deployment)
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": path}


def token_path(deployment: Deployment) -> str:
    """Where this controller keeps the cluster's Ray token."""
    path = paths.token_file(paths.home(os.environ), deployment.config.cluster_name)
    token.ensure(path)
    return str(path)
