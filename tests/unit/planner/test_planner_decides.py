# SPDX-License-Identifier: Apache-2.0
"""What the planner decides, as a specification: a cluster, what is asked of it, and what is done."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rayctl.gcs.view import Gang
from rayctl.planner.model import Cause, How, Node, NodeType, Setback, Status, Utilization
from tests.unit.planner.tables import (
    BIG,
    GIB,
    GPU,
    HEAD,
    SMALL,
    busy,
    decide,
    draining,
    gang,
    going,
    idle,
    labelled,
    launched,
    pending,
    policy,
    want,
)

BOTH = policy(SMALL, BIG)


# ---- how many there must be and may be
def test_nothing_asked_nothing_done() -> None:
    assert not decide(BOTH, busy("a", SMALL), idle("b", BIG))


def test_all_of_min_workers_at_once_whatever_upscaling_speed_says() -> None:
    found = decide(policy(replace(SMALL, min_workers=10, max_workers=200), max_workers=200, upscaling_speed=0.0))
    assert launched(found) == {"small": 10}
    assert found.launches[0].causes == {Cause.MINIMUM: 10}
    assert found.launches[0].reason == "min_workers is 10"


def test_a_minimum_counts_what_is_coming_and_not_what_is_leaving() -> None:
    wanted = policy(replace(SMALL, min_workers=3))
    assert launched(decide(wanted, busy("a", SMALL), pending("b", SMALL), draining("c", SMALL))) == {"small": 1}


def test_what_is_leaving_still_counts_against_the_maximum() -> None:
    full = policy(replace(SMALL, min_workers=2, max_workers=2))
    assert launched(decide(full, busy("a", SMALL), draining("b", SMALL))) == {}


def test_max_workers_of_the_cluster_limits_all_types_together() -> None:
    found = decide(policy(SMALL, BIG, max_workers=2), pending=(want(100, CPU=1),))
    assert launched(found) == {"big": 2}
    assert (found.pending[0].launched, found.pending[0].waiting) == (32, 68)
    assert found.pending[0].why == "max_workers (2) is reached"


def test_max_workers_of_a_type_sends_the_rest_to_the_next_one() -> None:
    found = decide(policy(replace(BIG, max_workers=1), SMALL), pending=(want(24, CPU=1),))
    assert launched(found) == {"big": 1, "small": 2}


def test_where_few_machines_are_allowed_bigger_ones_are_taken_though_dearer() -> None:
    dear = NodeType("dear", {"CPU": 64.0}, 10, price=9.0)
    assert launched(decide(policy(SMALL, dear, max_workers=1), pending=(want(40, CPU=1),))) == {"dear": 1}


# ---- upscaling_speed
@pytest.mark.parametrize(
    ("running", "coming", "speed", "launches"),
    [
        (0, 0, 1.0, 5),  # five may always be pending
        (0, 3, 1.0, 2),
        (20, 0, 1.0, 20),  # Ray's documentation: with 20 nodes at most 20 launches are pending
        (20, 15, 1.0, 5),
        (20, 0, 0.5, 10),
        (20, 0, 0.0, 5),
    ],
)
def test_upscaling_speed_holds_back_what_is_launched_for_queued_work(
    running: int, coming: int, speed: float, launches: int
) -> None:
    wide = policy(replace(SMALL, max_workers=1000), max_workers=1000, upscaling_speed=speed)
    nodes = [busy(f"r{n}", SMALL) for n in range(running)] + [pending(f"p{n}", SMALL) for n in range(coming)]
    found = decide(wide, *nodes, pending=(want(400, CPU=4),))
    assert launched(found) == {"small": launches}
    assert found.pending[0].held_back == 400 - coming - launches
    assert found.waits == (
        f"{400 - coming - launches} more small wait for those that are pending: upscaling_speed is {speed:g}",
    )


def test_upscaling_speed_holds_back_no_gang_and_no_request() -> None:
    wide = policy(replace(SMALL, max_workers=100), max_workers=100, upscaling_speed=0.0)
    assert launched(decide(wide, gangs=(gang("STRICT_SPREAD", 30, CPU=1),))) == {"small": 30}
    assert launched(decide(wide, requested=(want(120, CPU=1),))) == {"small": 30}


# ---- queued work
def test_work_that_fits_on_nodes_launches_nothing() -> None:
    found = decide(BOTH, busy("a", SMALL, free=2), idle("b", SMALL), pending=(want(6, CPU=1),))
    assert not found
    assert found.pending[0].here == 6


def test_work_that_fits_on_machines_that_are_coming_launches_nothing() -> None:
    found = decide(BOTH, pending("a", BIG), pending=(want(16, CPU=1),))
    assert not found
    assert found.pending[0].coming == 16


def test_draining_nodes_take_no_work() -> None:
    assert launched(decide(BOTH, draining("a", BIG), pending=(want(4, CPU=1),))) == {"small": 1}


def test_nodes_that_are_not_ours_take_work() -> None:
    assert not decide(BOTH, replace(busy("a", BIG, free=8), ours=False), pending=(want(8, CPU=1),))


def test_work_without_resources_needs_any_node_and_a_node_is_there() -> None:
    assert not decide(BOTH, pending=(want(3),))


def test_implicit_resources_are_on_every_node() -> None:
    found = decide(BOTH, busy("a", SMALL, free=4), pending=(want(2, CPU=1, **{"node:__internal_implicit_resource_x": 1}),))
    assert found.pending[0].here == 1
    assert launched(found) == {"small": 1}


def test_work_for_one_particular_node_launches_nothing_and_waits_for_it() -> None:
    found = decide(BOTH, pending=(want(1, CPU=1, **{"node:10.0.0.7": 0.01}),))
    assert not found
    assert (found.pending[0].waiting, found.pending[0].never) == (1, 0)
    assert found.pending[0].why == "it asks for one particular node, which no new machine can be"


def test_what_no_type_can_hold_is_never_placed_and_says_why() -> None:
    found = decide(BOTH, pending=(want(2, CPU=10000),))
    assert not found
    assert found.pending[0].never == 2
    assert found.pending[0].why == "no node type can hold it: big has 16 CPU, small has 4 CPU"


def test_what_only_a_node_that_is_there_could_hold_waits() -> None:
    giant = NodeType("giant", {"CPU": 64.0}, 0)
    foreign = replace(busy("x", giant), ours=False, type="elsewhere")
    found = decide(BOTH, foreign, pending=(want(1, CPU=40),))
    assert found.pending[0].waiting == 1
    assert found.pending[0].why == "the nodes that could hold it are busy, and no node type could"


# ---- which type
def test_the_type_that_costs_least_for_the_work_is_taken() -> None:
    assert launched(decide(BOTH, pending=(want(16, CPU=1),))) == {"big": 1}
    assert launched(decide(BOTH, pending=(want(4, CPU=1),))) == {"small": 1}


def test_a_machine_more_costs_something_so_one_big_is_preferred_to_many_small_at_the_same_price() -> None:
    even = policy(SMALL, replace(BIG, price=0.8))
    assert launched(decide(even, pending=(want(16, CPU=1),))) == {"big": 1}


def test_the_overhead_of_a_machine_can_be_set() -> None:
    bigger = NodeType("bigger", {"CPU": 16.0}, 10, price=1.0)
    assert launched(decide(policy(SMALL, bigger), pending=(want(16, CPU=1),))) == {"small": 4}
    assert launched(decide(policy(SMALL, bigger, machine_overhead=0.1), pending=(want(16, CPU=1),))) == {"bigger": 1}


def test_without_prices_resources_are_the_price() -> None:
    plain = policy(replace(GPU, price=None), replace(BIG, price=None))
    assert launched(decide(plain, pending=(want(8, CPU=1),))) == {"big": 1}


def test_a_type_of_higher_priority_goes_before_a_cheaper_one() -> None:
    assert launched(decide(policy(replace(SMALL, priority=1), BIG), pending=(want(16, CPU=1),))) == {"small": 4}


def test_work_without_accelerators_is_kept_off_machines_that_have_them() -> None:
    cheap = policy(replace(GPU, price=0.01), SMALL)
    assert launched(decide(cheap, pending=(want(8, CPU=1),))) == {"small": 2}


def test_unless_nothing_else_will_do() -> None:
    assert launched(decide(policy(GPU, SMALL), pending=(want(1, CPU=8),))) == {"gpu": 1}
    assert launched(decide(policy(GPU, replace(SMALL, max_workers=0)), pending=(want(4, CPU=1),))) == {"gpu": 1}


def test_it_uses_what_machines_with_accelerators_have_left() -> None:
    found = decide(policy(GPU, SMALL), pending=(want(2, CPU=1, GPU=1), want(14, CPU=1)))
    assert launched(found) == {"gpu": 2}


def test_idle_machines_with_accelerators_are_used_before_anything_is_launched() -> None:
    assert not decide(policy(GPU, SMALL), idle("g", GPU), pending=(want(8, CPU=1),))


# ---- types that failed
FULL = Setback("no capacity")


def test_a_type_that_failed_comes_last() -> None:
    found = decide(policy(replace(BIG, price=0.1), SMALL), pending=(want(16, CPU=1),), setbacks={"big": FULL})
    assert launched(found) == {"small": 4}


def test_it_is_taken_when_nothing_else_will_do() -> None:
    assert launched(decide(BOTH, pending=(want(1, CPU=16),), setbacks={"big": FULL})) == {"big": 1}


def test_it_is_not_tried_before_its_time() -> None:
    found = decide(BOTH, pending=(want(1, CPU=16),), setbacks={"big": Setback("no capacity", 40.0)})
    assert not found
    assert found.pending[0].why == "big could not be launched (no capacity), next try in 40 s"
    assert found.waits == ("big waits 40 s after a failed launch: no capacity",)


# ---- labels
SPOT = NodeType("spot", {"CPU": 4.0}, 10, labels={"market": "spot"}, price=0.05)
RESERVED = NodeType("reserved", {"CPU": 4.0}, 10, labels={"market": "reserved"}, price=0.2)
MARKETS = policy(SPOT, RESERVED)


def test_labels_decide_the_type() -> None:
    assert launched(decide(MARKETS, pending=(want(4, labelled(market="reserved"), CPU=1),))) == {"reserved": 1}


def test_labels_decide_the_node() -> None:
    found = decide(MARKETS, idle("a", SPOT), idle("b", RESERVED), pending=(want(5, labelled(market="reserved"), CPU=1),))
    assert (found.pending[0].here, launched(found)) == (4, {"reserved": 1})


def test_a_fall_back_is_taken_when_the_first_choice_cannot_be() -> None:
    wanted = want(1, labelled(market="reserved"), labelled(market="spot"), CPU=4)
    assert launched(decide(MARKETS, pending=(wanted,))) == {"reserved": 1}
    assert launched(decide(policy(SPOT), pending=(wanted,))) == {"spot": 1}
    assert launched(decide(policy(SPOT, replace(RESERVED, max_workers=0)), pending=(wanted,))) == {"spot": 1}


def test_nodes_that_are_there_serve_fall_backs_before_anything_is_launched() -> None:
    assert not decide(MARKETS, idle("a", SPOT), pending=(want(4, labelled(market="reserved"), labelled(market="spot"), CPU=1),))


def test_rays_own_label_names_the_node_type() -> None:
    found = decide(BOTH, pending=(want(1, labelled(**{"ray.io/node-group": "big"}), CPU=1),))
    assert launched(found) == {"big": 1}


def test_labels_that_no_type_has_can_never_be() -> None:
    found = decide(MARKETS, pending=(want(1, labelled(market="moon"), CPU=1),))
    assert found.pending[0].never == 1
    assert found.pending[0].why == "no node type can hold it: reserved has other labels, spot has other labels"


# ---- placement groups
def test_a_gang_gets_all_of_its_places_or_none() -> None:
    tight = policy(replace(SMALL, max_workers=1), max_workers=1)
    found = decide(tight, gangs=(gang("PACK", 2, CPU=4),))
    assert not found
    assert found.places == (None,)


def test_strict_pack_wants_one_node_for_all() -> None:
    assert launched(decide(BOTH, gangs=(gang("STRICT_PACK", 4, CPU=2),))) == {"big": 1}
    found = decide(policy(SMALL), gangs=(gang("STRICT_PACK", 4, CPU=2),))
    assert found.gangs[0].why == "no node type can hold it: small has 4 CPU"


def test_strict_spread_wants_a_node_for_each() -> None:
    found = decide(BOTH, busy("a", BIG, free=16), gangs=(gang("STRICT_SPREAD", 3, CPU=1),))
    assert launched(found) == {"small": 2}
    assert set(found.places[0] or ()) == {"a", "new:small:0", "new:small:1"}


def test_strict_spread_keeps_off_the_nodes_its_group_is_on() -> None:
    held = replace(busy("a", SMALL, free=4), groups=frozenset({"g"}))
    assert launched(decide(BOTH, held, gangs=(gang("STRICT_SPREAD", 1, CPU=1),))) == {"small": 1}
    assert not decide(BOTH, held, gangs=(gang("STRICT_SPREAD", 1, "other", CPU=1),))


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD"])
def test_a_preference_launches_nothing(strategy: str) -> None:
    apart = (busy("a", SMALL, free=2), busy("b", SMALL, free=2))
    assert not decide(BOTH, *apart, gangs=(gang(strategy, 2, CPU=2),))
    assert not decide(BOTH, busy("a", SMALL, free=4), gangs=(gang(strategy, 2, CPU=2),))


def test_spread_uses_several_nodes_where_there_are_some() -> None:
    found = decide(BOTH, busy("a", SMALL, free=4), busy("b", SMALL, free=4), gangs=(gang("SPREAD", 2, CPU=2),))
    assert found.places is not None
    assert set(found.places[0] or ()) == {"a", "b"}


def test_pack_uses_as_few_nodes_as_it_goes() -> None:
    nodes = (busy("a", SMALL, free=1), busy("b", SMALL, free=1), busy("c", BIG, free=4))
    assert decide(BOTH, *nodes, gangs=(gang("PACK", 4, CPU=1),)).places == (("c",) * 4,)


def test_gangs_come_before_queued_work() -> None:
    tight = policy(replace(SMALL, max_workers=1), max_workers=1)
    found = decide(tight, pending=(want(4, CPU=1),), gangs=(gang("PACK", 2, CPU=2),))
    assert (found.gangs[0].launched, found.pending[0].waiting) == (1, 4)


def test_many_gangs_that_can_never_be_launch_nothing_and_have_one_reason() -> None:
    """Forty groups of five over four workers: Ray launches for them and waits for ever."""
    groups = tuple(gang("STRICT_SPREAD", 5, f"g{n}", CPU=1) for n in range(40))
    found = decide(policy(SMALL, max_workers=4), gangs=groups, head=replace(HEAD, total={"CPU": 0.0}))
    assert not found
    assert {(answer.never, answer.why) for answer in found.gangs} == {
        (1, "it needs 5 nodes, and with max_workers 4 there are never so many that could hold a bundle")
    }


def test_a_gang_that_only_fits_beside_nothing_else_waits() -> None:
    found = decide(policy(SMALL, max_workers=4), gangs=(gang("STRICT_SPREAD", 5, CPU=1),))
    assert not found
    assert (found.gangs[0].waiting, found.gangs[0].why) == (1, "it needs more machines than max_workers allows")


# ---- request_resources
def test_a_request_is_about_what_the_cluster_has_used_or_not() -> None:
    assert not decide(BOTH, busy("a", BIG), requested=(want(16, CPU=1),))
    assert launched(decide(BOTH, busy("a", BIG), requested=(want(20, CPU=1),))) == {"small": 1}


def test_the_head_counts_too() -> None:
    assert launched(decide(BOTH, requested=(want(2, CPU=1),))) == {}


def test_as_much_of_a_request_as_can_be_is_served() -> None:
    found = decide(policy(SMALL, max_workers=2), requested=(want(100, CPU=1),))
    assert launched(found) == {"small": 2}
    assert found.requested[0].waiting == 90


def test_nodes_that_a_request_needs_stay_though_idle() -> None:
    long_idle = (idle("a", SMALL, 1000), idle("b", SMALL, 2000))
    assert going(decide(BOTH, *long_idle, requested=(want(6, CPU=1),))) == {"b": "idle"}


def test_busy_nodes_serve_a_request_before_idle_ones_are_kept_for_it() -> None:
    assert going(decide(BOTH, busy("a", SMALL), idle("b", SMALL, 1000), requested=(want(4, CPU=1),))) == {"b": "idle"}


# ---- nodes that go
def test_idle_nodes_go_after_the_time_out_the_longest_idle_first() -> None:
    found = decide(policy(replace(SMALL, min_workers=1)), idle("a", SMALL, 400), idle("b", SMALL, 500), idle("c", SMALL, 200))
    assert going(found) == {"a": "idle", "b": "idle"}
    assert found.removals[0].how is How.DRAIN_IDLE
    assert found.removals[0].reason == "idle for 400 s, small may be for 300 s"


def test_each_type_may_have_its_own_time_out() -> None:
    patient = policy(replace(SMALL, idle_timeout_s=1000.0), BIG)
    assert going(decide(patient, idle("a", SMALL, 400), idle("b", BIG, 400))) == {"b": "idle"}


def test_no_time_out_no_removal() -> None:
    assert not decide(policy(SMALL, idle_timeout_s=None), idle("a", SMALL, 1e9))


def test_idle_nodes_that_queued_work_needs_stay() -> None:
    assert not decide(BOTH, idle("a", SMALL, 1000), pending=(want(1, CPU=1),))


def test_a_minimum_keeps_idle_nodes() -> None:
    assert not decide(policy(replace(SMALL, min_workers=1)), idle("a", SMALL, 1000))


def test_nodes_of_removed_types_go_whatever_they_do() -> None:
    found = decide(policy(BIG), busy("a", SMALL), idle("b", SMALL), pending("c", SMALL))
    assert {removal.node: removal.how for removal in found.removals} == {
        "a": How.DRAIN,
        "b": How.DRAIN_IDLE,
        "c": How.TERMINATE,
    }


def test_of_too_many_nodes_those_go_that_are_missed_least() -> None:
    nodes = (busy("a", SMALL), idle("b", SMALL, 10), idle("c", SMALL, 20), pending("d", SMALL))
    assert going(decide(policy(replace(SMALL, max_workers=2)), *nodes)) == dict.fromkeys("cd", "max_workers of its type")
    assert going(decide(policy(SMALL, max_workers=3), *nodes)) == {"d": "max_workers"}


def test_no_busy_node_goes_to_save_machines() -> None:
    nodes = [busy(f"n{n}", BIG, free=15) for n in range(6)]
    assert not decide(policy(SMALL, BIG), *nodes)


def test_the_head_and_foreign_nodes_never_go() -> None:
    head = replace(HEAD, outdated="image: a -> b")
    foreign = replace(idle("x", SMALL, 1e6), ours=False)
    assert not decide(policy(SMALL, max_workers=0), foreign, head=head)


# ---- outdated nodes
OLD = "image: a -> b"


def test_outdated_nodes_go_a_few_at_a_time_idle_ones_first() -> None:
    nodes = [busy(f"n{n}", SMALL, outdated=OLD) for n in range(9)] + [idle("i", SMALL, outdated=OLD)]
    found = decide(policy(SMALL), *nodes)
    assert going(found) == {"i": "outdated"}
    assert found.waits == ("9 outdated nodes wait for their turn: 1 may be on its way at once",)


def test_busy_ones_finish_their_work_first() -> None:
    found = decide(policy(SMALL), busy("a", SMALL, outdated=OLD))
    assert found.removals[0].how is How.DRAIN


def test_none_goes_while_one_is_on_its_way() -> None:
    assert not decide(policy(SMALL), busy("a", SMALL, outdated=OLD), draining("b", SMALL))
    assert not decide(policy(SMALL), busy("a", SMALL, outdated=OLD), pending("b", SMALL))


def test_a_minimum_is_kept_by_launching_the_replacement_first() -> None:
    needed = policy(replace(SMALL, min_workers=1))
    found = decide(needed, busy("a", SMALL, outdated=OLD))
    assert launched(found) == {"small": 1}
    assert found.launches[0].causes == {Cause.REPLACEMENT: 1}
    assert not found.removals
    assert going(decide(needed, busy("a", SMALL, outdated=OLD), idle("b", SMALL))) == {"a": "outdated"}


def test_where_there_is_no_room_for_a_replacement_the_old_one_goes_first() -> None:
    full = policy(replace(SMALL, min_workers=1, max_workers=1))
    assert going(decide(full, busy("a", SMALL, outdated=OLD))) == {"a": "outdated"}


# ---- types of which the file does not say what they have
AUTO = NodeType("auto", {}, 5, price=1.0)


def test_what_a_type_has_is_learnt_from_its_nodes() -> None:
    node = busy("a", replace(AUTO, resources={"CPU": 8.0}))
    assert launched(decide(policy(AUTO), node, pending=(want(16, CPU=1),))) == {"auto": 2}


def test_one_is_launched_to_learn_it_and_no_more() -> None:
    asked = {"pending": (want(100, CPU=1),)}
    assert launched(decide(policy(AUTO), **asked)) == {"auto": 1}
    found = decide(policy(AUTO), pending("a", AUTO), **asked)
    assert not found
    assert found.pending[0].why == "what auto has is learnt from the first one"


# ---- the rule of Ray's first autoscaler
def test_ten_busy_nodes_at_four_fifths_are_thirteen() -> None:
    """Ray's example: the head and nine workers busy, 0.8 -> 13 nodes."""
    nodes = [busy(f"n{n}", SMALL) for n in range(9)]
    found = decide(policy(replace(SMALL, max_workers=50), max_workers=50, utilization=Utilization(0.8)), *nodes)
    assert launched(found) == {"small": 3}
    assert found.launches[0].reason == "target_utilization_fraction is 0.8"


