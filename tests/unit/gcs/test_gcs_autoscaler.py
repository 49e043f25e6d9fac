# SPDX-License-Identifier: Apache-2.0
"""What is told to a head goes over the wire as Ray expects it."""

from __future__ import annotations

import pytest

from rayctl.gcs.autoscaler import AutoscalerClient, Coming, DrainReason, Failed, NodeGroup, Report
from rayctl.gcs.errors import GcsUnexpected
from rayctl.gcs.messages import MESSAGES
from rayctl.gcs.view import RayNode, RayState
from tests.unit.gcs.fake_gcs import encoded, serving

SERVICE = "/ray.rpc.autoscaler.AutoscalerStateService/"
STORE = "/ray.rpc.InternalKVGcsService/"
NODE = RayNode("ab" * 28, "i-1", "small", "10.0.0.1", RayState.IDLE)


def told(method: str, reply: bytes, act) -> object:
    """What the head was told by one act, as its message."""
    with serving({SERVICE + method: reply}) as fake, AutoscalerClient(fake.address) as client:
        client.clock_ns = lambda: 42
        act(client)
        ((_, request),) = fake.requests
    return MESSAGES[f"{method}Request"].FromString(request)


def test_a_drain_names_node_reason_and_deadline():
    accepted = encoded("DrainNodeReply", is_accepted=True)
    request = told("DrainNode", accepted, lambda client: client.drain(NODE, DrainReason.PREEMPTION, "spot", deadline_s=12.5))
    assert (request.node_id, request.reason, request.reason_message) == (b"\xab" * 28, 2, "spot")
    assert request.deadline_timestamp_ms == 12500
    request = told("DrainNode", accepted, lambda client: client.drain(NODE, DrainReason.IDLE, "idle"))
    assert (request.reason, request.deadline_timestamp_ms) == (1, 0)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ({"is_accepted": True}, ""),
        ({"rejection_reason_message": "it is no longer idle"}, "it is no longer idle"),
        ({}, "refused without a reason"),
    ],
)
def test_a_refusal_is_told_in_rays_words(reply, answer):
    with serving({SERVICE + "DrainNode": encoded("DrainNodeReply", **reply)}) as fake, AutoscalerClient(fake.address) as client:
        assert client.drain(NODE, DrainReason.IDLE, "idle") == answer


@pytest.mark.parametrize(
    "node",
    [
        RayNode("ab" * 28, "", "", "", RayState.IDLE, is_head=True),
        RayNode("ab" * 27, "", "", "", RayState.IDLE),
        RayNode("", "", "", "", RayState.IDLE),
    ],
)
def test_neither_the_head_nor_a_malformed_id_is_ever_sent(node):
    with serving({SERVICE + "DrainNode": encoded("DrainNodeReply", is_accepted=True)}) as fake:
        with AutoscalerClient(fake.address) as client, pytest.raises(ValueError, match="never drained"):
            client.drain(node, DrainReason.IDLE, "idle")
        assert fake.requests == []


def test_a_report_has_a_record_for_each_machine_and_a_version_that_grows():
    report = Report(
        coming=(Coming("small", since=7.9), Coming("small", since=7.9), Coming("big", "i-2", "10.0.0.2", "setup 3/5")),
        failed=(Failed("gpu", 3, "no capacity", 10.2, 11.7),),
        infeasible=({"CPU": 1000.0},),
    )
    state = told("ReportAutoscalingState", b"", lambda client: client.report(report)).autoscaling_state
    assert state.autoscaler_state_version == 42
    pending = [(r.ray_node_type_name, r.count, r.request_ts) for r in state.pending_instance_requests]
    assert pending == [("small", 1, 7)] * 2
    (coming,) = state.pending_instances
    assert (coming.instance_id, coming.ip_address, coming.details) == ("i-2", "10.0.0.2", "setup 3/5")
    (failed,) = state.failed_instance_requests
    assert (failed.count, failed.reason, failed.start_ts, failed.failed_ts) == (3, "no capacity", 10, 11)
    assert [dict(request.resources_bundle) for request in state.infeasible_resource_requests] == [{"CPU": 1000.0}]


def test_node_groups_are_told_in_whole_numbers_and_without_a_limit_as_minus_one():
    groups = [NodeGroup("small", {"CPU": 4.0, "x": 0.5}, 1, 5), NodeGroup("any", {"CPU": 1.0})]
    config = told("ReportClusterConfig", b"", lambda client: client.describe(groups)).cluster_config
    small, other = config.node_group_configs
    assert (small.name, dict(small.resources), small.min_count, small.max_count) == ("small", {"CPU": 4}, 1, 5)
    assert other.max_count == -1


def test_an_old_head_says_that_it_does_not_know_the_call():
    with serving({}) as fake, AutoscalerClient(fake.address) as client, pytest.raises(GcsUnexpected):
        client.describe([])


def test_values_are_stored_and_forgotten():
    answers = {
        STORE + "InternalKVPut": encoded("InternalKVPutReply", added=True),
        STORE + "InternalKVDel": encoded("InternalKVDelReply", deleted_num=1),
    }
    with serving(answers) as fake, AutoscalerClient(fake.address) as client:
        assert client.put(b"key", b"value", namespace=b"ns", overwrite=False)
        client.delete(b"key", namespace=b"ns")
        (_, put), (_, delete) = fake.requests
    stored = MESSAGES["InternalKVPutRequest"].FromString(put)
    assert (stored.key, stored.value, stored.namespace, stored.overwrite) == (b"key", b"value", b"ns", False)
    assert MESSAGES["InternalKVDelRequest"].FromString(delete).key == b"key"
