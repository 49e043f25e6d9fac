# SPDX-License-Identifier: Apache-2.0
"""A node is drained before its machine is ended, both are written down before, and Ray's refusal is respected."""

from __future__ import annotations

import pytest

from rayctl.gcs.autoscaler import DrainReason
from rayctl.gcs.view import RayNode, RayState
from rayctl.planner.model import How, Removal, Why
from rayctl.providers.base import Kind, NodeState
from rayctl.reconcile.books import Books
from rayctl.reconcile.ending import AGAIN_S, FORGET_S, HEEDED_S, Ender
from rayctl.reconcile.journal import Drain, Ending, Journal
from rayctl.reconcile.lives import Life, Stage
from rayctl.reconcile.seam import Listing
from tests.unit.reconcile.desk import NOW, Desk, asked, expecting, life, listing, lives, machine, ray

DRAINED = Drain(NOW, "idle", "idle for long", accepted=True)
ENDED = Ending(NOW, "idle", NOW)
BOOTING = life("i-2", Stage.BOOTING, machine=machine("i-2", state=NodeState.PENDING))
ASKED_FOR = life("t-1", Stage.BOOTING, machine=machine("t-1", launch_token="t-1", state=NodeState.PENDING))


def desk(journal: Journal | None = None) -> tuple[Ender, Desk, Books]:
    outside = Desk(journal)
    books = Books(outside)
    return Ender(outside, books), outside, books


def removal(id: str = "i-1", how: How = How.DRAIN_IDLE, why: Why = Why.IDLE) -> Removal:
    return Removal(id, "small", why, how, "idle for 70 s")


# ---- draining


@pytest.mark.parametrize(("how", "reason"), [(How.DRAIN_IDLE, DrainReason.IDLE), (How.DRAIN, DrainReason.PREEMPTION)])
def test_a_drain_is_written_down_before_ray_is_asked(how: How, reason: DrainReason) -> None:
    ender, outside, books = desk()
    ender.remove([removal(how=how)], lives(life()), NOW)
    assert outside.order("remember", "drain", "terminate") == ["remember", "drain"]
    assert outside.args("drain") == [("ray of i-1", reason, "idle: idle for 70 s")]
    assert not outside.stored[0].draining["i-1"].accepted
    assert books.journal.draining["i-1"].accepted
    assert outside.args("tell_drivers") == [["Removing 1 nodes of type small (idle)."]]


def test_what_ray_refuses_to_drain_stays() -> None:
    ender, outside, books = desk()
    outside.refusal = "no longer idle"
    ender.remove([removal()], lives(life()), NOW)
    assert not books.journal.draining
    assert outside.order("tell_drivers") == []
    assert "stays, Ray refuses to drain it: no longer idle" in outside.texts()


def test_where_nobody_knows_whether_ray_heard_it_the_mark_stays_until_ray_tells() -> None:
    ender, outside, books = desk()
    outside.silent = True
    ender.remove([removal()], lives(life()), NOW)
    assert not books.journal.draining["i-1"].accepted


def settle(ender: Ender, *known: Life, now: float = NOW, seen: Listing | None = None, living: tuple[RayNode, ...] = ()) -> None:
    ender.settle(lives(*known), seen or listing(*[one.machine for one in known], at=now), living, now)


@pytest.mark.parametrize(
    ("accepted", "node", "after_s", "stays"),
    [
        (True, None, 999, True),
        (True, RayState.DRAINING, 999, True),
        (True, RayState.RUNNING, HEEDED_S, True),
        (True, RayState.RUNNING, HEEDED_S + 1, False),
        (False, RayState.RUNNING, 0, False),
        (False, RayState.DRAINING, 0, True),
        (False, None, 0, True),
    ],
)
def test_a_drain_stands_unless_ray_goes_on_as_if_nobody_had_asked(
    accepted: bool, node: RayState | None, after_s: float, stays: bool
) -> None:  # fmt: skip
    ender, _, books = desk(Journal(ray="r", draining={"i-1": Drain(NOW, "idle", "x", accepted)}))
    settle(ender, life(stage=Stage.DRAINING, ray=ray(state=node) if node else None), now=NOW + after_s)
    assert bool(books.journal.draining) is stays


def test_a_drain_of_what_is_gone_is_forgotten() -> None:
    ender, _, books = desk(Journal(ray="r", draining={"i-1": DRAINED}))
    settle(ender)
    assert not books.journal.draining


def test_a_node_that_somebody_else_drains_is_ended_when_it_is_empty() -> None:
    """It may be us, killed before we knew that Ray had agreed."""
    ender, outside, books = desk()
    settle(ender, life(stage=Stage.DRAINING, ray=ray(state=RayState.DRAINING)))
    assert books.journal.draining["i-1"].accepted
    ender.finish(lives(life(stage=Stage.DRAINING, ray=None)), NOW)
    assert [one.id for one in outside.args("terminate")[0]] == ["i-1"]


def test_a_drained_node_is_ended_when_its_ray_is_gone_and_not_before() -> None:
    ender, outside, books = desk(Journal(ray="r", draining={"i-1": DRAINED}))
    ender.finish(lives(life(stage=Stage.DRAINING, ray=ray(state=RayState.DRAINING))), NOW)
    assert outside.calls == []
    ender.finish(lives(life(stage=Stage.DRAINING, ray=None)), NOW)
    assert outside.order("remember", "terminate") == ["remember", "terminate"]
    assert outside.stored[0].ending["i-1"].why == "idle"
    assert not books.journal.draining


