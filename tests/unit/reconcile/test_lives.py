# SPDX-License-Identifier: Apache-2.0
"""At which stage of its life each machine is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rayctl.gcs.view import ClusterView, RayNode, RayState
from rayctl.providers.base import Addresses, Kind, NodeState
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.journal import Drain, Ending, Journal
from rayctl.reconcile.lives import GONE_S, MISSED_S, Life, Stage, advance, strangers
from rayctl.reconcile.requests import STATUS_TAG, UP_TO_DATE
from tests.unit.reconcile.desk import NOW, asked, expecting, life, listing, lives, machine, moment, ray

ENDED = Journal(ending={"i-1": Ending(NOW, "idle", NOW)})
DRAINED = Journal(draining={"i-1": Drain(NOW, "idle", "idle for long", accepted=True)})
WAS_UP = machine(tags={STATUS_TAG: UP_TO_DATE})


@pytest.mark.parametrize(
    ("made", "nodes", "journal", "stage"),
    [
        (machine(state=NodeState.PENDING), [], Journal(), Stage.BOOTING),
        (machine(), [], Journal(), Stage.WAITING),
        (machine(state=NodeState.UNKNOWN), [], Journal(), Stage.WAITING),
        (machine(), [ray()], Journal(), Stage.UP),
        (machine(), [ray(state=RayState.RUNNING)], Journal(), Stage.UP),
        (machine(), [ray(state=RayState.DRAINING)], Journal(), Stage.DRAINING),
        (machine(), [ray(state=RayState.DEAD)], Journal(), Stage.WAITING),
        (machine(), [ray()], DRAINED, Stage.DRAINING),
        (machine(), [], DRAINED, Stage.DRAINING),
        (machine(), [ray()], ENDED, Stage.ENDING),
        (machine(state=NodeState.STOPPING), [ray()], Journal(), Stage.ENDING),
        (WAS_UP, [], Journal(), Stage.LOST),
    ],
)
def test_at_first_sight(made: Machine, nodes: list[RayNode], journal: Journal, stage: Stage) -> None:
    assert advance({}, moment(made, nodes=nodes, journal=journal))["i-1"].stage is stage


@pytest.mark.parametrize(
    ("before", "playing", "ready", "stage"),
    [
        (life(stage=Stage.WAITING), True, False, Stage.SETTING_UP),
        (life(stage=Stage.SETTING_UP), True, False, Stage.SETTING_UP),
        (life(stage=Stage.SETTING_UP), False, True, Stage.JOINING),
        (life(stage=Stage.SETTING_UP), False, False, Stage.WAITING),
        (life(stage=Stage.JOINING, ready_at=NOW - 5), False, False, Stage.JOINING),
        (life(stage=Stage.UP), False, False, Stage.LOST),
        (life(stage=Stage.LOST, joined_at=NOW - 99), True, False, Stage.RESTARTING),
        (life(stage=Stage.RESTARTING, joined_at=NOW - 99), False, True, Stage.JOINING),
        (life(stage=Stage.RESTARTING, joined_at=NOW - 99), False, False, Stage.LOST),
    ],
)
def test_from_one_stage_to_the_next_while_ray_does_not_know_it(before: Life, playing: bool, ready: bool, stage: Stage) -> None:
    names = frozenset({"c-i-1"})
    now = moment(machine(), playing=names if playing else frozenset(), ready=names if ready else frozenset())
    assert advance(lives(before), now)["i-1"].stage is stage


def test_a_stage_is_told_with_its_beginning() -> None:
    found = advance({}, moment(machine()))
    assert found["i-1"].since == NOW
    found = advance(found, moment(machine(), now=NOW + 5))
    assert found["i-1"].since == NOW
    found = advance(found, moment(machine(), now=NOW + 9, nodes=[ray()]))
    assert (found["i-1"].since, found["i-1"].joined_at) == (NOW + 9, NOW + 9)


def test_after_another_head_a_node_that_was_set_up_for_the_old_one_is_lost() -> None:
    before = lives(life(stage=Stage.JOINING, ready_at=NOW - 1, joined_at=NOW - 90))
    assert advance(before, moment(machine(), anew=True))["i-1"].stage is Stage.LOST


def test_old_ray_keeps_no_ids_and_is_known_by_its_address() -> None:
    own = machine(addresses=Addresses("10.0.0.7"))
    assert advance({}, moment(own, nodes=[ray("", address="10.0.0.7")]))["i-1"].stage is Stage.UP


# ---- what is asked for


def test_what_was_asked_for_is_booting_under_its_token_until_it_has_an_id() -> None:
    one = asked("t-i-1", "t-i-2")
    found = advance({}, moment(journal=expecting(one)))
    assert {id: (life.stage, life.known) for id, life in found.items()} == {
        "t-i-1": (Stage.BOOTING, False), "t-i-2": (Stage.BOOTING, False),
    }  # fmt: skip
    found = advance(found, moment(journal=expecting(replace(one, ids={"t-i-1": "i-1"}))))
    assert {id: life.known for id, life in found.items()} == {"i-1": True, "t-i-2": False}


def test_a_machine_that_is_listed_is_not_counted_beside_what_was_asked_for() -> None:
    before = advance({}, moment(journal=expecting(asked("t-i-1"))))
    assert set(advance(before, moment(machine(), journal=expecting(asked("t-i-1"))))) == {"i-1"}
    assert set(advance(before, moment(machine()))) == {"i-1"}


def test_a_machine_that_an_older_listing_lacks_again_is_the_same_machine() -> None:
    waits = expecting(asked("t-i-1", ids={"t-i-1": "i-1"}))
    before = advance({}, moment(machine(), nodes=[ray()], journal=waits))
    found = advance(before, moment(nodes=[ray()], journal=waits, lag_s=30.0))
    assert [(id, life.stage, life.missing_since) for id, life in found.items()] == [("i-1", Stage.UP, NOW)]


def test_a_machine_that_ray_knows_before_it_is_listed_is_up() -> None:
    waits = expecting(asked("t-i-1", ids={"t-i-1": "i-1"}))
    assert advance({}, moment(nodes=[ray()], journal=waits))["i-1"].stage is Stage.UP


def test_a_machine_that_is_ended_before_it_was_ever_listed_counts_until_it_is_gone() -> None:
    waits = expecting(asked("t-i-1", ids={"t-i-1": "i-1"}), ending={"i-1": Ending(NOW, "max_workers", NOW)})
    assert advance({}, moment(journal=waits))["i-1"].stage is Stage.ENDING


# ---- what listings lack


def missing_for(seconds: float, *, lag_s: float = 0.0, nodes: tuple[RayNode, ...] = (), many: bool = False) -> bool:
    """Whether a machine is still believed in after it has been missing for so long."""
    first = advance(lives(life()), moment(nodes=nodes, lag_s=lag_s, many_missing=many))
    return "i-1" in advance(first, moment(now=NOW + seconds, nodes=nodes, lag_s=lag_s, many_missing=many))


def test_what_neither_the_listing_nor_ray_knows_is_gone_soon() -> None:
    assert missing_for(GONE_S)
    assert not missing_for(GONE_S + 1)


def test_the_listing_may_lag() -> None:
    assert missing_for(GONE_S + 30, lag_s=30.0)
    assert not missing_for(GONE_S + 31, lag_s=30.0)


def test_what_ray_knows_alive_and_many_at_once_are_believed_in_for_longer() -> None:
    for known in ({"nodes": (ray(),)}, {"many": True}):
        assert missing_for(MISSED_S, **known)
        assert not missing_for(MISSED_S + 1, **known)


def test_one_listing_told_again_and_again_proves_nothing() -> None:
    old = listing(at=NOW)
    first = advance(lives(life()), moment(listing=old))
    assert "i-1" in advance(first, moment(now=NOW + 500, listing=old))


def test_what_was_ended_is_gone_at_once() -> None:
    assert advance(lives(life(stage=Stage.ENDING)), moment(journal=ENDED)) == {}


@pytest.mark.parametrize("state", [NodeState.TERMINATED, NodeState.STOPPED])
def test_what_its_provider_says_is_gone_is_gone_at_once(state: NodeState) -> None:
    assert advance(lives(life()), moment(machine(state=state), nodes=[ray()])) == {}
    known = expecting(asked("t-i-1", ids={"t-i-1": "i-1"}))
    assert advance(lives(life()), moment(machine(state=state), journal=known)) == {}


def test_lacking_for_no_longer_than_the_lag_is_no_illness() -> None:
    gone = life(missing_since=NOW)
    assert not gone.missed(listing(at=NOW + 30, lag_s=30.0))
    assert gone.missed(listing(at=NOW + 31, lag_s=30.0))
    assert not life().missed(listing(at=NOW + 500))


# ---- others


def test_nodes_of_rays_that_are_no_machines_of_ours_are_strangers() -> None:
    nodes = (ray("i-1"), ray("i-2"), ray("", node_id="laptop"), ray("i-3", RayState.DEAD))
    known = advance({}, moment(machine("i-1"), nodes=nodes))
    assert [node.instance_id for node in strangers(known, ClusterView("s", nodes))] == ["i-2", ""]


def test_the_head_is_no_worker() -> None:
    assert not life(machine=machine(kind=Kind.HEAD)).worker