def test_aggressive_goes_to_initial_workers_as_soon_as_anything_is_in_use() -> None:
    rule = Utilization(1.0, initial_workers=4, aggressive=True)
    assert launched(decide(policy(SMALL, utilization=rule))) == {"small": 4}
    still = replace(HEAD, available=HEAD.total)
    assert not decide(policy(SMALL, utilization=rule), head=still)


def test_above_the_target_idle_nodes_go_and_no_further() -> None:
    rule = policy(SMALL, utilization=Utilization(0.5))  # the head in use: two nodes, one worker
    assert going(decide(rule, idle("a", SMALL, 400), idle("b", SMALL, 500))) == {"b": "idle"}


def test_the_workers_it_adds_are_of_the_types_that_are_busy() -> None:
    rule = policy(SMALL, GPU, utilization=Utilization(0.5))
    assert launched(decide(rule, busy("a", GPU), busy("b", GPU))) == {"gpu": 2, "small": 1}


# ---- amounts
def test_a_third_of_a_gpu_fits_three_times() -> None:
    found = decide(policy(GPU), pending=(want(6, GPU=0.3333),))
    assert launched(found) == {"gpu": 2}


def test_half_a_gpu_and_more_fits_once() -> None:
    assert launched(decide(policy(GPU), pending=(want(3, GPU=0.5001),))) == {"gpu": 3}


