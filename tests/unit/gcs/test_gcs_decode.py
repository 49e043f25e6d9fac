# SPDX-License-Identifier: Apache-2.0
"""The oddities of the protocol, each with what comes out of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.gcs.decode import cluster_view, legacy_nodes, legacy_view, requested_bundles
from rayctl.gcs.messages import MESSAGES
from rayctl.gcs.view import ClusterView, Demand, Gang, LabelRule, RayNode, RayState

GROUP = "3f" * 18
IN, NOT_IN = 1, 2
NIL = b"\xff" * 28


def view(**fields) -> ClusterView:
    return cluster_view(MESSAGES["ClusterResourceState"](**fields))


def pending(*requests) -> tuple[Demand, ...]:
    return view(pending_resource_requests=requests).pending


def request(count=1, *selectors, **shape):
    return {"count": count, "request": {"resources_bundle": shape, "label_selectors": selectors}}


def rule(key, operator, *values):
    return {"label_key": key, "operator": operator, "label_values": values}


def selector(*rules):
    return {"label_constraints": rules}


def legacy(infos=(), rows=(), demands=(), groups=()) -> ClusterView:
    usage = MESSAGES["ResourceUsageBatchData"](
        batch=rows, resource_load_by_shape={"resource_demands": demands}, placement_group_load={"placement_group_data": groups}
    )
    return legacy_view([MESSAGES["GcsNodeInfo"](**info) for info in infos], usage, "session_x", ())


def test_a_node_is_read_with_its_identity_and_without_made_up_resources():
    node = {
        "node_id": b"\x01\xab",
        "instance_id": "i-1",
        "ray_node_type_name": "cpu.spot",
        "node_ip_address": "10.0.0.7",
        "status": 1,
        "idle_duration_ms": 1500,
        "total_resources": {"CPU": 4, "node:10.0.0.7": 1, "node:__internal_head__": 1, f"CPU_group_{GROUP}": 2},
        "available_resources": {"CPU": 2, "node:10.0.0.7": 1},
        "labels": {"zone": "a"},
    }
    assert view(cluster_session_name="session_x", node_states=[node]) == ClusterView(
        "session_x",
        (
            RayNode(
                *("01ab", "i-1", "cpu.spot", "10.0.0.7", RayState.RUNNING),
                *({"CPU": 4.0}, {"CPU": 2.0}, 1.5, {"zone": "a"}, True),
            ),
        ),
    )


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (1, RayState.RUNNING),
        (2, RayState.DEAD),
        (3, RayState.IDLE),
        (4, RayState.DRAINING),
        (0, RayState.RUNNING),
        (9, RayState.RUNNING),
    ],
)
def test_states_are_read_and_unknown_ones_count_as_running(status, state):
    assert view(node_states=[{"status": status}]).nodes[0].state is state


def test_equal_requests_are_added_up_in_the_order_of_their_first():
    assert pending(request(3, CPU=1), request(1, GPU=1), request(2, CPU=1)) == (Demand({"CPU": 1}, 5), Demand({"GPU": 1}, 1))


def test_one_empty_selector_means_no_wish():
    assert pending(request(1, selector(), CPU=1)) == (Demand({"CPU": 1}, 1),)


def test_selectors_keep_their_order_of_preference_to_the_last_that_takes_any_node():
    spot, anywhere = selector(rule("market", IN, "spot")), selector()
    assert pending(request(1, spot, anywhere, CPU=1))[0].selectors == ((LabelRule("market", ("spot",)),), ())


def test_selectors_that_differ_only_in_how_they_were_written_are_one_demand():
    one = selector(rule("zone", NOT_IN, "a", "b"), rule("tier", IN, "gold"))
    other = selector(rule("tier", IN, "gold"), rule("zone", NOT_IN, "b", "a"))
    want = (LabelRule("tier", ("gold",)), LabelRule("zone", ("a", "b"), negated=True))
    assert pending(request(1, one, CPU=1), request(2, other, CPU=1)) == (Demand({"CPU": 1}, 3, (want,)),)


def test_work_that_waits_inside_a_placement_group_is_no_pending_demand():
    inside = {f"CPU_group_{GROUP}": 1.0, f"bundle_group_{GROUP}": 0.001}
    assert pending(request(5, **inside), request(1, CPU=1)) == (Demand({"CPU": 1}, 1),)


def test_requests_of_none_are_no_demand():
    assert pending(request(0, CPU=1)) == ()


def test_a_gang_names_its_group_and_strategy():
    gang = {"details": f"{GROUP}:STRICT_SPREAD|PENDING", "requests": [{"resources_bundle": {"CPU": 1}}] * 3}
    assert view(pending_gang_resource_requests=[gang]).gangs == (Gang(GROUP, "STRICT_SPREAD", (Demand({"CPU": 1}, 3),)),)


def test_a_gangs_selectors_win_over_its_plain_bundles():
    bundle = {"resources_bundle": {"GPU": 1}, "label_selectors": [selector(rule("zone", IN, "a"))]}
    gang = {"details": "g:PACK|PENDING", "requests": [{"resources_bundle": {"GPU": 1}}]}
    gang["bundle_selectors"] = [{"resource_requests": [bundle]}, {"resource_requests": []}]
    (read,) = view(pending_gang_resource_requests=[gang]).gangs
    assert read.bundles == (Demand({"GPU": 1}, 1, ((LabelRule("zone", ("a",)),),)),)


def test_a_gang_that_was_placed_meanwhile_is_left_out():
    assert view(pending_gang_resource_requests=[{"details": "g:PACK|PENDING"}]).gangs == ()


def test_requested_resources_are_those_of_the_constraint():
    constraint = {"resource_requests": [request(40, CPU=1), request(2, GPU=1)]}
    assert view(cluster_resource_constraints=[constraint]).requested == (Demand({"CPU": 1}, 40), Demand({"GPU": 1}, 2))


@given(st.lists(st.tuples(st.sampled_from(["CPU", "GPU", "x"]), st.integers(1, 3), st.integers(0, 9))))
def test_adding_up_loses_no_request_and_leaves_no_two_alike(wanted):
    demands = pending(*(request(count, **{name: amount}) for name, amount, count in wanted))
    assert sum(demand.count for demand in demands) == sum(count for *_, count in wanted)
    shapes = [frozenset(demand.shape.items()) for demand in demands]
    assert len(shapes) == len(set(shapes))


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 9)), st.dictionaries(st.text(max_size=3), st.text(max_size=3)))
def test_maps_come_out_in_one_order(amounts, labels):
    node = {"node_id": b"\x01", "labels": labels}
    now = view(node_states=[node | {"total_resources": amounts}], pending_resource_requests=[request(1, **amounts)])
    old = legacy([node], [{"node_id": b"\x01", "resources_total": amounts}], [{"shape": amounts, "backlog_size": 1}])
    for read in (now, old):
        for entries in (read.nodes[0].total, read.nodes[0].labels, read.pending[0].shape):
            assert list(entries) == sorted(entries)


def test_an_old_head_gives_the_same_node_from_two_tables():
    info = {"node_id": b"\x01", "node_manager_address": "10.0.0.7", "instance_id": "i-1", "node_type_name": "cpu"}
    row = {"node_id": b"\x01", "resources_total": {"CPU": 4, "node:__internal_head__": 1}, "resources_available": {"CPU": 1}}
    (node,) = legacy([info], [row]).nodes
    assert node == RayNode("01", "i-1", "cpu", "10.0.0.7", RayState.RUNNING, {"CPU": 4.0}, {"CPU": 1.0}, is_head=True)


@pytest.mark.parametrize(
    ("info", "row", "state"),
    [
        ({"state": 1}, {"resources_total": {"CPU": 4}, "resources_available": {"CPU": 4}}, RayState.DEAD),
        ({}, {"resources_total": {"CPU": 4}, "resources_available": {"CPU": 4}}, RayState.IDLE),
        ({}, {"resources_total": {"CPU": 4}, "resources_available": {"CPU": 3}}, RayState.RUNNING),
        ({}, {"resources_total": {"CPU": 4}, "resources_available": {"CPU": 4}, "is_draining": True}, RayState.DRAINING),
    ],
)
def test_an_old_heads_states_are_worked_out_from_what_it_tells(info, row, state):
    assert legacy([{"node_id": b"\x01", **info}], [{"node_id": b"\x01", **row}]).nodes[0].state is state


def test_an_old_heads_dead_node_has_nothing_left():
    info = {"node_id": b"\x01", "state": 1, "resources_total": {"CPU": 4}}
    (node,) = legacy([info]).nodes
    assert (node.state, node.total, node.available) == (RayState.DEAD, {}, {})


def test_an_old_heads_node_that_has_not_reported_yet_runs_with_what_it_registered():
    (node,) = legacy_nodes([MESSAGES["GcsNodeInfo"](resources_total={"CPU": 4})], MESSAGES["ResourceUsageBatchData"]())
    assert (node.state, node.total, node.available) == (RayState.RUNNING, {"CPU": 4.0}, {})


def test_an_old_heads_demand_counts_what_is_ready_infeasible_and_in_the_backlog():
    demand = {"shape": {"CPU": 1}, "num_ready_requests_queued": 1, "num_infeasible_requests_queued": 2, "backlog_size": 4}
    inside = {"shape": {f"CPU_group_0_{GROUP}": 1}, "backlog_size": 9}
    assert legacy(demands=[demand, inside]).pending == (Demand({"CPU": 1}, 7),)


def test_an_old_heads_gang_lists_only_the_bundles_without_a_place():
    bundles = [{"unit_resources": {"CPU": 1}, "node_id": node} for node in (b"", NIL, b"\x01" * 28)]
    placed = {"placement_group_id": b"\x02", "bundles": bundles[2:]}
    gangs = legacy(groups=[{"placement_group_id": b"\x01", "strategy": 3, "bundles": bundles}, placed]).gangs
    assert gangs == (Gang("01", "STRICT_SPREAD", (Demand({"CPU": 1}, 2),)),)


def test_a_stored_request_is_a_list_of_shapes():
    assert requested_bundles(b'[{"CPU": 1}, {"CPU": 1}, {"GPU": 0.5}]') == (Demand({"CPU": 1}, 2), Demand({"GPU": 0.5}, 1))
    assert requested_bundles(b"") == requested_bundles(b"[]") == ()


@pytest.mark.parametrize("value", [b"{", b'{"CPU": 1}', b"[1]", b'[{"CPU": "many"}]', b'[{"CPU": null}]', b"\xff"])
def test_a_stored_request_that_is_no_list_of_shapes_is_refused(value):
    with pytest.raises(ValueError):
        requested_bundles(value)


def test_a_node_tells_which_placement_groups_are_on_it():
    labels = {f"_PG_{GROUP}": "", "other": "x"}
    assert view(node_states=[{"dynamic_labels": labels}]).nodes[0].groups == frozenset({GROUP})


def test_what_is_used_of_an_implicit_resource_is_kept_for_nobody_lists_the_rest():
    name = "node:__internal_implicit_resource_x"
    node = view(node_states=[{"total_resources": {"CPU": 1, name: 1}, "available_resources": {"CPU": 1, name: 0.5}}]).nodes[0]
    assert (node.total, node.available) == ({"CPU": 1.0}, {"CPU": 1.0, name: 0.5})
