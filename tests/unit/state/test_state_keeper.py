# SPDX-License-Identifier: Apache-2.0
"""A lease is taken, kept alive, given back; and its loss is noticed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import Busy, Unreachable
from rayctl.state.holder import Holder, myself
from rayctl.state.keeper import LeaseKeeper, Taken, keep, take
from rayctl.state.lease import FileLeaseStore, Lease, LeaseToken, Reading

ANNA = Holder("rayctl up demo", pid=11, user="anna", host="laptop", controller="a")
BERT = Holder("rayctl down demo", pid=21, user="bert", host="desk", controller="b")
TOKEN, OTHER = LeaseToken("t-anna"), LeaseToken("t-bert")


class Head:
    """A lease store in memory whose head can be cut off, slow, or visited by others between a read and a write."""

    def __init__(self, clock) -> None:
        self.lease: Lease | None = None
        self.clock = clock
        self.reachable = True
        self.takes_s = 0.0
        self.in_between: Callable[[], object] = lambda: None

    def read(self) -> Reading:
        if not self.reachable:
            raise Unreachable("the head does not answer")
        seen = Reading(self.lease, self.clock(), "boot")
        self.clock.sleep(self.takes_s)
        between, self.in_between = self.in_between, lambda: None
        between()
        return seen

    def compare_and_set(self, expected_generation: int, lease: Lease) -> bool:
        if (self.lease.generation if self.lease else 0) != expected_generation:
            return False
        self.lease = lease
        return True


@pytest.fixture
def head(clock) -> Head:
    return Head(clock)


@pytest.fixture
def reasons() -> list[str]:
    return []


@pytest.fixture
def keeper(head: Head, clock, reasons: list[str]) -> LeaseKeeper:
    """Anna's keeper, not started: the tests take its turns."""
    taken = take(head, ANNA, TOKEN, timeout_s=0, clock=clock, sleep=clock.sleep)
    return LeaseKeeper(head, taken, on_lost=reasons.append, clock=clock)


def bert_takes(head: Head) -> Taken:
    return take(head, BERT, OTHER, timeout_s=0, clock=head.clock, sleep=head.clock.sleep)


def test_second_writer_waits_and_takes_over_when_the_lease_ended(head: Head, keeper: LeaseKeeper, clock) -> None:
    told: list[Holder] = []
    taken = take(head, BERT, OTHER, timeout_s=90, on_wait=told.append, clock=clock, sleep=clock.sleep)
    assert (taken.lease.owner, taken.lease.generation) == (BERT, 2)
    assert told == [ANNA]
    assert clock.now == pytest.approx(1060, abs=1)


def test_second_writer_leaves_with_the_holders_name(head: Head, keeper: LeaseKeeper, clock) -> None:
    with pytest.raises(Busy, match=r"rayctl up demo \(pid 11, anna@laptop"):
        take(head, BERT, OTHER, timeout_s=30, clock=clock, sleep=clock.sleep)
    assert clock.now == 1030


def test_writer_who_is_overtaken_between_read_and_write_looks_again(head: Head, clock) -> None:
    head.in_between = lambda: bert_takes(head)
    with pytest.raises(Busy, match="rayctl down demo"):
        take(head, ANNA, TOKEN, timeout_s=0, clock=clock, sleep=clock.sleep)


def test_each_turn_gives_the_lease_its_whole_time_again(head: Head, keeper: LeaseKeeper, clock) -> None:
    for _ in range(10):
        clock.sleep(20)
        assert keeper.turn() == 20
    keeper.check()
    assert head.lease == replace(keeper.lease, expires=clock.now + 60, generation=1)


def test_lease_taken_by_another_is_lost_at_once_and_said_once(
    head: Head, keeper: LeaseKeeper, clock, reasons: list[str]
) -> None:
    clock.sleep(61)
    bert_takes(head)
    keeper.turn()
    keeper.turn()
    assert keeper.lost.is_set()
    assert len(reasons) == 1
    assert reasons[0].startswith("rayctl down demo (pid 21, bert@desk")
    with pytest.raises(Busy, match="was lost: rayctl down demo"):
        keeper.check()