def test_a_grain_less_than_a_report_should_say_changes_nothing() -> None:
    assert not decide(BOTH, busy("a", SMALL, free=2 - 1e-4), pending=(want(1, CPU=2),))


def test_memory_is_counted_too() -> None:
    lean = NodeType("lean", {"CPU": 64.0, "memory": 8.0 * GIB}, 10, price=1.0)
    assert launched(decide(policy(lean), pending=(want(4, CPU=1, memory=4 * GIB),))) == {"lean": 2}


# ---- odd input
LABELLED = NodeType("both", {"CPU": 16.0}, 10, labels={"market": "spot", "zone": "a"}, price=0.7)


def test_one_node_for_bundles_with_different_selectors_needs_the_labels_of_all() -> None:
    bundles = (want(1, labelled(market="spot"), CPU=1), want(1, labelled(zone="a"), CPU=1))
    strict = Gang("g", "STRICT_PACK", bundles)
    assert launched(decide(policy(SPOT, LABELLED), gangs=(strict,))) == {"both": 1}
    assert decide(policy(SPOT), gangs=(strict,)).gangs[0].never == 1


def test_a_cluster_without_workers_decides_too() -> None:
    found = decide(policy(max_workers=0), pending=(want(1, CPU=1),), gangs=(gang("PACK", 2, CPU=1),))
    assert not found
    assert found.pending[0].why == "the nodes that could hold it are busy, and no node type could"
    found = decide(policy(max_workers=5), pending=(want(1, CPU=1e6),))
    assert found.pending[0].why == "there is no node type that may have workers"


