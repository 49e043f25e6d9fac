# SPDX-License-Identifier: Apache-2.0
"""What a cluster file says of scaling, as the planner's `Policy`."""

from __future__ import annotations

from collections.abc import Mapping

from rayctl.config.legacy import SCALER_KEYS
from rayctl.config.model import ClusterConfig
from rayctl.planner.model import DEFAULT_FRACTION, DEFAULT_OVERHEAD, NodeType, Policy, Utilization


def policy(config: ClusterConfig, prices: Mapping[str, float] | None = None) -> Policy:
    """The policy of a cluster file. `prices` are the provider's, per hour and type; a price in the file wins."""
    overhead = config.scaler.machine_overhead
    return Policy(
        types=tuple(_type(config, name, (prices or {}).get(name)) for name in config.worker_types),
        max_workers=config.max_workers,
        upscaling_speed=config.upscaling_speed,
        idle_timeout_s=config.idle_timeout_minutes * 60,
        machine_overhead=DEFAULT_OVERHEAD if overhead is None else overhead,
        utilization=_utilization(config),
    )


def _type(config: ClusterConfig, name: str, price: float | None) -> NodeType:
    own = config.available_node_types[name]
    return NodeType(
        name=name,
        resources=own.resources,
        max_workers=config.max_workers_of(name),
        min_workers=config.min_workers_of(name),
        labels=own.labels,
        price=price if own.price is None else own.price,
        priority=own.priority,
        idle_timeout_s=own.idle_timeout_s,
    )


def _utilization(config: ClusterConfig) -> Utilization | None:
    """The rule of Ray's first autoscaler is meant exactly where the file has one of its keys."""
    scaler = config.scaler
    if scaler.model_fields_set.isdisjoint(SCALER_KEYS):
        return None
    fraction = scaler.target_utilization_fraction or DEFAULT_FRACTION
    return Utilization(fraction, scaler.initial_workers, scaler.autoscaling_mode == "aggressive")
