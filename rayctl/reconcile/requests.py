# SPDX-License-Identifier: Apache-2.0
"""What a provider is asked for: machines of a type as the file describes it, named and numbered (pure).

`up` and the scaler ask in the same words, and so find each other's machines again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rayctl.config.digest import launch_digest
from rayctl.config.model import ClusterConfig
from rayctl.providers.base import Kind, LaunchRequest, Node, Slot, host_token, launch_token

NUMBER = re.compile(r"-(\d+)$")
STATUS_TAG = "ray-node-status"  # Ray's tag, with Ray's values
UNINITIALIZED, SETTING_UP, UP_TO_DATE, FAILED = "uninitialized", "setting-up", "up-to-date", "update-failed"


def request_for(config: ClusterConfig, node_type: str, kind: Kind, slots: tuple[Slot, ...]) -> LaunchRequest:
    """The request for machines of a type."""
    own = config.available_node_types[node_type]
    node_config = dict(own.node_config)
    tags = {"ray-cluster-name": config.cluster_name, "ray-node-type": kind.value, "ray-user-node-type": node_type}
    return LaunchRequest(
        kind=kind, type=node_type, slots=slots, launch_digest=launch_digest(node_type, node_config), node_config=node_config,
        resources=dict(own.resources), labels=dict(own.labels), tags={**tags, STATUS_TAG: UNINITIALIZED},
    )  # fmt: skip


def numbers(nodes: Iterable[Node], node_type: str) -> list[int]:
    """The numbers that machines of a type bear in their names; 0 for one without."""
    found = (NUMBER.search(node.name) for node in nodes if node.type == node_type)
    return [int(match[1]) if match else 0 for match in found]


def slot_of(cluster_name: str, cluster_id: str, node_type: str, number: int) -> Slot:
    """The name and the token of the n-th machine of a type."""
    return Slot(f"{cluster_name}-{node_type}-{number}".replace(".", "-"), launch_token(cluster_id, node_type, number))


def host_slots(hosts: Iterable[str], cluster_id: str) -> tuple[Slot, ...]:
    """The same for declared hosts, which bear their own names."""
    return tuple(Slot(name, host_token(cluster_id, name)) for name in hosts)
