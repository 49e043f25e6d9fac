# SPDX-License-Identifier: Apache-2.0
"""A launch is written down before it is asked for, and stands for its machines until every listing tells of them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rayctl.config.digest import launch_digest
from rayctl.errors import Category, ProviderError
from rayctl.planner.model import Cause, Launch
from rayctl.providers.base import Kind, LaunchResult, NodeState, launch_token
from rayctl.reconcile import backoff
from rayctl.reconcile.backoff import Backoff
from rayctl.reconcile.books import Books
from rayctl.reconcile.journal import Ending, Journal
from rayctl.reconcile.launch import LISTED_S, PATIENCE_S, Launcher, free_hosts, room
from rayctl.reconcile.lives import Lives, Stage
from rayctl.reconcile.requests import numbers, request_for
from rayctl.reconcile.seam import Listing, Reply
from tests.unit.reconcile.desk import (
    CLUSTER_ID,
    CONFIG,
    NOW,
    Desk,
    asked,
    expecting,
    given,
    host,
    life,
    listing,
    lives,
    machine,
    refused,
)


def desk(journal: Journal | None = None) -> tuple[Launcher, Desk, Books]:
    outside = Desk(journal)
    books = Books(outside)
    return Launcher(outside, books, CLUSTER_ID), outside, books


def wanted(count: int, node_type: str = "small") -> Launch:
    return Launch(node_type, count, {Cause.DEMAND: count}, "queued work")


def launch(launcher: Launcher, *launches: Launch, known: Lives | None = None, seen: Listing | None = None) -> None:
    launcher.launch(CONFIG, launches, known or {}, seen or listing(), NOW)


# ---- asking


def test_it_is_written_down_before_it_is_asked_for() -> None:
    launcher, outside, books = desk()
    launch(launcher, wanted(2), wanted(1, "unknown"))
    assert outside.order("remember", "launch") == ["remember", "launch", "launch"]
    assert [one.request for one in books.journal.asked.values()] == outside.args("launch")
    assert outside.args("tell_drivers") == [["Adding 2 node(s) of type small.", "Adding 1 node(s) of type unknown."]]


def test_where_nothing_is_wanted_nothing_is_said() -> None:
    launcher, outside, _ = desk()
    launch(launcher)
    assert outside.calls == []


def test_a_request_says_what_the_file_says() -> None:
    launcher, outside, _ = desk()
    launch(launcher, wanted(1))
    (request,) = outside.args("launch")
    assert (request.kind, request.type, request.resources, request.labels) == (Kind.WORKER, "small", {"CPU": 4}, {"zone": "a"})
    assert request.node_config == {"image": "new"}
    assert request.launch_digest == launch_digest("small", {"image": "new"})
    assert request.tags == {
        "ray-cluster-name": "c", "ray-node-type": "worker", "ray-user-node-type": "small", "ray-node-status": "uninitialized",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("sequences", "names", "first"),
    [({}, [], 1), ({"small": 7}, [], 8), ({"small": 7}, ["c-small-9"], 10), ({"unknown": 7}, ["c-small-2", "odd"], 3)],
)
def test_no_number_is_given_twice(sequences: dict[str, int], names: list[str], first: int) -> None:
    launcher, outside, books = desk(Journal(ray="r", sequences=sequences))
    launch(launcher, wanted(2), known=lives(*[life(name, machine=machine(name, name=name)) for name in names]))
    slots = outside.args("launch")[0].slots
    assert [slot.name for slot in slots] == [f"c-small-{first}", f"c-small-{first + 1}"]
    assert [slot.token for slot in slots] == [launch_token(CLUSTER_ID, "small", first + n) for n in (0, 1)]
    assert books.journal.sequences["small"] == first + 1


@pytest.mark.parametrize(("name", "number"), [("c-small-12", 12), ("c-small", 0), ("10.0.0.5", 0)])
def test_the_number_of_a_machine_is_the_end_of_its_name(name: str, number: int) -> None:
    assert numbers([machine(name=name)], machine(name=name).type) == [number]


# ---- what came of it


def under_way(count: int = 2) -> tuple[Launcher, Desk, Books, Reply]:
    """A launch that was asked for, and its reply, in which all of it was given."""
    launcher, outside, books = desk()
    launch(launcher, wanted(count))
    (one,) = books.journal.asked.values()
    outside.calls.clear()
    return (
        launcher,
        outside,
        books,
        given(one, *[machine(f"i-{n}", launch_token=s.token) for n, s in enumerate(one.request.slots)]),
    )


def test_what_was_given_has_its_ids_and_is_not_asked_for_again() -> None:
    launcher, outside, books, reply = under_way()
    outside.answers = [reply]
    launcher.collect(listing(), NOW + 5)
    (one,) = books.journal.asked.values()
    assert (list(one.ids.values()), one.answered, one.at) == (["i-0", "i-1"], True, NOW + 5)
    assert not launcher.replay(NOW + 99)
    assert [kind for kind, _, _ in outside.said] == ["notice", "node_launched", "node_launched"]


@pytest.mark.parametrize("category", [Category.TRANSIENT, Category.THROTTLED])
def test_where_nobody_knows_what_came_of_it_the_same_is_asked_again_later_each_time(category: Category) -> None:
    launcher, outside, books, reply = under_way()
    now, waits = NOW, []
    for _ in range(6):
        (one,) = books.journal.asked.values()
        outside.answers = [refused(one, category)]
        launcher.collect(listing(), now)
        (one,) = books.journal.asked.values()
        waits.append(one.retry_at - now)
        assert not launcher.replay(one.retry_at - 0.1)
        assert launcher.replay(one.retry_at)
        now = one.retry_at
    assert waits == [2, 4, 8, 16, 30, 30]
    assert {request.slots for request in outside.args("launch")} == {reply.request.slots}
    assert not books.journal.setbacks


def test_a_provider_that_never_says_what_came_of_it_is_not_waited_for_for_ever() -> None:
    launcher, outside, books, reply = under_way()
    launcher.collect(listing(), NOW)
    outside.answers = [refused(asked(*[slot.token for slot in reply.request.slots]))]
    (key,) = books.journal.asked
    launcher._under_way.discard(key)
    launcher.replay(NOW)
    launcher.collect(listing(lag_s=30.0), NOW + PATIENCE_S)
    assert not books.journal.asked
    assert "small" in books.journal.setbacks
    assert books.journal.doubt_until == NOW + PATIENCE_S + 30


def test_what_is_under_way_is_not_asked_for_beside_it() -> None:
    launcher, outside, _, _ = under_way()
    assert not launcher.replay(NOW + 1e6)
    assert outside.args("launch") == []


def test_after_a_kill_what_is_not_answered_is_asked_for_again_at_once() -> None:
    launcher, outside, _ = desk(expecting(asked("t-1", "t-2"), asked("t-3", ids={"t-3": "i-3"}), ray="r"))
    launcher.replay(NOW)
    assert [[slot.token for slot in request.slots] for request in outside.args("launch")] == [["t-1", "t-2"]]


@pytest.mark.parametrize("category", [Category.AUTH, Category.INVALID, Category.QUOTA])
def test_a_refusal_is_told_and_its_type_left_alone(category: Category) -> None:
    launcher, outside, books, reply = under_way()
    outside.answers = [Reply(reply.request, error=ProviderError(category, "not for you"))]
    launcher.collect(listing(), NOW + 1)
    assert not books.journal.asked
    assert books.journal.setbacks["small"].left(NOW + 1) == backoff.FIRST_S[category]
    assert books.journal.failures[-1].count == 2
    assert outside.args("tell_drivers")[-1][0].startswith("Failed to launch 2 node(s) of type small.")
    assert books.journal.doubt_until == 0, "nothing can have come of it"


def test_a_refusal_of_what_was_asked_before_leaves_a_doubt() -> None:
    launcher, outside, books = desk(expecting(asked("t-1"), ray="r"))
    launcher.replay(NOW)
    outside.answers = [refused(asked("t-1"), Category.INVALID)]
    launcher.collect(listing(lag_s=30.0), NOW + 1)
    assert not books.journal.asked
    assert books.journal.doubt_until == NOW + 31


def test_of_a_part_the_rest_is_refused() -> None:
    launcher, outside, books, reply = under_way(3)
    assert reply.result is not None
    part = LaunchResult(reply.result.nodes[1:2], 2, ProviderError(Category.CAPACITY, "no more"))
    outside.answers = [Reply(reply.request, part)]
    launcher.collect(listing(), NOW)
    (one,) = books.journal.asked.values()
    assert (list(one.ids.values()), one.answered) == (["i-1"], True)
    assert books.journal.failures[-1].count == 2


def test_a_machine_that_is_given_back_dead_is_not_waited_for() -> None:
    launcher, outside, books, reply = under_way(1)
    assert reply.result is not None
    dead = machine(launch_token=reply.request.slots[0].token, state=NodeState.TERMINATED)
    outside.answers = [Reply(reply.request, LaunchResult((dead,)))]
    launcher.collect(listing(), NOW)
    assert not books.journal.asked
    assert not books.journal.setbacks


def test_where_the_provider_knows_which_hosts_failed_they_are_left_alone_not_their_type() -> None:
    launcher, outside, books, reply = under_way(1)
    problem = ProviderError(Category.TRANSIENT, "no space")
    outside.answers = [Reply(reply.request, LaunchResult((), 1, problem, {"c-small-1": problem}))]
    launcher.collect(listing(), NOW)
    assert set(books.journal.quarantine) == {"c-small-1"}
    assert not books.journal.setbacks


def test_a_reply_to_what_nobody_remembers_is_nothing() -> None:
    launcher, outside, books = desk()
    outside.answers = [given(asked("t-9"), machine("i-9"))]
    launcher.collect(listing(), NOW)
    assert books.journal == Journal()


# ---- what is listed by now


@pytest.mark.parametrize(("age", "lag_s", "kept"), [(1, 0.0, False), (1, 30.0, True), (30, 30.0, True), (31, 30.0, False)])
def test_what_one_listing_tells_an_older_one_may_lack_until_the_lag_is_over(age: float, lag_s: float, kept: bool) -> None:
    launcher, _, books = desk(expecting(asked("t-i-1", ids={"t-i-1": "i-1"}), ray="r"))
    launcher.settle(listing(machine(), at=NOW + age, lag_s=lag_s))
    assert bool(books.journal.asked) is kept


def test_a_listing_answers_what_no_reply_did() -> None:
    launcher, outside, books = desk(expecting(asked("t-i-1", "t-i-2"), ray="r"))
    launcher.settle(listing(machine("i-1"), machine("i-2"), at=NOW + 4, lag_s=30.0))
    (one,) = books.journal.asked.values()
    assert (one.ids, one.at) == ({"t-i-1": "i-1", "t-i-2": "i-2"}, NOW + 4)
    launcher.replay(NOW + 5)
    assert outside.args("launch") == []


def test_of_a_part_that_is_listed_the_rest_is_asked_for_and_its_reply_is_heard() -> None:
    launcher, outside, books = desk(expecting(asked("t-i-1", "t-i-2"), ray="r"))
    launcher.settle(listing(machine("i-1"), at=NOW + 1))
    launcher.settle(listing(machine("i-1"), at=NOW + 2))
    assert list(books.journal.asked) == ["t-i-2"]
    launcher.replay(NOW + 2)
    outside.answers = [given(asked("t-i-2"), machine("i-2"))]
    launcher.collect(listing(machine("i-1")), NOW + 3)
    assert books.journal.asked["t-i-2"].ids == {"t-i-2": "i-2"}


def test_what_was_given_and_is_never_listed_is_gone() -> None:
    launcher, _, books = desk(expecting(asked("t-1", ids={"t-1": "i-1"}), asked("t-2"), ray="r"))
    launcher.settle(listing(at=NOW + 30 + LISTED_S, lag_s=30.0))
    assert set(books.journal.asked) == {"t-1", "t-2"}
    launcher.settle(listing(at=NOW + 31 + LISTED_S, lag_s=30.0))
    assert set(books.journal.asked) == {"t-2"}, "of which nobody knows what came of it"


def test_an_answer_that_took_long_is_not_old_at_once() -> None:
    launcher, outside, books = desk(expecting(asked("t-1", at=NOW - 500), ray="r"))
    launcher.replay(NOW)
    outside.answers = [given(asked("t-1"), machine("i-1", launch_token="t-1"))]
    launcher.collect(listing(), NOW)
    launcher.settle(listing(at=NOW, lag_s=30.0))
    assert set(books.journal.asked) == {"t-1"}


def test_what_is_listed_as_gone_is_not_waited_for() -> None:
    launcher, _, books = desk(expecting(asked("t-i-1", ids={"t-i-1": "i-1"}), ray="r"))
    launcher.settle(listing(machine(state=NodeState.TERMINATED), lag_s=30.0))
    assert not books.journal.asked


# ---- withdrawing


def test_what_may_be_there_is_asked_for_no_more_and_nothing_is_launched_until_a_listing_tells() -> None:
    launcher, _, books = desk(expecting(asked("t-1", "t-2"), asked("t-3", ids={"t-3": "i-3"}), ray="r"))
    launcher.withdraw({"t-1", "t-3"}, listing(lag_s=30.0), NOW)
    assert set(books.journal.asked) == {"t-2", "t-3"}
    assert books.journal.doubt_until == NOW + 30


def test_what_is_just_being_asked_for_is_waited_for() -> None:
    launcher, _, books, _ = under_way(1)
    launcher.withdraw(set(books.journal.asked), listing(), NOW)
    assert len(books.journal.asked) == 1
    assert books.journal.doubt_until == 0


# ---- declared hosts

HOSTS = tuple(host(name) for name in ("h1", "h2", "h3", "h4"))


def barred(journal: Journal) -> set[str]:
    return Books(Desk(journal)).barred(NOW)


@pytest.mark.parametrize(
    ("known", "silent", "journal", "free"),
    [
        ({}, {}, Journal(), ["h1", "h2", "h3", "h4"]),
        (lives(life(machine=HOSTS[0])), {}, Journal(), ["h2", "h3", "h4"]),
        ({}, {"h2": "no route"}, Journal(), ["h1", "h3", "h4"]),
        ({}, {}, Journal(quarantine={"h3": Backoff("no", NOW, NOW + 1)}), ["h1", "h2", "h4"]),
        ({}, {}, Journal(quarantine={"h3": Backoff("no", NOW - 9, NOW - 1)}), ["h1", "h2", "h3", "h4"]),
        ({}, {}, Journal(ending={"h4": Ending(NOW, "idle", NOW)}), ["h1", "h2", "h3"]),
    ],
)
def test_a_host_is_free_unless(known: Lives, silent: Mapping[str, str], journal: Journal, free: list[str]) -> None:
    seen = listing(hosts=HOSTS, silent=silent)
    assert [one.name for one in free_hosts(seen, known, barred(journal))] == free
    assert room(seen, known, barred(journal)) == {"small": len(free)}


def test_a_host_is_launched_under_its_name_with_a_token_that_stays() -> None:
    launcher, outside, _ = desk()
    launch(launcher, wanted(2), seen=listing(hosts=(host("head", kind=Kind.HEAD), *HOSTS)))
    assert [(slot.name, slot.token) for slot in outside.args("launch")[0].slots] == [
        (one.name, one.launch_token) for one in HOSTS[:2]
    ]  # fmt: skip


def test_where_no_host_is_free_nothing_is_asked_for() -> None:
    launcher, outside, _ = desk()
    launch(launcher, wanted(1), known=lives(life(machine=HOSTS[0], stage=Stage.ENDING)), seen=listing(hosts=HOSTS[:1]))
    assert outside.order("launch") == []


def test_where_machines_are_made_there_is_no_room_to_tell_of() -> None:
    assert room(listing(), {}, ()) == {}


def test_a_request_for_a_type_without_resources_asks_for_none() -> None:
    assert request_for(CONFIG, "unknown", Kind.WORKER, ()).resources == {}