def test_machines_that_cost_nothing_are_counted_all_the_same() -> None:
    free = replace(BIG, price=0.0)
    assert launched(decide(policy(free, machine_overhead=0.0), pending=(want(20, CPU=1),))) == {"big": 2}
    assert launched(decide(policy(free, replace(SMALL, price=None)), pending=(want(4, CPU=1),))) == {"big": 1}


@pytest.mark.parametrize("amount", [0.0, 1e-5])
def test_amounts_below_rays_grain_are_nothing(amount: float) -> None:
    assert not decide(BOTH, pending=(want(1, CPU=amount),))


def test_any_speed_is_a_speed() -> None:
    assert launched(decide(policy(SMALL, upscaling_speed=float("inf")), pending=(want(40, CPU=1),))) == {"small": 10}


def test_a_gang_without_bundles_needs_nothing() -> None:
    found = decide(policy(SMALL), gangs=(Gang("g", "STRICT_PACK", ()), Gang("h", "PACK", (want(0, CPU=1),))))
    assert not found
    assert [answer.here for answer in found.gangs] == [1, 1]


# ---- found by attack: each of these went wrong once
def test_plain_demand_never_takes_the_machine_that_a_gang_needs() -> None:
    t0 = NodeType("t0", {"CPU": 2.0, "memory": 4.0}, 2, labels={"zone": "a"}, price=0.5)
    t1 = NodeType("t1", {"CPU": 4.0}, 2, price=0.5)
    own = {"CPU": 16.0, "GPU": 1.0}
    node = Node("x", "foreign", Status.RUNNING, own, own | {"GPU": 0.5}, labels={"zone": "a"}, ours=False)
    gangs = (
        Gang("g0", "SPREAD", (want(1, CPU=1), want(1, CPU=4))),
        Gang("g1", "SPREAD", (want(2, labelled(zone="a"), CPU=1, memory=1),)),
    )
    for more in ((), (want(20, CPU=1),)):
        found = decide(policy(t0, t1, max_workers=3, upscaling_speed=1e9), node, gangs=gangs, pending=more)
        assert [answer.unplaced for answer in found.gangs] == [0, 0]


