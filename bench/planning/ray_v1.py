# SPDX-License-Identifier: Apache-2.0
"""The decision code of Ray's first autoscaler, as it is in the installed `ray` package."""

from __future__ import annotations

import logging
from typing import Any

from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import ResourceDemandScheduler
from ray.autoscaler.tags import TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE
from ray.core.generated import common_pb2, gcs_pb2

from bench.planning.deciders import Decision, Question
from bench.planning.scenario import HEAD_TYPE, GangSpec, NodeSpec, Scenario

COMMON: Any = common_pb2  # what is in them is made when they are loaded
GCS: Any = gcs_pb2


class Provider:
    """The little of a node provider that is asked for while deciding; a node's address is its id."""

    def __init__(self, nodes: list[NodeSpec]) -> None:
        self._tags = {node["id"]: _tags(node) for node in nodes}

    def node_tags(self, node: str) -> dict[str, str]:
        return self._tags[node]

    def internal_ip(self, node: str) -> str:
        return node


def prepare(scenario: Scenario) -> Question:
    """What is timed is `get_nodes_to_launch()` and nothing else: not even the list with each request for itself."""
    logging.disable(logging.CRITICAL)
    scheduler, arguments = _scheduler(scenario), _arguments(scenario)
    return Question(lambda: scheduler.get_nodes_to_launch(**arguments), _decision)


def _scheduler(scenario: Scenario) -> Any:
    types = {
        name: {
            "resources": dict(spec["resources"]), "min_workers": spec["min"], "max_workers": spec["max"], "node_config": {},
        }
        for name, spec in scenario["node_types"].items()
    }  # fmt: skip
    provider: Any = Provider(scenario["nodes"])
    return ResourceDemandScheduler(provider, types, scenario["max_workers"], HEAD_TYPE, scenario["upscaling_speed"])


def _arguments(scenario: Scenario) -> dict[str, Any]:
    nodes = scenario["nodes"]
    return {
        "nodes": [node["id"] for node in nodes],
        "launching_nodes": {},
        "resource_demands": [demand["shape"] for demand in scenario["demands"] for _ in range(demand["count"])],
        "unused_resources_by_ip": {node["id"]: dict(node["avail"]) for node in nodes},
        "pending_placement_groups": [_group(gang) for gang in scenario["gangs"]],
        "max_resources_by_ip": {node["id"]: dict(node["total"]) for node in nodes},
        "ensure_min_cluster_size": [wish["shape"] for wish in scenario["constraints"] for _ in range(wish["count"])],
        "node_availability_summary": NodeAvailabilitySummary({}),
    }


def _tags(node: NodeSpec) -> dict[str, str]:
    return {TAG_RAY_NODE_KIND: "head" if node["head"] else "worker", TAG_RAY_USER_NODE_TYPE: node["type"]}


def _group(gang: GangSpec) -> Any:
    group = GCS.PlacementGroupTableData(strategy=COMMON.PlacementStrategy.Value(gang["strategy"]))
    for bundle in gang["bundles"]:
        group.bundles.add().unit_resources.update(bundle)
    return group


def _decision(answer: tuple[dict[str, int], list[Any]]) -> Decision:
    """Placement groups are flattened into the demand, so their bundles are among what is unfulfilled."""
    launch, unfulfilled = answer
    return Decision(launch=dict(launch), unplaced=len(unfulfilled))
