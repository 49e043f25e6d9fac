# SPDX-License-Identifier: Apache-2.0
"""What a host is asked about its claim, and how its refusal is told."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Mapping
from typing import Any

from rayctl.errors import StateRefused, Unreachable
from rayctl.node import launched
from rayctl.providers.base import Kind, LaunchRequest, Node, NodeState, Slot, Standing
from rayctl.providers.local.hosts import Host
from rayctl.transport.glance import Claim, Glance

HEAD_TAG = "rayctl-head"  # the address of the head whose node the host is; not for others to see


def owner() -> str:
    """Who claims, for other people to read."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's uid without a name
        user = "rayctl"
    return f"{user}@{socket.gethostname()}"


def founding(cluster: str, cluster_id: str, host: Host) -> dict[str, Any]:
    """The request that makes a host the cluster's head host: whose claim is there first decides the cluster's identity."""
    return {
        "cluster": cluster, "proposed": cluster_id, "node": host.name, "node_kind": Kind.HEAD.value, "type": host.type,
        "owner": owner(),
    }  # fmt: skip


def launching(cluster: str, cluster_id: str, host: Host, slot: Slot, request: LaunchRequest) -> dict[str, Any]:
    """The request that makes a host a node."""
    return {
        "cluster": cluster, "cluster_id": cluster_id, "node": host.name, "node_kind": host.kind.value, "type": host.type,
        "owner": owner(), "token": slot.token, "launch_digest": request.launch_digest,
        "resources": {**request.resources, **host.resources}, "labels": {**request.labels, **host.labels},
        "tags": dict(request.tags),
    }  # fmt: skip


def ours(glance: Glance, cluster: str) -> Claim | None:
    """Our claim for this cluster on a host, unless somebody else's holds it meanwhile."""
    mine = glance.mine
    if mine is None or mine.cluster != cluster or any(claim.holds and claim.uid != glance.uid for claim in glance.claims):
        return None
    return mine


def standing(answer: Glance | Unreachable, cluster: str) -> Standing:
    """How things stand with a host."""
    if isinstance(answer, Unreachable):
        return Standing("silent", why=answer.message)
    mine = ours(answer, cluster)
    claim = mine or next((claim for claim in answer.claims if claim.holds), None)
    return Standing("ours" if mine else "taken" if claim else "free", _public(claim) if claim else None)


def _public(claim: Claim) -> dict[str, Any]:
    """What everybody may know of a claim, and is the same whoever looks."""
    keys = ("cluster", "cluster_id", "node", "node_kind", "type", "owner", "user", "generation", "since")
    return {key: getattr(claim, key) for key in keys}


def head_of(glance: Glance) -> str:
    """The address of the head whose node the host is; empty when it is none."""
    return str(glance.private["tags"].get(HEAD_TAG, "")) if glance.private else ""


def node(host: Host, glance: Glance, claim: Claim) -> Node | None:
    """The claimed host as a node; None while only its place as a head is taken. Raises `StateRefused`."""
    if launched.FILE in glance.refused:
        raise StateRefused(f"{host.name}: {glance.refused[launched.FILE]}")
    private: Mapping[str, Any] = glance.private or {}
    if not private.get("token"):
        return None
    return Node(
        id=host.name, name=host.name, kind=host.kind, type=claim.type, state=NodeState.RUNNING,
        launch_token=private["token"], addresses=host.node().addresses, resources=private["resources"],
        labels=private["labels"], tags={key: value for key, value in private["tags"].items() if key != HEAD_TAG},
        launch_digest=private["launch_digest"], launched_at=private["launched_at"],
    )  # fmt: skip


def taken(name: str, held: Mapping[str, Any]) -> str:
    """Who has the host, in words."""
    until = f"for another {held['remaining_s']:.0f} s" if held.get("remaining_s") else "while its processes run"
    return f"{name} is taken by the cluster {held['cluster']} of its user {held['user']} (claimed by {held['owner']}), {until}"


def release_hint(held: Mapping[str, Any]) -> str:
    """How the host gets free."""
    return f"Ask {held['owner']} to run `rayctl down` for {held['cluster']}, or take another host."