# ---- ending


def test_what_never_joined_is_ended_without_a_drain() -> None:
    ender, outside, _ = desk()
    ender.remove([removal("i-2", How.TERMINATE, Why.MAXIMUM)], lives(BOOTING), NOW)
    assert outside.order("remember", "drain", "terminate") == ["remember", "terminate"]
    assert [(kind, data["text"]) for kind, _, data in outside.said] == [("node_terminated", "max_workers")]


def test_what_was_asked_for_and_is_not_known_cannot_be_ended() -> None:
    ender, outside, books = desk(expecting(asked("t-1"), ray="r"))
    ender.remove([removal("t-1", How.TERMINATE)], lives(ASKED_FOR), NOW)
    assert outside.calls == []
    assert set(books.journal.asked) == {"t-1"}


def test_the_head_is_neither_drained_nor_ended_whoever_wants_it() -> None:
    ender, outside, _ = desk(Journal(ray="r", draining={"i-1": DRAINED}))
    head = lives(life(machine=machine(kind=Kind.HEAD)))
    ender.remove([removal(), removal(how=How.TERMINATE)], head, NOW)
    ender.end([(head["i-1"], "idle")], NOW)
    settle(ender, life(stage=Stage.DRAINING, machine=machine(kind=Kind.HEAD), ray=ray(state=RayState.DRAINING)))
    ender.finish(lives(life(machine=machine(kind=Kind.HEAD), ray=None)), NOW)
    assert outside.calls == []


def test_what_is_ended_already_is_not_ended_again_until_it_is_still_there_long_after() -> None:
    ender, outside, _ = desk(Journal(ray="r", ending={"i-1": ENDED}))
    there = lives(life(stage=Stage.ENDING, joined_at=None))
    ender.end([(there["i-1"], "idle")], NOW)
    ender.insist(there, listing(lag_s=30.0), NOW + 30 + AGAIN_S)
    assert outside.calls == []
    ender.insist(there, listing(lag_s=30.0), NOW + 31 + AGAIN_S)
    ender.insist(there, listing(lag_s=30.0), NOW + 32 + AGAIN_S)
    assert outside.order("remember", "terminate") == ["remember", "terminate"]


def test_what_could_not_be_ended_and_has_joined_since_stays() -> None:
    ender, outside, books = desk(Journal(ray="r", ending={"i-1": ENDED}))
    ender.insist(lives(life(stage=Stage.ENDING, ray=ray(state=RayState.RUNNING))), listing(), NOW + AGAIN_S + 1)
    assert outside.args("terminate") == []
    assert not books.journal.ending


@pytest.mark.parametrize(
    ("seen", "living", "after_s", "stays"),
    [
        (listing(at=NOW + 31, lag_s=30.0), (), 31, False),
        (listing(at=NOW + 30, lag_s=30.0), (), 31, True),
        (listing(machine(state=NodeState.STOPPING), at=NOW + 31, lag_s=30.0), (), 31, True),
        (listing(machine(state=NodeState.TERMINATED), at=NOW + 31, lag_s=30.0), (), 31, False),
        (listing(at=NOW + 31, lag_s=30.0), (ray(),), 31, True),
        (listing(at=NOW + FORGET_S + 1, lag_s=30.0), (ray(),), FORGET_S + 1, False),
    ],
)
def test_an_end_stands_until_every_listing_and_ray_tell_of_it(
    seen: Listing, living: tuple[RayNode, ...], after_s: float, stays: bool
) -> None:  # fmt: skip
    ender, _, books = desk(Journal(ray="r", ending={"i-1": ENDED}))
    settle(ender, seen=seen, living=living, now=NOW + after_s)
    assert bool(books.journal.ending) is stays


def test_what_was_ended_before_it_was_listed_is_forgotten_with_its_launch() -> None:
    waits = expecting(asked("t-i-1", "t-i-2", ids={"t-i-1": "i-1", "t-i-2": "i-2"}), ray="r", ending={"i-1": ENDED})
    ender, _, books = desk(waits)
    settle(ender, seen=listing(at=NOW + 31, lag_s=30.0), now=NOW + 31)
    assert [list(one.ids) for one in books.journal.asked.values()] == [["t-i-1", "t-i-2"]]
    assert list(books.journal.asked) == ["t-i-2"]


def test_marks_go_with_the_machine_so_that_a_host_begins_anew() -> None:
    ender, _, books = desk(Journal(ray="r", draining={"i-1": DRAINED}))
    books.trouble("i-1", "no", NOW)
    ender.finish(lives(life(stage=Stage.DRAINING, ray=None)), NOW)
    assert (books.journal.draining, books.journal.troubles) == ({}, {})
    settle(ender, seen=listing(at=NOW + 1), now=NOW + 1)
    assert not books.journal.ending


# ---- nodes of Ray's without a machine


def test_a_node_whose_machine_is_gone_is_drained_once() -> None:
    ender, outside, _ = desk()
    for _ in range(3):
        ender.drain_ghosts([ray(state=RayState.RUNNING)])
    assert outside.args("drain") == [("ray of i-1", DrainReason.PREEMPTION, "its machine is gone")]
    assert len(outside.said) == 1


def test_where_the_head_does_not_hear_of_it_it_is_asked_again() -> None:
    ender, outside, _ = desk()
    outside.silent = True
    ender.drain_ghosts([ray()])
    outside.silent = False
    ender.drain_ghosts([ray()])
    assert len(outside.args("drain")) == 2
    assert len(outside.said) == 1
