# SPDX-License-Identifier: Apache-2.0
"""What the provider lists and what Ray's head tells, of one moment, as the planner's snapshot (pure).

The two are joined by the instance id, which Ray learns from us at a node's start; Ray 2.5 and before do not keep it, there
the address has to do. A machine that Ray does not know is pending; a node of Ray's that the provider does not list
is not ours.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rayctl.config.digest import launch_digest
from rayctl.config.model import ClusterConfig
from rayctl.gcs.view import ClusterView, RayNode, RayState
from rayctl.planner.model import Node, Setback, Snapshot, Status
from rayctl.planner.policy import policy
from rayctl.providers.base import Kind, NodeState
from rayctl.providers.base import Node as Machine

_STATUS = {RayState.RUNNING: Status.RUNNING, RayState.IDLE: Status.IDLE, RayState.DRAINING: Status.DRAINING}
_GONE = (NodeState.TERMINATED, NodeState.STOPPED)


def snapshot(
    config: ClusterConfig,
    machines: Collection[Machine],
    view: ClusterView,
    *,
    prices: Mapping[str, float] | None = None,
    setbacks: Mapping[str, Setback] | None = None,
) -> Snapshot:
    """The snapshot. `prices` are the provider's, by type; `setbacks` are what failed of late."""
    joined = {node.node_id: node for node in view.nodes if node.state.alive}
    known = {node.instance_id or f"address {node.address}": node.node_id for node in joined.values()}
    nodes = []
    for machine in machines:
        address = f"address {machine.addresses.internal}" if machine.addresses else ""
        ray = joined.pop(known.get(machine.id) or known.get(address, ""), None)
        if machine.state not in _GONE:  # Ray takes a while to notice that a machine is gone
            nodes.append(_ours(config, machine, ray))
    ours = {machine.id for machine in machines}
    # what is left with an id of ours is a raylet that died and was started anew, before Ray notices
    nodes += [_foreign(node) for node in joined.values() if node.instance_id not in ours]
    return Snapshot(policy(config, prices), tuple(nodes), view.pending, view.gangs, view.requested, setbacks or {})


def _ours(config: ClusterConfig, machine: Machine, ray: RayNode | None) -> Node:
    """One of our machines. One on its way out takes no more work, whatever Ray still thinks of it."""
    status = Status.PENDING if ray is None else _STATUS[ray.state]
    return Node(
        id=machine.id,
        type=machine.type,
        status=Status.DRAINING if machine.state is NodeState.STOPPING else status,
        total=ray.total if ray else {},
        available=ray.available if ray else {},
        idle_s=ray.idle_s if ray else 0.0,
        labels=ray.labels if ray else {},
        is_head=machine.kind is Kind.HEAD,
        outdated=_outdated(config, machine),
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


def _outdated(config: ClusterConfig, machine: Machine) -> str:
    """In what a machine differs from the file. A type that is gone is another matter."""
    node_type = config.available_node_types.get(machine.type)
    if node_type is None or machine.launch_digest in ("", launch_digest(machine.type, node_type.node_config)):
        return ""
    return f"node_config of {machine.type} has changed since it was launched"