def test_a_gang_gets_the_bigger_machine_where_only_one_is_allowed() -> None:
    a, b = NodeType("a", {"CPU": 2.0, "memory": 32.0}, 3, price=0.1), NodeType("b", {"CPU": 8.0, "memory": 32.0}, 2, price=1.0)
    assert launched(decide(policy(a, b, max_workers=1), gangs=(gang("PACK", 2, CPU=2, memory=3),))) == {"b": 1}


def test_bundles_that_one_type_only_can_hold_get_it() -> None:
    a = NodeType("a", {"CPU": 2.0, "memory": 32.0}, 2, labels={"zone": "a"}, price=0.2)
    b = NodeType("b", {"CPU": 8.0, "memory": 32.0}, 1, labels={"zone": "a"}, price=0.1)
    bundles = (want(1, labelled(zone="a"), CPU=2), want(1, CPU=5, memory=3))
    assert launched(decide(policy(a, b, max_workers=3), gangs=(Gang("g", "STRICT_SPREAD", bundles),))) == {"a": 1, "b": 1}


def test_never_is_not_said_of_a_gang_that_fits_a_node_that_is_there() -> None:
    wide = Node("w", "small", Status.RUNNING, {"CPU": 8.0}, {"CPU": 0.0})
    found = decide(policy(SMALL), wide, gangs=(gang("PACK", 1, CPU=6),), pending=(want(1, CPU=6),))
    assert (found.gangs[0].waiting, found.pending[0].waiting) == (1, 1)
    pinned = Gang("g", "PACK", (want(1, CPU=1), want(1, **{"node:10.0.0.7": 0.01})))
    assert decide(BOTH, gangs=(pinned,)).gangs[0].waiting == 1


