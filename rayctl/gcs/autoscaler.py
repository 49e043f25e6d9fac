# SPDX-License-Identifier: Apache-2.0
"""What an autoscaler tells a Ray head: which nodes it drains, what it is doing, which nodes there could be.

The head keeps the last report only, in memory, and throws away one with a lower version than the last. Versions are
nanoseconds since the epoch here: they grow over restarts of ours, and are above those of Ray's own monitor, which count from 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from rayctl.gcs.client import GcsClient
from rayctl.gcs.messages import MESSAGES
from rayctl.gcs.view import Demand, RayNode

NODE_ID_BYTES = 28  # the head aborts when it is given an id of another length
_SERVICE = "autoscaler.AutoscalerStateService"
_UNLIMITED = -1
_IN, _NOT_IN = 1, 2  # operators of label rules


class DrainReason(IntEnum):
    """Why a node is drained, by Ray's numbers. IDLE is refused by a node that is not; PREEMPTION lets work end first."""

    IDLE = 1
    PREEMPTION = 2


@dataclass(frozen=True)
class Coming:
    """A machine that has not joined. `details` is what `ray status` shows of it; `id` "" while it is only asked for.

    `since` is seconds since the epoch.
    """

    type: str
    id: str = ""
    address: str = ""
    details: str = ""
    since: float = 0.0


@dataclass(frozen=True)
class Failed:
    """Machines that could not be launched or set up: why, between which moments in seconds since the epoch."""

    type: str
    count: int
    reason: str
    started_at: float
    failed_at: float


@dataclass(frozen=True)
class Report:
    """What `ray status` and the dashboard show beside the nodes.

    `infeasible` are shapes that can never be: Ray tells drivers of each new one, and may cancel exactly these tasks.
    """

    coming: tuple[Coming, ...] = ()
    failed: tuple[Failed, ...] = ()
    infeasible: tuple[Mapping[str, float], ...] = ()


@dataclass(frozen=True)
class NodeGroup:
    """One type of nodes that there could be, for libraries that plan by it. `most` None: any number."""

    name: str
    resources: Mapping[str, float]
    least: int = 0
    most: int | None = field(default=None)


class AutoscalerClient(GcsClient):
    """A client that also tells. Errors are as of `GcsClient`."""

    clock_ns: Callable[[], int] = staticmethod(time.time_ns)

    def drain(self, node: RayNode, reason: DrainReason, message: str, *, deadline_s: float | None = None) -> str:
        """Drain a node; "" when the head accepts, else its words. A node that is gone is accepted.

        `deadline_s`: seconds since the epoch by which the node will be gone whatever runs there. Raises `ValueError` for the
        head, which would shut down, and for an id that would end it.
        """
        identity = bytes.fromhex(node.node_id)
        if node.is_head or len(identity) != NODE_ID_BYTES:
            raise ValueError(f"{'the head' if node.is_head else node.node_id!r} is never drained")
        request = MESSAGES["DrainNodeRequest"](
            node_id=identity,
            reason=int(reason),
            reason_message=message,
            deadline_timestamp_ms=0 if deadline_s is None else int(deadline_s * 1000),
        )
        reply = self._call(f"{_SERVICE}/DrainNode", request.SerializeToString())
        return "" if reply.is_accepted else reply.rejection_reason_message or "refused without a reason"

    def report(self, report: Report) -> None:
        """Replace what the head knows of the autoscaler."""
        state = MESSAGES["AutoscalingState"](
            autoscaler_state_version=self.clock_ns(),
            # ray status counts records, whatever their count says: one for each machine
            pending_instance_requests=[
                {"ray_node_type_name": c.type, "count": 1, "request_ts": int(c.since)} for c in report.coming if not c.id
            ],
            pending_instances=[
                {"ray_node_type_name": c.type, "instance_id": c.id, "ip_address": c.address, "details": c.details}
                for c in report.coming
                if c.id
            ],
            failed_instance_requests=[_failed(failure) for failure in report.failed],
            infeasible_resource_requests=[{"resources_bundle": dict(shape)} for shape in report.infeasible],
        )
        request = MESSAGES["ReportAutoscalingStateRequest"](autoscaling_state=state)
        self._call(f"{_SERVICE}/ReportAutoscalingState", request.SerializeToString())

    def describe(self, groups: Iterable[NodeGroup]) -> None:
        """Tell which nodes there could be; Ray Data and Ray Train plan by it. Ray from 2.44 on, `GcsUnexpected` before."""
        config = {"node_group_configs": [_group(group) for group in groups]}
        request = MESSAGES["ReportClusterConfigRequest"](cluster_config=config)
        self._call(f"{_SERVICE}/ReportClusterConfig", request.SerializeToString())

    def request(self, demands: Iterable[Demand]) -> None:
        """Ask in the place of `request_resources()`: the cluster is to hold all of this, and nothing asked before."""
        constraint = {"resource_requests": [_requested(demand) for demand in demands]}
        request = MESSAGES["RequestClusterResourceConstraintRequest"](cluster_resource_constraint=constraint)
        self._call(f"{_SERVICE}/RequestClusterResourceConstraint", request.SerializeToString())

    def put(self, key: bytes, value: bytes, *, namespace: bytes = b"", overwrite: bool = True) -> bool:
        """Store a value at the head; whether the key is new. Without `overwrite` a known key keeps its value."""
        request = MESSAGES["InternalKVPutRequest"](key=key, value=value, overwrite=overwrite, namespace=namespace)
        added: bool = self._call("InternalKVGcsService/InternalKVPut", request.SerializeToString()).added
        return added

    def get(self, key: bytes, *, namespace: bytes = b"") -> bytes:
        """A stored value, empty when there is none."""
        return self._kv(key, namespace)

    def delete(self, key: bytes, *, namespace: bytes = b"") -> None:
        """Forget a value."""
        request = MESSAGES["InternalKVDelRequest"](key=key, namespace=namespace)
        self._call("InternalKVGcsService/InternalKVDel", request.SerializeToString())


def _requested(demand: Demand) -> dict[str, object]:
    selectors = [
        {"label_constraints": [
            {"label_key": rule.key, "operator": _NOT_IN if rule.negated else _IN, "label_values": list(rule.values)}
            for rule in selector
        ]} for selector in demand.selectors
    ]  # fmt: skip
    return {"request": {"resources_bundle": dict(demand.shape), "label_selectors": selectors}, "count": demand.count}


def _failed(failure: Failed) -> dict[str, object]:
    return {
        "ray_node_type_name": failure.type,
        "count": failure.count,
        "reason": failure.reason,
        "start_ts": int(failure.started_at),
        "failed_ts": int(failure.failed_at),
    }


def _group(group: NodeGroup) -> dict[str, object]:
    """Amounts are whole numbers there."""
    whole = {name: int(amount) for name, amount in group.resources.items() if amount >= 1}
    most = _UNLIMITED if group.most is None else group.most
    return {"name": group.name, "resources": whole, "min_count": group.least, "max_count": most}
