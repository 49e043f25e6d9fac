# SPDX-License-Identifier: Apache-2.0
"""Nodes are set up in batches, tried twice, and then replaced."""

from __future__ import annotations

from typing import Any

import pytest

from rayctl.providers.base import Kind, NodeState
from rayctl.reconcile import backoff
from rayctl.reconcile.books import Books
from rayctl.reconcile.journal import Journal, Trouble
from rayctl.reconcile.lives import Life, Stage
from rayctl.reconcile.requests import FAILED, SETTING_UP, STATUS_TAG, UP_TO_DATE
from rayctl.reconcile.seam import Played
from rayctl.reconcile.setup import GATHER_S, LOST_S, SOUND_S, Due, Installer
from tests.unit.reconcile.desk import CONFIG, NOW, Desk, life, lives, machine

KEYS = CONFIG.scaler
FRESH = machine(tags={STATUS_TAG: SETTING_UP})


def desk(journal: Journal | None = None) -> tuple[Installer, Desk, Books]:
    outside = Desk(journal)
    books = Books(outside)
    return Installer(outside, books), outside, books


def troubled(times: int, *, silent: bool = False, at: float = NOW - 60) -> Journal:
    return Journal(ray="r", troubles={"i-1": Trouble(times, at, "exit code 1", at + 2, silent)})


def due(one: Life, journal: Journal | None = None, **more: Any) -> str:
    """What is due to a machine, in a word."""
    found = desk(journal)[0].due(lives(one), KEYS, NOW, **more)
    (words,) = [[*["set up"] * len(found.set_up), *["restart"] * len(found.restart), *[why for _, why in found.replace]]]
    return " and ".join(words)


LONG = NOW - 10_000


@pytest.mark.parametrize(
    ("one", "journal", "what"),
    [
        (life(stage=Stage.WAITING), Journal(), "set up"),
        (life(stage=Stage.WAITING), troubled(1), "set up"),
        (life(stage=Stage.WAITING), troubled(1, at=NOW - 1), ""),
        (life(stage=Stage.WAITING), troubled(2), "exit code 1"),
        (life(stage=Stage.WAITING, machine=machine(launched_at=NOW - 899)), troubled(20, silent=True), "set up"),
        (life(stage=Stage.WAITING, machine=machine(launched_at=NOW - 901)), troubled(20, silent=True), "exit code 1"),
        (life(stage=Stage.WAITING, machine=machine(launched_at=LONG)), troubled(1, silent=True), "set up"),
        (life(stage=Stage.BOOTING, machine=machine(launched_at=NOW - 899)), Journal(), ""),
        (life(stage=Stage.BOOTING, machine=machine(launched_at=NOW - 901)), Journal(), "it did not boot within 900 s"),
        (life(stage=Stage.SETTING_UP, since=LONG), Journal(), ""),
        (life(stage=Stage.JOINING, since=NOW - 119), Journal(), ""),
        (life(stage=Stage.JOINING, since=NOW - 121), Journal(), "restart"),
        (life(stage=Stage.LOST, since=NOW - LOST_S), Journal(), ""),
        (life(stage=Stage.LOST, since=NOW - LOST_S - 1), Journal(), "restart"),
        (life(stage=Stage.LOST, since=NOW - 60), troubled(1), "restart"),
        (life(stage=Stage.LOST, since=NOW - 60), troubled(2), "Ray has lost it, also after 2 restarts"),
        (life(stage=Stage.RESTARTING, since=LONG), troubled(2), ""),
        (life(stage=Stage.UP, since=LONG), Journal(), ""),
        (life(stage=Stage.DRAINING, since=LONG), Journal(), ""),
        (life(stage=Stage.ENDING, since=LONG), Journal(), ""),
    ],
)
def test_what_is_due_to_a_node(one: Life, journal: Journal, what: str) -> None:
    assert due(one, journal) == what


@pytest.mark.parametrize(
    "one",
    [
        life(stage=Stage.LOST, since=LONG, machine=machine(kind=Kind.HEAD)),
        life(stage=Stage.LOST, since=LONG, missing_since=NOW - 1),
        life("t", Stage.BOOTING, machine=machine("t", launch_token="t", launched_at=LONG, state=NodeState.PENDING)),
    ],
    ids=["the head", "what listings lack", "what is only asked for"],
)
def test_nothing_is_ever_due_to(one: Life) -> None:
    assert due(one) == ""


