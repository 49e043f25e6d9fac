# SPDX-License-Identifier: Apache-2.0
"""The decision code of Ray's second autoscaler, as it is in the installed `ray` package."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from ray.autoscaler.v2.instance_manager.config import NodeTypeConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.schema import AutoscalerInstance
from ray.core.generated import autoscaler_pb2, instance_manager_pb2

from bench.planning.deciders import Decision, Question
from bench.planning.scenario import Amounts, DemandSpec, GangSpec, NodeSpec, Scenario, TypeSpec

STATE: Any = autoscaler_pb2  # what is in them is made when they are loaded
INSTANCES: Any = instance_manager_pb2
CONFIG_HASH = "unchanged"


def prepare(scenario: Scenario) -> Question:
    """What is timed is `schedule()` and nothing else."""
    logging.disable(logging.CRITICAL)
    scheduler, request = ResourceDemandScheduler(None), _request(scenario)
    return Question(lambda: scheduler.schedule(request), _decision)


def _request(scenario: Scenario) -> Any:
    """The scenario has no `constraints`, which are passed in another form here."""
    assert not scenario["constraints"]
    return SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs={name: _type(name, spec) for name, spec in scenario["node_types"].items()},
        max_num_nodes=scenario["max_workers"] + 1,  # the head counts
        idle_timeout_s=scenario["idle_timeout_s"],
        resource_requests=[_demand(spec) for spec in scenario["demands"]],
        gang_resource_requests=[_gang(number, spec) for number, spec in enumerate(scenario["gangs"])],
        current_instances=[_instance(number, spec) for number, spec in enumerate(scenario["nodes"])],
    )


def _type(name: str, spec: TypeSpec) -> Any:
    return NodeTypeConfig(
        name=name,
        min_worker_nodes=spec["min"],
        max_worker_nodes=spec["max"],
        resources=dict(spec["resources"]),
        labels=dict(spec["labels"]),
        launch_config_hash=CONFIG_HASH,
    )


def _instance(number: int, spec: NodeSpec) -> Any:
    """The machine, and the Ray node that runs there."""
    node_id = number.to_bytes(28, "big")
    managed = INSTANCES.Instance(
        instance_id=spec["id"],
        instance_type=spec["type"],
        status=INSTANCES.Instance.RAY_RUNNING,
        node_id=node_id.hex(),
        cloud_instance_id=spec["id"],
        node_kind=INSTANCES.NodeKind.HEAD if spec["head"] else INSTANCES.NodeKind.WORKER,
        launch_config_hash=CONFIG_HASH,
    )
    return AutoscalerInstance(ray_node=_node(node_id, spec), im_instance=managed, cloud_instance_id=spec["id"])


def _node(node_id: bytes, spec: NodeSpec) -> Any:
    return STATE.NodeState(
        node_id=node_id,
        instance_id=spec["id"],
        ray_node_type_name=spec["type"],
        status=STATE.NodeStatus.IDLE if spec["idle_ms"] else STATE.NodeStatus.RUNNING,
        idle_duration_ms=spec["idle_ms"],
        total_resources=spec["total"],
        available_resources={name: amount for name, amount in spec["avail"].items() if amount > 0},
    )


def _demand(spec: DemandSpec) -> Any:
    requests = STATE.ResourceRequestByCount(count=spec["count"])
    requests.request.resources_bundle.update(spec["shape"])
    return requests


def _gang(number: int, spec: GangSpec) -> Any:
    """A GCS tells the bundles twice, in the old form and in the new one."""
    gang = STATE.GangResourceRequest(details=spec["strategy"])
    selectors = gang.bundle_selectors.add()
    for bundle in spec["bundles"]:
        _bundle(gang.requests.add(), f"_PG_{number}", spec["strategy"], bundle)
        _bundle(selectors.resource_requests.add(), f"_PG_{number}", spec["strategy"], bundle)
    return gang


def _bundle(request: Any, label: str, strategy: str, bundle: Amounts) -> None:
    request.resources_bundle.update(bundle)
    if strategy == "STRICT_PACK":
        request.placement_constraints.add().affinity.label_name = label
    elif strategy == "STRICT_SPREAD":
        request.placement_constraints.add().anti_affinity.label_name = label


def _decision(answer: Any) -> Decision:
    launch: Counter[str] = Counter()
    for request in answer.to_launch:
        launch[request.instance_type] += request.count
    lost = answer.infeasible_gang_resource_requests
    return Decision(
        launch=dict(launch),
        unplaced=len(answer.infeasible_resource_requests),
        unplaced_gangs=len(lost),
        unplaced_bundles=sum(len(gang.requests) for gang in lost),
        ended=len(answer.to_terminate),
    )
