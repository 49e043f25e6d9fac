# SPDX-License-Identifier: Apache-2.0
"""`status`: what there is, from the provider's records; with `probe` also what each node says of itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from rayctl.errors import ProviderError, RayctlError
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import ClusterView, RayNode
from rayctl.operations import joined
from rayctl.operations.session import Session
from rayctl.providers.base import Node


@dataclass(frozen=True)
class NodeStatus:
    """One node. `ray` is what Ray's head says of it (alive states, or "unknown"); `steps` and `problem` come with a probe."""

    name: str
    kind: str
    type: str
    id: str
    state: str
    address: str
    ray: str
    resources: dict[str, float] = field(default_factory=dict)
    used: dict[str, float] = field(default_factory=dict)
    steps_done: int | None = None
    problem: str | None = None
    busy: bool | None = None


@dataclass(frozen=True)
class ClusterStatus:
    """The cluster. `ray_version` is empty and `note` says why when its head did not answer."""

    cluster: str
    cluster_id: str | None
    provider: str
    address: str
    ray_version: str
    nodes: tuple[NodeStatus, ...]
    workers_wanted: int
    pending: tuple[dict[str, Any], ...] = ()
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`; `v` is the version of this form."""
        return {"v": 1, **asdict(self)}


def status(session: Session, *, probe: bool = False) -> ClusterStatus:
    """Look, touch nothing. A head that does not answer is part of the answer, not an error."""
    config = session.config
    head = session.deployment.head
    address, version, view, note = "", "", None, "the cluster is not up"
    if head is not None:
        address = joined.gcs_address(session)
        version, view, note = _ask_ray(session, head, address)
    known = {node.instance_id: node for node in view.nodes if node.state.alive} if view else {}
    nodes = [*([head] if head else []), *session.deployment.workers]
    return ClusterStatus(
        cluster=session.name, cluster_id=session.deployment.cluster_id, provider=config.provider.type,
        address=address, ray_version=version, note=note,
        nodes=tuple(_node(session, node, known.get(node.id), view is not None, probe) for node in nodes),
        workers_wanted=sum(config.min_workers_of(name) for name in config.worker_types),
        pending=tuple({"shape": dict(demand.shape), "count": demand.count} for demand in view.pending) if view else (),
    )  # fmt: skip


def _ask_ray(session: Session, head: Node, address: str) -> tuple[str, ClusterView | None, str]:
    try:
        session.provider.connection(head)
    except ProviderError as e:  # then nobody listens there either
        return "", None, e.message
    try:
        with joined.client(session, timeout_s=5) as client:
            return client.ray_version(), client.cluster(), ""
    except GcsError as e:
        return "", None, f"{e.message}. {e.hint}".strip()


def _node(session: Session, node: Node, ray: RayNode | None, asked: bool, probe: bool) -> NodeStatus:
    total = dict(ray.total) if ray else {}
    used = {name: total[name] - ray.available.get(name, 0.0) for name in total} if ray else {}
    word = str(ray.state) if ray else "not joined" if asked else "unknown"
    seen = _probe(session, node) if probe else {}
    return NodeStatus(
        name=node.name, kind=str(node.kind), type=node.type, id=node.id, state=str(node.state),
        address=node.addresses.internal if node.addresses else "", ray=word, resources=total, used=used,
        steps_done=len(seen["steps"]) if "steps" in seen else None, problem=seen.get("broken"),
        busy=seen["runner"] is not None if "runner" in seen else None,
    )  # fmt: skip


def _probe(session: Session, node: Node) -> dict[str, Any]:
    try:
        return session.transport(node).probe(session.mark(node))
    except RayctlError as e:
        return {"broken": e.message}