@pytest.mark.parametrize(
    ("one", "what"),
    [
        (life(stage=Stage.WAITING), "set up"),
        (life(stage=Stage.LOST, since=NOW - 60), "restart"),
        (life(stage=Stage.BOOTING, machine=machine(launched_at=LONG)), ""),
    ],
)
def test_while_none_may_be_ended_it_is_tried_on_and_on(one: Life, what: str) -> None:
    journal = Journal(ray="r", troubles={"i-1": Trouble(9, NOW - 60, "no", NOW - 30)})
    assert due(one, journal, may_end=False) == what


def test_of_what_is_due_machines_that_are_ended_are_left_out() -> None:
    a, b = life("i-1"), life("i-2")
    assert Due([a, b], [b], [(a, "x"), (b, "y")]).without({"i-2"}) == Due([a], [], [(a, "x")])
    assert not Due([a], [a], [(a, "x")]).without({"i-1"})


# ---- runs


def test_a_batch_is_one_run_and_nodes_are_marked_before() -> None:
    installer, outside, _ = desk()
    waiting = [life("i-1", Stage.WAITING), life("i-2", Stage.WAITING)]
    installer.begin(Due(waiting, [life("i-3", Stage.LOST)]), NOW)
    assert outside.order("remember", "set_tags", "play") == ["remember", "set_tags", "play", "play"]
    assert outside.args("set_tags") == [(["i-1", "i-2"], {STATUS_TAG: SETTING_UP})]
    assert outside.args("play") == [(["c-i-1", "c-i-2"], "auto"), (["c-i-3"], "always")]
    assert outside.args("tell_drivers") == [["Restarting 1 nodes of type small (lost contact with raylet)."]]
    assert installer.playing == {"c-i-1", "c-i-2", "c-i-3"}


def test_the_more_runs_are_at_work_the_longer_the_next_batch_gathers() -> None:
    installer, outside, _ = desk()
    assert installer.may_begin(NOW)
    for number in range(3):
        installer.begin(Due([life(f"i-{number}", Stage.WAITING)]), NOW)
    assert not installer.may_begin(NOW + 3 * GATHER_S - 0.1)
    assert installer.may_begin(NOW + 3 * GATHER_S)
    outside.ended = [Played("c-i-0"), Played("c-i-1"), Played("c-i-2")]
    installer.collect({}, NOW)
    assert installer.may_begin(NOW)


def test_a_run_that_ended_well_is_told_once_however_long_nobody_asks() -> None:
    installer, outside, _ = desk()
    known = lives(life("i-1", Stage.SETTING_UP), life("i-2", Stage.SETTING_UP))
    outside.ended = [Played("c-i-1")]
    installer.collect(known, NOW)
    outside.ended = [Played("c-i-2")]
    installer.collect(known, NOW + 1)
    assert installer.take_ready() == {"c-i-1", "c-i-2"}
    assert installer.take_ready() == frozenset()


def collected(stage: Stage, played: Played, journal: Journal | None = None) -> tuple[Desk, Books]:
    installer, outside, books = desk(journal)
    outside.ended = [played]
    installer.collect(lives(life(stage=stage)), NOW)
    assert played.node not in installer.playing
    return outside, books


def test_a_set_up_that_failed_is_told_and_counted() -> None:
    outside, books = collected(Stage.SETTING_UP, Played("c-i-1", "exit code 1", log="/log"))
    assert books.times("i-1") == 1
    assert (books.journal.failures[0].node, books.journal.failures[0].log) == ("c-i-1", "/log")
    assert outside.args("set_tags") == [(["i-1"], {STATUS_TAG: FAILED})]
    assert [(kind, data["status"]) for kind, _, data in outside.said] == [("node_ended", "failed")]


def test_a_machine_that_takes_no_logins_yet_has_not_failed() -> None:
    outside, books = collected(Stage.SETTING_UP, Played("c-i-1", "no route", unreachable=True))
    assert books.journal.troubles["i-1"].silent
    assert not books.journal.failures
    assert outside.order("set_tags") == []


