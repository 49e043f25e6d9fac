# SPDX-License-Identifier: Apache-2.0
"""What the provider lists and what Ray's head tells, of one moment, as the planner's snapshot (pure).

The two are joined by the instance id, which Ray learns from us at a node's start; Ray 2.5 and before do not keep it, there
the address has to do. A machine that Ray does not know is pending; a node of Ray's that the provider does not list
is not ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from rayctl.config.digest import launch_digest
from rayctl.config.model import ClusterConfig
from rayctl.gcs.view import ClusterView, Demand, RayNode, RayState
from rayctl.planner.model import Node, Policy, Setback, Snapshot, Status
from rayctl.planner.policy import policy
from rayctl.providers.base import Kind
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.lives import Life, Lives, Moment, Stage, advance, strangers
from rayctl.reconcile.seam import Listing

_STATUS = {RayState.RUNNING: Status.RUNNING, RayState.IDLE: Status.IDLE, RayState.DRAINING: Status.DRAINING}
_GOING = (Stage.DRAINING, Stage.ENDING)


@dataclass(frozen=True)
class Knowledge:
    """What else counts: prices by type, what failed of late, resources that were learnt, how many machines there can be more.

    `room` is by type, for types whose machines are declared hosts; the others have room up to their limits. `gone` are ids of
    machines that are no more, whatever Ray still says of them.
    """

    prices: Mapping[str, float] = field(default_factory=dict)
    setbacks: Mapping[str, Setback] = field(default_factory=dict)
    learnt: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    room: Mapping[str, int] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()


def snapshot(
    config: ClusterConfig, machines: Collection[Machine], view: ClusterView, *, prices: Mapping[str, float] | None = None
) -> Snapshot:
    """The snapshot of one look, without a memory."""
    moment = Moment(0.0, Listing(0.0, tuple(machines)), view, Journal())
    known = Knowledge(prices or {}, gone=frozenset(machine.id for machine in machines))
    return of_lives(config, advance({}, moment), view, known, pending=view.pending, now=0.0)


def of_lives(
    config: ClusterConfig, lives: Lives, view: ClusterView, known: Knowledge, *, pending: tuple[Demand, ...], now: float
) -> Snapshot:
    """The snapshot of machines whose lives are known; `pending` is what of the view's queued work counts."""
    in_use = {life.machine.type for life in lives.values()} & config.available_node_types.keys()
    digests = {name: launch_digest(name, config.available_node_types[name].node_config) for name in in_use}
    nodes = [_ours(digests, life, now) for life in lives.values()]
    # a stranger with an id of ours is a raylet that died and was started anew, before Ray notices
    gone = known.gone | lives.keys()
    nodes += [_foreign(node) for node in strangers(lives, view) if node.instance_id not in gone]
    return Snapshot(_policy(config, lives, known), tuple(nodes), pending, view.gangs, view.requested, known.setbacks)


def _policy(config: ClusterConfig, lives: Lives, known: Knowledge) -> Policy:
    base = policy(config, known.prices)
    if not known.learnt and not known.room:
        return base
    there = [life.machine.type for life in lives.values()]
    types = []
    for own in base.types:
        resources = own.resources or known.learnt.get(own.name, {})
        most = min(own.max_workers, there.count(own.name) + known.room[own.name]) if own.name in known.room else own.max_workers
        types.append(replace(own, resources=resources, max_workers=most, min_workers=min(own.min_workers, most)))
    return replace(base, types=tuple(types))


def _ours(digests: Mapping[str, str], life: Life, now: float) -> Node:
    """One of our machines; `digests` are those of the file's types.

    One on its way out takes no more work, whatever Ray still thinks of it.
    """
    machine, ray = life.machine, life.ray
    status = Status.DRAINING if life.stage in _GOING else Status.PENDING if ray is None else _STATUS[ray.state]
    # Ray counts from the raylet's start, some seconds before anything could be given to it
    idle_s = min(ray.idle_s, now - life.joined_at) if ray and life.joined_at else ray.idle_s if ray else 0.0
    return Node(
        id=machine.id,
        type=machine.type,
        status=status,
        total=ray.total if ray else {},
        available=ray.available if ray else {},
        idle_s=idle_s,
        labels=ray.labels if ray else {},
        is_head=machine.kind is Kind.HEAD,
        outdated=_outdated(digests, machine),
        groups=ray.groups if ray else frozenset(),
    )


def _foreign(ray: RayNode) -> Node:
    return Node(
        id=ray.node_id,
        type=ray.node_type,
        status=_STATUS[ray.state],
        total=ray.total,
        available=ray.available,
        idle_s=ray.idle_s,
        labels=ray.labels,
        is_head=ray.is_head,
        ours=False,
        groups=ray.groups,
    )


def _outdated(digests: Mapping[str, str], machine: Machine) -> str:
    """In what a machine differs from the file. A type that is gone is another matter."""
    if machine.type not in digests or machine.launch_digest in ("", digests[machine.type]):
        return ""
    return f"node_config of {machine.type} has changed since it was launched"