def test_lease_taken_between_read_and_write_is_lost_too(head: Head, keeper: LeaseKeeper, clock, reasons: list[str]) -> None:
    clock.sleep(61)
    head.in_between = lambda: bert_takes(head)
    keeper.turn()
    assert reasons[0].startswith("rayctl down demo")
    assert head.lease is not None
    assert head.lease.owner == BERT


def test_lease_wiped_from_the_head_is_lost(head: Head, keeper: LeaseKeeper, reasons: list[str]) -> None:
    head.lease = None
    keeper.turn()
    assert reasons == ["it is gone from the head"]


def test_head_that_answers_again_in_time_costs_nothing(head: Head, keeper: LeaseKeeper, clock, reasons: list[str]) -> None:
    head.reachable = False
    clock.sleep(20)
    assert keeper.turn() == 5
    clock.sleep(38)
    assert keeper.turn() == 2, "looks again when the lease ends, not later"
    keeper.check()
    head.reachable = True
    assert keeper.turn() == 20
    clock.sleep(59)
    keeper.check()
    assert reasons == []


def test_lease_that_could_not_be_renewed_for_its_whole_time_is_lost(
    head: Head, keeper: LeaseKeeper, clock, reasons: list[str]
) -> None:
    head.reachable = False
    clock.sleep(59.9)
    keeper.turn()
    assert not keeper.lost.is_set()
    clock.sleep(0.1)
    keeper.turn()
    assert reasons == ["it could not be renewed for 60 s: the head does not answer"]


def test_laptop_that_slept_too_long_is_refused_before_any_turn(keeper: LeaseKeeper, clock) -> None:
    clock.sleep(60)
    with pytest.raises(Busy, match="not renewed for 60 s"):
        keeper.check()


def test_slow_answer_shortens_what_we_believe_in(head: Head, keeper: LeaseKeeper, clock) -> None:
    head.takes_s = 8
    keeper.turn()
    clock.sleep(51.9)
    keeper.check()
    clock.sleep(0.1)
    with pytest.raises(Busy):
        keeper.check()


def test_failure_of_any_kind_is_a_failure_to_renew(head: Head, keeper: LeaseKeeper) -> None:
    head.in_between = lambda: int("no number")
    assert keeper.turn() == 5


def test_lease_given_back_is_free(head: Head, keeper: LeaseKeeper) -> None:
    keeper.give_back()
    assert bert_takes(head).lease.generation == 2


def test_giving_back_what_another_has_changes_nothing(head: Head, keeper: LeaseKeeper, clock) -> None:
    clock.sleep(61)
    berts = bert_takes(head).lease
    keeper.give_back()
    assert head.lease == berts


def test_lease_that_cannot_be_given_back_is_left_to_end(head: Head, keeper: LeaseKeeper) -> None:
    head.reachable = False
    keeper.give_back()
    assert head.lease == keeper.lease


def test_thread_renews_until_it_is_stopped_and_notices_the_loss(tmp_path: Path) -> None:
    store = FileLeaseStore(tmp_path / "head" / "lease.json")
    me = myself("rayctl up")
    keeper = LeaseKeeper(store, take(store, me, TOKEN, timeout_s=0), every_s=0.001)
    keeper.start()
    overtaken = replace(keeper.lease, generation=2, owner=BERT, token="t-bert")
    assert store.compare_and_set(1, overtaken)
    assert keeper.lost.wait(timeout=30)
    keeper.stop()
    assert store.read().lease == overtaken


def test_lease_is_held_while_the_block_runs(tmp_path: Path) -> None:
    store = FileLeaseStore(tmp_path / "head" / "lease.json")
    me = myself("rayctl up")
    with keep(store, me, TOKEN, timeout_s=0) as keeper:
        keeper.check()
        with pytest.raises(Busy, match="rayctl up"):
            take(store, BERT, OTHER, timeout_s=0)
    assert take(store, BERT, OTHER, timeout_s=0).lease.generation == 2


def test_play_under_its_operations_token_does_not_give_the_lease_back(tmp_path: Path) -> None:
    store = FileLeaseStore(tmp_path / "head" / "lease.json")
    operation = take(store, replace(ANNA, controller="a"), TOKEN, timeout_s=0).lease
    with keep(store, myself("ansible-playbook"), TOKEN, timeout_s=0) as keeper:
        assert keeper.lease.owner == operation.owner
    with pytest.raises(Busy, match="rayctl up demo"):
        take(store, BERT, OTHER, timeout_s=0)
