# SPDX-License-Identifier: Apache-2.0
"""From Ray's replies to the data of `view`: here everything that is odd about the protocol ends.

`cluster_view` reads the autoscaler service's reply, `legacy_view` puts the same together from the calls of Ray 2.5 and
before. Messages are typed `Any`, for their classes exist at run time only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar

from rayctl.gcs.view import (
    HEAD_RESOURCE,
    IMPLICIT_RESOURCE,
    ClusterView,
    Demand,
    Gang,
    LabelRule,
    RayNode,
    RayState,
    Selector,
    in_placement_group,
    plain_resources,
)

T = TypeVar("T")

# A state newer than this table counts as running: the node is there.
_STATES: Final = {2: RayState.DEAD, 3: RayState.IDLE, 4: RayState.DRAINING}
_NOT_IN: Final = 2
_GROUP: Final = "_PG_"  # begins the label of a node with a bundle of the group
_DEAD: Final = 1
_STRATEGIES: Final = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")


def cluster_view(state: Any) -> ClusterView:
    """The view in a `ClusterResourceState`."""
    return ClusterView(
        session_name=state.cluster_session_name,
        nodes=tuple(_node(node) for node in state.node_states),
        pending=_queued(_counted(state.pending_resource_requests)),
        gangs=tuple(_gang(gang) for gang in state.pending_gang_resource_requests if gang.requests or gang.bundle_selectors),
        requested=_added_up(d for c in state.cluster_resource_constraints for d in _counted(c.resource_requests)),
    )


def legacy_view(infos: Iterable[Any], usage: Any, session_name: str, requested: tuple[Demand, ...]) -> ClusterView:
    """The view in the `GcsNodeInfo`s and the `ResourceUsageBatchData` of one moment."""
    groups = usage.placement_group_load.placement_group_data
    return ClusterView(
        session_name=session_name,
        nodes=legacy_nodes(infos, usage),
        pending=_queued(_legacy_demand(demand) for demand in usage.resource_load_by_shape.resource_demands),
        gangs=tuple(gang for gang in map(_legacy_gang, groups) if gang.bundles),
        requested=requested,
    )


def legacy_nodes(infos: Iterable[Any], usage: Any) -> tuple[RayNode, ...]:
    """The nodes in a `GetAllNodeInfoReply`, with what each of them has left from the usage beside it."""
    usage_of = {row.node_id: row for row in usage.batch}
    return tuple(_legacy_node(info, usage_of.get(info.node_id)) for info in infos)


def requested_bundles(value: bytes) -> tuple[Demand, ...]:
    """What `request_resources()` left in the head's key-value store: a JSON list of shapes, or nothing.

    Raises `ValueError` for anything else.
    """
    try:
        shapes = [{name: float(amount) for name, amount in sorted(shape.items())} for shape in json.loads(value or b"[]")]
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"not a list of resource shapes: {value[:80]!r}") from error
    return _added_up(Demand(shape, 1) for shape in shapes)


def _sorted(entries: Mapping[str, T]) -> dict[str, T]:
    """A map in one order: the wire's is another at every read, and people compare what is printed."""
    return dict(sorted(entries.items()))


def _node(node: Any) -> RayNode:
    return RayNode(
        node_id=node.node_id.hex(),
        instance_id=node.instance_id,
        node_type=node.ray_node_type_name,
        address=node.node_ip_address,
        state=_STATES.get(node.status, RayState.RUNNING),
        total=plain_resources(node.total_resources),
        available=plain_resources(node.available_resources) | _implicit(node.available_resources),
        idle_s=node.idle_duration_ms / 1000,
        labels=_sorted(node.labels),
        is_head=HEAD_RESOURCE in node.total_resources,
        groups=frozenset(key.removeprefix(_GROUP) for key in node.dynamic_labels if key.startswith(_GROUP)),
    )


def _implicit(resources: Mapping[str, float]) -> dict[str, float]:
    return {name: amount for name, amount in sorted(resources.items()) if name.startswith(IMPLICIT_RESOURCE)}


def _gang(gang: Any) -> Gang:
    """Bundles stand in the first of the selectors where the head knows of selectors; `details` is `<id>:<strategy>|<state>`."""
    group_id, _, rest = gang.details.partition(":")
    bundles = gang.bundle_selectors[0].resource_requests if gang.bundle_selectors else gang.requests
    return Gang(group_id, rest.partition("|")[0], _added_up(_demand(bundle, 1) for bundle in bundles))


def _counted(requests: Iterable[Any]) -> Iterator[Demand]:
    return (_demand(item.request, item.count) for item in requests)


def _demand(request: Any, count: int) -> Demand:
    selectors = tuple(_selector(selector) for selector in request.label_selectors)
    # A request that wants nothing of its node carries one empty selector.
    return Demand(_sorted(request.resources_bundle), count, selectors if any(selectors) else ())


def _selector(selector: Any) -> Selector:
    """Rules and values in one order: Ray lists equal demands apart when their labels were written down differently."""
    rules = selector.label_constraints
    return tuple(sorted(LabelRule(r.label_key, tuple(sorted(r.label_values)), r.operator == _NOT_IN) for r in rules))


def _queued(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    """Without what waits for its place inside a placement group: no new node can serve that."""
    return _added_up(demand for demand in demands if not any(map(in_placement_group, demand.shape)))


def _added_up(demands: Iterable[Demand]) -> tuple[Demand, ...]:
    """Equal demands as one, in the order of their first."""
    counts: Counter[tuple[frozenset[tuple[str, float]], tuple[Selector, ...]]] = Counter()
    shapes: dict[frozenset[tuple[str, float]], Mapping[str, float]] = {}
    for demand in demands:
        shape = frozenset(demand.shape.items())
        shapes.setdefault(shape, demand.shape)
        counts[shape, demand.selectors] += demand.count
    return tuple(Demand(shapes[shape], count, selectors) for (shape, selectors), count in counts.items() if count > 0)


def _legacy_node(info: Any, usage: Any | None) -> RayNode:
    total = dict(usage.resources_total if usage else info.resources_total)
    available = dict(usage.resources_available) if usage else {}
    dead = info.state == _DEAD
    return RayNode(
        node_id=info.node_id.hex(),
        instance_id=info.instance_id,
        node_type=info.node_type_name,
        address=info.node_manager_address,
        state=RayState.DEAD if dead else _legacy_state(total, available, draining=bool(usage and usage.is_draining)),
        total={} if dead else plain_resources(total),
        available={} if dead else plain_resources(available),
        idle_s=usage.idle_duration_ms / 1000 if usage else 0.0,
        labels=_sorted(info.labels),
        is_head=info.is_head_node or HEAD_RESOURCE in total,
    )


def _legacy_state(total: Mapping[str, float], available: Mapping[str, float], *, draining: bool) -> RayState:
    """Heads this old know only dead and alive: a node is idle when all that it has is free."""
    if draining:
        return RayState.DRAINING
    return RayState.IDLE if total and total == available else RayState.RUNNING


def _legacy_demand(demand: Any) -> Demand:
    count = demand.num_ready_requests_queued + demand.num_infeasible_requests_queued + demand.backlog_size
    return Demand(_sorted(demand.shape), count)


def _legacy_gang(group: Any) -> Gang:
    """A bundle that has no place names no node, or the nil node: all bits set."""
    lost = (bundle for bundle in group.bundles if not bundle.node_id.strip(b"\xff"))
    strategy = _STRATEGIES[group.strategy] if group.strategy < len(_STRATEGIES) else ""
    return Gang(group.placement_group_id.hex(), strategy, _added_up(Demand(_sorted(b.unit_resources), 1) for b in lost))
