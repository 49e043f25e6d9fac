# SPDX-License-Identifier: Apache-2.0
"""`status`: what there is, from the provider's records; with `probe` also what each node says of itself.

Declared hosts are asked over ssh only with `probe`; without it only the head is, and of the others the last word counts. What
a scaler told within the last moments is part of it: at what stage machines are that Ray does not know, and why.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayctl.errors import ProviderError, Unreachable
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import ClusterView
from rayctl.operations import census, joined
from rayctl.operations.census import TypeCount
from rayctl.operations.heard import heard
from rayctl.operations.machines import require_head
from rayctl.operations.session import Session
from rayctl.operations.standing import Look, NodeStatus
from rayctl.providers.base import DeclaresHosts, Node
from rayctl.reconcile import told
from rayctl.reconcile.told import ScalerStatus

if TYPE_CHECKING:
    from rayctl.operations.asked import Asked, GroupRequest, Request

__all__ = ["ClusterStatus", "NodeStatus", "status"]


@dataclass(frozen=True)
class ClusterStatus:
    """The cluster at the moment `at`. `ray_version` is empty and `note` says why when its head did not answer.

    `scaler` is what a scaler told last. Where `scaler_note` is not empty, it is not at work, and its words are not relied on.
    """

    cluster: str
    cluster_id: str | None
    provider: str
    address: str
    ray_version: str
    nodes: tuple[NodeStatus, ...]
    workers_wanted: int
    pending: tuple[Request, ...] = ()
    note: str = ""
    at: float = 0.0
    types: tuple[TypeCount, ...] = ()
    gangs: tuple[GroupRequest, ...] = ()
    requested: tuple[Request, ...] = ()
    scaler: ScalerStatus | None = None
    scaler_note: str = ""

    @property
    def scaler_at_work(self) -> ScalerStatus | None:
        """The scaler's words, while it is at work."""
        return None if self.scaler_note else self.scaler

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`; `v` is the version of this form. Without `asdict`, which copies every value of every node."""
        rows = {name: [dict(vars(row)) for row in getattr(self, name)] for name in ("nodes", "types")}
        return {"v": 1, **vars(self), **rows, "scaler": told.dump(self.scaler) if self.scaler else None}


def status(session: Session, *, probe: bool = False) -> ClusterStatus:
    """Look, touch nothing. A head that does not answer is part of the answer, not an error."""
    session.head_only = not probe
    config, head = session.config, session.deployment.head
    address, version, view, note = "", "", None, _why_no_head(session)
    if head is not None:
        address = joined.gcs_address(session)
        version, view, note = _ask_ray(session, head)
    now = time.time()
    scaler, scaler_note = heard(session, now)
    look = Look(session, view, None if scaler_note else scaler, probe=probe)
    nodes = tuple(look.nodes())
    limits = {name: (config.min_workers_of(name), config.max_workers_of(name)) for name in config.worker_types}
    asked = _asked(session, view, nodes, by_planner=scaler is None or bool(scaler_note))
    return ClusterStatus(
        cluster=session.name, cluster_id=session.deployment.cluster_id, provider=config.provider.type,
        address=address, ray_version=version, note=note, nodes=nodes,
        workers_wanted=sum(config.min_workers_of(name) for name in config.worker_types),
        at=now, types=census.census(nodes, limits), pending=asked.pending, gangs=asked.gangs, requested=asked.requested,
        scaler=scaler, scaler_note=scaler_note,
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


def _asked(session: Session, view: ClusterView | None, nodes: tuple[NodeStatus, ...], *, by_planner: bool) -> Asked:
    """What the load asks for; `by_planner`: and what would become of it."""
    from rayctl.operations.asked import Asked, asked

    if view is None or not (view.pending or view.gangs or view.requested):
        return Asked()
    if not by_planner:
        return asked(view, None)
    from rayctl.planner.decide import plan
    from rayctl.reconcile.observe import snapshot

    ours = {node.name for node in nodes if node.counts_as}
    provider = session.provider
    machines = provider.declared() if isinstance(provider, DeclaresHosts) else session.deployment.nodes
    return asked(view, plan(snapshot(session.config, [node for node in machines if node.name in ours], view)))
