# SPDX-License-Identifier: Apache-2.0
"""Launching and ending machines as a plan says, and what is left when a provider gives less."""

from __future__ import annotations

from typing import Any

import pytest

from rayctl import plan
from rayctl.errors import NodesFailed
from rayctl.operations import machines
from rayctl.operations.down import down
from rayctl.operations.options import DownOptions
from rayctl.providers.base import launch_token
from rayctl.state import cluster, paths


def wanted(desk: Any) -> plan.Machines:
    return plan.machines(desk.session().deployment.config, desk.machines.nodes)


def names(desk: Any) -> list[str]:
    return [node.name for node in desk.machines.nodes]


def test_first_launch_makes_the_cluster_and_numbers_its_nodes(desk: Any) -> None:
    launched, failures = machines.apply(desk.session(), wanted(desk))
    assert failures == []
    assert [node.name for node in launched] == names(desk) == ["demo-head-1", "demo-worker-1", "demo-worker-2"]
    assert desk.machines.requests[1].slots[1].token == launch_token(desk.machines.identity, "worker", 2)
    assert [event.node for event in desk.said("node_launched")] == names(desk)


def test_numbers_are_remembered_before_the_provider_is_asked(desk: Any) -> None:
    """A wrapper that is killed in the middle of the call must not give the same number to another machine."""
    seen = []
    record = paths.record_file(desk.home, "demo")
    desk.machines.on_launch = lambda: seen.append(dict(cluster.load(record).sequences))
    machines.apply(desk.session(), wanted(desk))
    assert seen == [{"head": 1}, {"head": 1, "worker": 2}]


def test_a_name_is_never_given_twice(desk: Any) -> None:
    machines.apply(desk.session(), wanted(desk))
    desk.machines.nodes = desk.machines.nodes[:2]
    machines.apply(desk.session(), wanted(desk))
    assert names(desk) == ["demo-head-1", "demo-worker-1", "demo-worker-3"]


def test_numbers_go_on_behind_those_of_a_listing_when_the_record_is_lost(desk: Any) -> None:
    desk.machines.identity = "id-1"
    desk.machines.add("demo-head-1")
    desk.machines.add("demo-worker-7")
    machines.apply(desk.session(), wanted(desk))
    assert names(desk)[2:] == ["demo-worker-8"]


def test_fewer_workers_than_asked_for_are_a_failure_that_tells_why(desk: Any) -> None:
    desk.machines.capacity = {"worker": 1}
    launched, failures = machines.apply(desk.session(), wanted(desk))
    assert [node.name for node in launched] == ["demo-head-1", "demo-worker-1"]
    assert [failure.reason for failure in failures] == [
        "1 of 2 machines of type worker could not be launched: none left in this zone (capacity)"
    ]


def test_without_a_head_no_worker_is_launched(desk: Any) -> None:
    desk.machines.capacity = {"head": 0}
    launched, failures = machines.apply(desk.session(), wanted(desk))
    assert launched == []
    assert [failure.reason for failure in failures] == ["the head could not be launched: none left in this zone (capacity)"]
    assert names(desk) == []


def test_too_many_are_ended_with_the_reason(desk: Any) -> None:
    desk.machines.identity = "id-1"
    for name in ("demo-head-1", *(f"demo-worker-{n}" for n in range(1, 6))):
        desk.machines.add(name)
    machines.apply(desk.session(), wanted(desk))
    assert "demo-worker-5" not in names(desk)
    assert [(event.node, event.data["text"]) for event in desk.said("node_terminated")] == [
        ("demo-worker-5", "worker has at most 4")
    ]


def test_the_plan_reads_as_what_would_be_done(desk: Any) -> None:
    assert machines.explain(wanted(desk)) == ["launch the head (head)", "launch 2 workers (worker)"]


def test_down_asks_before_it_ends_workers_and_then_the_head(desk: Any) -> None:
    machines.apply(desk.session(), wanted(desk))
    asked: list[str] = []
    result = down(desk.session("down"), DownOptions(), asked.extend)
    assert asked == [
        "demo: end demo-worker-1, demo-worker-2, demo-head-1",
        "All jobs of the cluster are interrupted, since its head is.",
    ]
    assert result.ended == ("demo-worker-1", "demo-worker-2", "demo-head-1")
    assert names(desk) == []
    assert desk.machines.identity is None, "a cluster without nodes is forgotten"


def test_down_that_keeps_the_head_keeps_the_cluster(desk: Any) -> None:
    machines.apply(desk.session(), wanted(desk))
    identity = desk.machines.identity
    assert down(desk.session("down"), DownOptions(workers_only=True), lambda _: None).kept == ("demo-head-1",)
    assert desk.machines.identity == identity


def test_down_of_nothing_asks_nothing(desk: Any) -> None:
    result = down(desk.session("down"), DownOptions(), lambda _: pytest.fail("there is nothing to ask"))
    assert result.ended == ()


def test_down_names_what_did_not_end_and_how_to_try_again(desk: Any) -> None:
    machines.apply(desk.session(), wanted(desk))
    desk.machines.stubborn = {"demo-worker-2"}
    with pytest.raises(NodesFailed) as caught:
        down(desk.session("down"), DownOptions(), lambda _: None)
    assert [(failure.node, failure.reason) for failure in caught.value.failures] == [
        ("demo-worker-2", "could not be ended: not yours (auth)")
    ]
    assert caught.value.hint == f"rayctl down {desk.file}"
