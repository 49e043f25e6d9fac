# SPDX-License-Identifier: Apache-2.0
"""`status`: what there is, from the provider's records; with `probe` also what each node says of itself.

Declared hosts are asked over ssh only with `probe`; without it only the head is, and of the others the last word counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from rayctl.errors import ProviderError, RayctlError, Unreachable
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import ClusterView, RayNode
from rayctl.operations import hosts, joined
from rayctl.operations.machines import require_head
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Node

UNVERIFIED = "unverified first use"


@dataclass(frozen=True)
class NodeStatus:
    """One node, or a declared host that is none.

    `state` is the machine's; a declared host's that is no node is "free", "taken", "silent" or "unknown". `ray` is what Ray's
    head says of it (alive states, "not joined", or "unknown"); `steps_done`, `problem` and `busy` come with a probe. Of
    declared hosts only: `asked_at` in seconds since the epoch, the public part of the `claim`, and what is to be said of
    the `host_key`.
    """

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
    asked_at: float | None = None
    claim: Mapping[str, Any] | None = None
    host_key: str = ""


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
    session.head_only = not probe
    config, head = session.config, session.deployment.head
    address, version, view, note = "", "", None, _why_no_head(session)
    if head is not None:
        address = joined.gcs_address(session)
        version, view, note = _ask_ray(session, head)
    return ClusterStatus(
        cluster=session.name, cluster_id=session.deployment.cluster_id, provider=config.provider.type,
        address=address, ray_version=version, note=note, nodes=tuple(_Look(session, view, probe=probe).nodes()),
        workers_wanted=sum(config.min_workers_of(name) for name in config.worker_types),
        pending=tuple({"shape": dict(demand.shape), "count": demand.count} for demand in view.pending) if view else (),
    )  # fmt: skip


def _why_no_head(session: Session) -> str:
    try:
        require_head(session.provider)
    except Unreachable as e:
        return f"{e.message}. {e.hint}".strip()
    return "the cluster is not up"


def _ask_ray(session: Session, head: Node) -> tuple[str, ClusterView | None, str]:
    try:
        session.provider.connection(head)
    except ProviderError as e:  # then nobody listens there either
        return "", None, e.message
    try:
        with joined.client(session, timeout_s=5) as client:
            return client.ray_version(), client.cluster(), ""
    except GcsError as e:
        return "", None, f"{e.message}. {e.hint}".strip()


class _Look:
    """All nodes in the order in which people want them, from what the provider, Ray and the nodes say."""

    def __init__(self, session: Session, view: ClusterView | None, *, probe: bool) -> None:
        self.session, self.probe, self.asked = session, probe, view is not None
        self.joined = {node.instance_id: node for node in view.nodes if node.state.alive} if view else {}
        self.hosts, self.keys = hosts.look(session), session.host_keys()

    def nodes(self) -> list[NodeStatus]:
        """The head first. Declared hosts all, whether they are nodes or not."""
        deployment, provider = self.session.deployment, self.session.provider
        listed = [*([deployment.head] if deployment.head else []), *deployment.workers]
        if not isinstance(provider, DeclaresHosts):
            return [self._node(node, str(node.state)) for node in listed]
        ours = {node.name: node for node in listed}
        return [self._host(ours.get(host.name, host)) for host in provider.declared()]

    def _host(self, node: Node) -> NodeStatus:
        seen = self.hosts.get(node.name)
        state = "unknown" if seen is None else "running" if seen.standing.state == "ours" else seen.standing.state
        return self._node(node, state)

    def _node(self, node: Node, state: str) -> NodeStatus:
        ray, seen, key = self.joined.get(node.id), self.hosts.get(node.name), self.keys.get(node.name)
        total = dict(ray.total) if ray else {}
        told = self._probe(node) if self.probe and state == "running" else {}
        return NodeStatus(
            name=node.name, kind=str(node.kind), type=node.type, id=node.id, state=state,
            address=node.addresses.internal if node.addresses else "", ray=self._word(ray), resources=total,
            used={name: total[name] - ray.available.get(name, 0.0) for name in total} if ray else {},
            steps_done=len(told["steps"]) if "steps" in told else None,
            problem=told.get("broken") or (seen.standing.why if seen else None) or None,
            busy=told["runner"] is not None if "runner" in told else None,
            asked_at=seen.at if seen else None, claim=seen.standing.claim if seen else None,
            host_key=f"{UNVERIFIED}: {key}" if key and not key.verified else "",
        )  # fmt: skip

    def _word(self, ray: RayNode | None) -> str:
        if ray is not None:
            return str(ray.state)
        return "not joined" if self.asked else "unknown"

    def _probe(self, node: Node) -> dict[str, Any]:
        try:
            return self.session.transport(node).probe(self.session.mark(node))
        except RayctlError as e:
            return {"broken": e.message}