@pytest.mark.parametrize("asked", [{"gangs": (gang("PACK", 2, CPU=2),)}, {"requested": (want(2, CPU=2),)}])
def test_gangs_and_requests_too_are_served_by_types_that_are_learnt(asked: dict[str, Any]) -> None:
    assert launched(decide(policy(AUTO), **asked)) == {"auto": 1}
    found = decide(policy(AUTO), pending("a", AUTO), **asked)
    assert not found
    assert [answer.never for answer in (*found.gangs, *found.requested)] == [0]


def test_nothing_is_launched_to_learn_for_work_that_its_labels_or_its_node_keep_away() -> None:
    reserved = replace(AUTO, labels={"market": "reserved"})
    assert not decide(policy(reserved), pending=(want(1, labelled(market="spot"), CPU=1),))
    assert not decide(policy(AUTO), pending=(want(1, **{"node:10.0.0.7": 0.01}),))


def test_a_known_type_at_its_maximum_does_not_keep_others_from_being_learnt() -> None:
    full = replace(SMALL, max_workers=1)
    assert launched(decide(policy(full, AUTO), busy("a", full), pending=(want(2, CPU=2),))) == {"auto": 1}


@pytest.mark.parametrize("left", [0.3332, 0.3333, 0.3334])
def test_odd_amounts_a_grain_off_change_nothing_either(left: float) -> None:
    one = NodeType("one", {"GPU": 1.0}, 5)
    assert not decide(
        policy(one), Node("a", "one", Status.RUNNING, {"GPU": 1.0}, {"GPU": left}), pending=(want(1, GPU=0.3333),)
    )


def test_idle_nodes_that_a_waiting_gang_needs_stay() -> None:
    nodes = (idle("a", SMALL, 1000), idle("b", SMALL, 1000))
    assert not decide(policy(SMALL), *nodes, gangs=(gang("STRICT_SPREAD", 3, CPU=4),), setbacks={"small": Setback("x", 40)})


def test_the_old_rule_leaves_types_that_failed_for_last() -> None:
    rule = policy(SMALL, BIG, utilization=Utilization(0.5))
    assert launched(decide(rule, busy("a", SMALL), setbacks={"small": FULL})) == {"big": 2}


def test_the_old_rule_wants_no_workers_for_nodes_that_are_not_ours() -> None:
    foreign = [replace(busy(f"x{n}", SMALL), ours=False) for n in range(4)]
    assert not decide(policy(SMALL, utilization=Utilization(1.0)), *foreign)


def test_the_old_rule_wants_none_for_what_can_never_be() -> None:
    still = replace(HEAD, available=HEAD.total)
    assert not decide(policy(SMALL, utilization=Utilization(0.5)), head=still, pending=(want(1, CPU=1000),))