def test_a_restart_that_failed_was_counted_when_it_began() -> None:
    installer, outside, books = desk()
    installer.begin(Due(restart=[life(stage=Stage.LOST)]), NOW)
    outside.ended = [Played("c-i-1", "no route", unreachable=True)]
    installer.collect(lives(life(stage=Stage.RESTARTING)), NOW + 5)
    assert books.times("i-1") == 1
    assert books.journal.troubles["i-1"].reason == "no route"


@pytest.mark.parametrize("stage", [Stage.DRAINING, Stage.ENDING])
def test_what_came_of_a_node_that_is_on_its_way_out_is_nobodys_concern(stage: Stage) -> None:
    outside, books = collected(stage, Played("c-i-1", "no route", unreachable=True))
    assert (books.journal.troubles, books.journal.failures, outside.order("set_tags")) == ({}, (), [])


def test_what_came_of_a_node_that_is_gone_is_nothing() -> None:
    installer, outside, books = desk()
    outside.ended = [Played("c-i-9", "no route")]
    installer.collect({}, NOW)
    assert not books.journal.failures


# ---- joined


def test_what_joined_is_up_to_date_and_its_type_is_well_again() -> None:
    held = {"small": backoff.after(None, "no", NOW, 60), "big": backoff.after(None, "no", NOW, 60)}
    installer, outside, books = desk(Journal(ray="r", setbacks=held, quarantine={"c-i-1": held["small"], "h2": held["big"]}))
    installer.note_joined(lives(life(stage=Stage.JOINING)), lives(life(machine=FRESH, since=NOW)), NOW)
    assert outside.args("set_tags") == [(["i-1"], {STATUS_TAG: UP_TO_DATE})]
    assert (set(books.journal.setbacks), set(books.journal.quarantine)) == ({"big"}, {"h2"})
    assert [(kind, data["seconds"]) for kind, _, data in outside.said] == [("node_joined", 60.0)]


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (life(machine=FRESH), life(machine=FRESH)),
        (life(stage=Stage.JOINING), life(machine=machine(tags={STATUS_TAG: UP_TO_DATE}))),
        (life(stage=Stage.JOINING), life(machine=machine(kind=Kind.HEAD))),
        (life(stage=Stage.WAITING), life(stage=Stage.WAITING)),
    ],
)
def test_what_was_up_or_is_not_is_no_news(before: Life, now: Life) -> None:
    installer, outside, _ = desk()
    installer.note_joined(lives(before), lives(now), NOW)
    assert (outside.calls, outside.said) == ([], [])


@pytest.mark.parametrize(
    ("since", "stage", "kept"),
    [(SOUND_S, Stage.UP, True), (SOUND_S + 1, Stage.UP, False), (SOUND_S + 1, Stage.LOST, True)],
)
def test_trouble_is_forgotten_when_a_node_has_been_up_for_long(since: float, stage: Stage, kept: bool) -> None:
    installer, _, books = desk(troubled(1))
    known = lives(life(stage=stage, since=NOW - since))
    installer.note_joined(known, known, NOW)
    assert bool(books.journal.troubles) is kept


def test_trouble_is_forgotten_with_its_machine() -> None:
    installer, _, books = desk(troubled(1))
    installer.note_joined({}, {}, NOW)
    assert not books.journal.troubles


# ---- replaced


@pytest.mark.parametrize(
    ("hosts", "joined_at", "setbacks", "quarantine"),
    [
        (False, None, {"small"}, set()),
        (False, NOW, set(), set()),
        (True, None, set(), {"c-i-1"}),
        (True, NOW, set(), {"c-i-1"}),
    ],
)
def test_what_has_to_be_replaced_is_left_alone_for_a_while(
    hosts: bool, joined_at: float | None, setbacks: set[str], quarantine: set[str]
) -> None:  # fmt: skip
    installer, _, books = desk()
    installer.replaced(Due(replace=[(life(stage=Stage.LOST, joined_at=joined_at), "why")]), NOW, hosts=hosts)
    assert (set(books.journal.setbacks), set(books.journal.quarantine)) == (setbacks, quarantine)
    assert books.journal.failures[0].reason == "why"
