# SPDX-License-Identifier: Apache-2.0
"""How each node stands, from what the provider, Ray's head, the scaler and the node itself say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rayctl.errors import RayctlError
from rayctl.gcs.view import ClusterView, RayNode
from rayctl.operations import census, hosts
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Kind, Node
from rayctl.reconcile.told import NodeTold, ScalerStatus

UNVERIFIED = "unverified first use"
NO_NODES = ("free", "taken", "silent", "unknown")  # states of declared hosts that are none
ASKED_FOR = "asked for"  # the state of a machine that the scaler launches and the provider does not list yet
COMING = ("booting", "waiting", "setting up", "joining", "restarting")  # stages
GOING = ("draining", "ending")


@dataclass(frozen=True)
class NodeStatus:
    """One node, or a declared host that is none.

    `state` is the machine's; a declared host's that is no node is "free", "taken", "silent" or "unknown". `ray` is what Ray's
    head says of it (alive states, "not joined", or "unknown"); `steps_done`, `problem` and `busy` come with a probe. Of
    declared hosts only: `asked_at` in seconds since the epoch, the public part of the `claim`, and what is to be said of
    the `host_key`. `counts_as` is one of `census.STATES`, "" for a host that is no node. `stage`, since when (seconds since the
    epoch) and its `detail` are the scaler's words.
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
    counts_as: str = ""
    stage: str = ""
    since: float | None = None
    detail: str = ""


class Look:
    """All nodes in the order in which people want them, from what the provider, Ray, the scaler and the nodes say."""

    def __init__(self, session: Session, view: ClusterView | None, scaler: ScalerStatus | None, *, probe: bool) -> None:
        self.session, self.probe, self.asked, self.scaler = session, probe, view is not None, scaler
        alive = [node for node in view.nodes if node.state.alive] if view else []
        # Ray 2.5 and before keep no ids of ours: there the address has to do
        self.joined = {node.instance_id or f"address {node.address}": node for node in alive}
        self.told = {node.name: node for node in scaler.nodes} if scaler else {}
        self.failed = {failure.node for failure in scaler.failures} if scaler else set()
        self.hosts, self.keys = hosts.look(session), session.host_keys()

    def nodes(self) -> list[NodeStatus]:
        """The head first. Declared hosts all, whether they are nodes or not; what the scaler has only asked for comes last."""
        deployment, provider = self.session.deployment, self.session.provider
        listed = [*([deployment.head] if deployment.head else []), *deployment.workers]
        if isinstance(provider, DeclaresHosts):
            ours = {node.name: node for node in listed}
            return [self._host(ours.get(host.name, host)) for host in provider.declared()]
        known = {node.name for node in deployment.nodes}
        coming = (node for name, node in self.told.items() if name not in known and node.stage in COMING)
        return [*(self._node(node, str(node.state)) for node in listed), *map(_only_asked_for, coming)]

    def _host(self, node: Node) -> NodeStatus:
        seen = self.hosts.get(node.name)
        state = "unknown" if seen is None else "running" if seen.standing.state == "ours" else seen.standing.state
        return self._node(node, state)

    def _node(self, node: Node, state: str) -> NodeStatus:
        address = node.addresses.internal if node.addresses else ""
        ray = self.joined.get(node.id) or self.joined.get(f"address {address}")
        seen, key, told = self.hosts.get(node.name), self.keys.get(node.name), self.told.get(node.name)
        total = dict(ray.total) if ray else {}
        probed = self._probe(node) if self.probe and state == "running" else {}
        problem = probed.get("broken") or (seen.standing.why if seen else None) or None
        return NodeStatus(
            name=node.name, kind=str(node.kind), type=node.type, id=node.id, state=state,
            address=address, ray=self._word(ray), resources=total,
            used={name: total[name] - ray.available.get(name, 0.0) for name in total} if ray else {},
            steps_done=len(probed["steps"]) if "steps" in probed else None, problem=problem,
            busy=probed["runner"] is not None if "runner" in probed else None,
            asked_at=seen.at if seen else None, claim=seen.standing.claim if seen else None,
            host_key=f"{UNVERIFIED}: {key}" if key and not key.verified else "",
            counts_as=self._counts_as(node.name, state, ray, failed=bool(problem)),
            stage=told.stage if told else "", since=told.since if told else None, detail=told.detail if told else "",
        )  # fmt: skip

    def _counts_as(self, name: str, state: str, ray: RayNode | None, *, failed: bool) -> str:
        """What Ray knows counts as Ray says, unless it is on its way out; for the rest the scaler's word goes."""
        stage = self.told[name].stage if name in self.told else ""
        if ray is None and not stage and state in NO_NODES and isinstance(self.session.provider, DeclaresHosts):
            return ""
        if stage in GOING:
            return census.DRAINING
        if ray is not None:
            return str(ray.state)
        if (failed or name in self.failed) and stage not in COMING:
            return census.FAILED
        if stage in COMING or (self.asked and not stage):
            return census.PENDING
        return census.LOST if self.asked else census.UNKNOWN

    def _word(self, ray: RayNode | None) -> str:
        if ray is not None:
            return str(ray.state)
        return "not joined" if self.asked else "unknown"

    def _probe(self, node: Node) -> dict[str, Any]:
        try:
            return self.session.transport(node).probe(self.session.mark(node))
        except RayctlError as e:
            return {"broken": e.message}


def _only_asked_for(node: NodeTold) -> NodeStatus:
    return NodeStatus(
        name=node.name, kind=str(Kind.WORKER), type=node.type, id=node.id, state=ASKED_FOR, address="", ray="not joined",
        counts_as=census.PENDING, stage=node.stage, since=node.since, detail=node.detail,
    )  # fmt: skip
