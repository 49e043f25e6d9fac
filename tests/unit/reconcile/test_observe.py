# SPDX-License-Identifier: Apache-2.0
"""A snapshot is what the provider lists and what Ray tells, joined."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayctl.config.digest import launch_digest
from rayctl.config.load import parse
from rayctl.gcs.view import ClusterView, Demand, Gang, RayNode, RayState
from rayctl.planner.model import Node, Setback, Status
from rayctl.providers.base import Addresses, Kind, NodeState
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.observe import Knowledge, of_lives, snapshot

CONFIG = parse(
    """
cluster_name: c
provider: {type: simulated}
max_workers: 4
head_node_type: head
available_node_types:
  head: {resources: {CPU: 2}}
  small: {resources: {CPU: 4}, node_config: {image: new}}
""",
    "c.yaml",
).config
MACHINE = Machine("i-1", "c-small-1", Kind.WORKER, "small", NodeState.RUNNING, "token", Addresses("10.0.0.1"))
RAY = RayNode(
    *("ab", "i-1", "small", "10.0.0.1", RayState.IDLE, {"CPU": 4.0}, {"CPU": 3.0}, 12.0, {"zone": "a"}),
    groups=frozenset({"g"}),
)


def seen(*machines: Machine, ray: tuple[RayNode, ...] = ()) -> tuple[Node, ...]:
    return snapshot(CONFIG, machines, ClusterView("s", ray)).nodes


def test_a_machine_that_joined_is_what_ray_tells_of_it() -> None:
    assert seen(MACHINE, ray=(RAY,)) == (
        Node("i-1", "small", Status.IDLE, {"CPU": 4.0}, {"CPU": 3.0}, 12.0, {"zone": "a"}, groups=frozenset({"g"})),
    )


@pytest.mark.parametrize(
    ("state", "status"),
    [(RayState.RUNNING, Status.RUNNING), (RayState.IDLE, Status.IDLE), (RayState.DRAINING, Status.DRAINING)],
)
def test_what_it_does(state: RayState, status: Status) -> None:
    assert seen(MACHINE, ray=(replace(RAY, state=state),))[0].status is status


def test_a_machine_that_ray_does_not_know_is_pending() -> None:
    assert seen(MACHINE)[0].status is Status.PENDING
    assert seen(MACHINE, ray=(replace(RAY, state=RayState.DEAD),))[0].status is Status.PENDING


def test_a_machine_on_its_way_out_takes_no_more_work() -> None:
    assert seen(replace(MACHINE, state=NodeState.STOPPING), ray=(RAY,))[0].status is Status.DRAINING
    assert seen(replace(MACHINE, state=NodeState.TERMINATED)) == ()


def test_a_node_that_the_provider_does_not_list_is_not_ours() -> None:
    (found,) = seen(ray=(replace(RAY, instance_id="", is_head=True),))
    assert (found.id, found.ours, found.is_head, found.worker) == ("ab", False, True, False)


def test_old_rays_are_known_by_their_address() -> None:
    (found,) = seen(MACHINE, ray=(replace(RAY, instance_id=""),))
    assert (found.id, found.ours, found.status) == ("i-1", True, Status.IDLE)


@pytest.mark.parametrize(
    ("digest", "outdated"),
    [
        ("", ""),
        (launch_digest("small", {"image": "new"}), ""),
        (launch_digest("small", {"image": "old"}), "node_config of small has changed since it was launched"),
    ],
)
def test_a_machine_is_outdated_when_it_was_launched_from_another_node_config(digest: str, outdated: str) -> None:
    assert seen(replace(MACHINE, launch_digest=digest))[0].outdated == outdated


def test_machines_of_a_type_that_is_gone_are_not_called_outdated() -> None:
    assert seen(replace(MACHINE, type="gone", launch_digest="v1:x"))[0].outdated == ""


def test_demand_prices_and_setbacks_are_handed_on() -> None:
    view = ClusterView("s", (), (Demand({"CPU": 1.0}, 2),), (Gang("g", "PACK", ()),), (Demand({"CPU": 3.0}, 1),))
    known = Knowledge({"small": 0.3}, {"small": Setback("no capacity")})
    found = of_lives(CONFIG, {}, view, known, pending=view.pending, now=0.0)
    assert (found.pending, found.gangs, found.requested) == (view.pending, view.gangs, view.requested)
    assert found.policy.types[0].price == 0.3
    assert found.setbacks == {"small": Setback("no capacity")}


def test_foreign_nodes_on_one_address_are_not_one() -> None:
    found = seen(ray=(replace(RAY, node_id="aa", instance_id=""), replace(RAY, node_id="bb", instance_id="")))
    assert [node.id for node in found] == ["aa", "bb"]


def test_a_machine_that_is_gone_is_no_foreign_node_while_ray_has_not_noticed() -> None:
    assert seen(replace(MACHINE, state=NodeState.TERMINATED), ray=(RAY,)) == ()


def test_a_raylet_that_was_started_anew_is_one_node_though_ray_still_lists_the_dead_one() -> None:
    (found,) = seen(MACHINE, ray=(replace(RAY, node_id="aa"), replace(RAY, node_id="bb", available={"CPU": 1.0})))
    assert (found.id, found.ours, found.available) == ("i-1", True, {"CPU": 1.0})
