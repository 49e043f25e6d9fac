# SPDX-License-Identifier: Apache-2.0
"""What is said of the scaler's work, to Ray's head and to people."""

from __future__ import annotations

import pytest

from rayctl.gcs.autoscaler import Coming, Failed, NodeGroup
from rayctl.gcs.view import Demand
from rayctl.planner.model import Answer, Plan, Policy, Snapshot
from rayctl.providers.base import Kind, NodeState
from rayctl.reconcile import report
from rayctl.reconcile.backoff import Backoff
from rayctl.reconcile.journal import Drain, Ending, Failure, Journal, Trouble
from rayctl.reconcile.lives import Life, Stage
from tests.unit.reconcile.desk import CONFIG, NOW, asked, expecting, life, lives, machine

FAILURE = Failure("small", "exit code 1", NOW - 60, NOW - 5, node="c-i-1", count=2, log="/log")


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (life(stage=Stage.BOOTING), "waiting-for-ssh"),
        (life(stage=Stage.WAITING), "waiting-for-ssh"),
        (life(stage=Stage.SETTING_UP), "setting-up"),
        (life(stage=Stage.JOINING), "setting-up: waiting until Ray knows it"),
        (life(stage=Stage.LOST), "lost contact with raylet"),
        (life(stage=Stage.RESTARTING), "restarting Ray"),
    ],
)
def test_ray_is_told_of_each_machine_that_is_coming(one: Life, words: str) -> None:
    told = report.for_ray(lives(one), Journal(), [])
    assert told.coming == (Coming("small", "i-1", "10.0.0.3", words, NOW - 50),)


@pytest.mark.parametrize(
    "one",
    [life(), life(stage=Stage.DRAINING), life(stage=Stage.ENDING), life(stage=Stage.LOST, machine=machine(kind=Kind.HEAD))],
)
def test_ray_is_not_told_of_what_is_there_or_goes_nor_of_the_head(one: Life) -> None:
    assert report.for_ray(lives(one), Journal(), []).coming == ()


def test_what_is_only_asked_for_has_no_id_and_no_address() -> None:
    waits = machine("t-1", launch_token="t-1", addresses=None, state=NodeState.PENDING)
    (coming,) = report.for_ray(lives(life("t-1", Stage.BOOTING, machine=waits)), Journal(), []).coming
    assert (coming.id, coming.address) == ("", "")


def test_ray_is_told_of_failures_and_of_what_can_never_be() -> None:
    told = report.for_ray({}, Journal(failures=(FAILURE,)), [{"CPU": 99.0}])
    assert told.failed == (Failed("small", 2, "c-i-1: exit code 1", NOW - 60, NOW - 5),)
    assert told.infeasible == ({"CPU": 99.0},)


@pytest.mark.parametrize(
    ("one", "journal", "words"),
    [
        (life(), Journal(), ""),
        (life(), Journal(troubles={"i-1": Trouble(1, NOW, "old", NOW)}), ""),
        (life(stage=Stage.WAITING), Journal(troubles={"i-1": Trouble(1, NOW, "no route", NOW)}), "waiting-for-ssh (no route)"),
        (life(missing_since=NOW), Journal(), "missing from the provider's list"),
        (life(stage=Stage.DRAINING), Journal(draining={"i-1": Drain(NOW, "idle", "for 70 s")}), "idle: for 70 s"),
        (life(stage=Stage.ENDING), Journal(ending={"i-1": Ending(NOW, "outdated", NOW)}), "outdated"),
    ],
)
def test_details(one: Life, journal: Journal, words: str) -> None:
    assert report.detail(one, journal) == words


def test_ray_is_told_which_nodes_there_could_be() -> None:
    assert report.groups(CONFIG, {"unknown": {"CPU": 2.0}}) == [
        NodeGroup("small", {"CPU": 4}, 0, 9), NodeGroup("unknown", {"CPU": 2.0}, 0, 9),
    ]  # fmt: skip


WAITING = Answer(3, here=1, waiting=2, why="max_workers is reached")
NEVER = Answer(4, never=4, why="no node type can hold it")
SNAPSHOT = Snapshot(Policy((), 9), pending=(Demand({"CPU": 1}, 3), Demand({"CPU": 99}, 4)), requested=(Demand({"CPU": 98}, 4),))
PLAN = Plan(pending=(WAITING, NEVER), requested=(NEVER,), gangs=(WAITING,), waits=("small waits 60 s",))


def test_what_can_never_be_is_told_with_the_reason() -> None:
    assert report.infeasible(SNAPSHOT, PLAN) == [
        (Demand({"CPU": 99}, 4), "no node type can hold it"), (Demand({"CPU": 98}, 4), "no node type can hold it"),
    ]  # fmt: skip


def test_each_reason_to_wait_is_told_once_with_how_many_wait_for_it() -> None:
    assert report.reasons(PLAN) == ["4 x max_workers is reached", "8 x no node type can hold it", "small waits 60 s"]


def test_people_are_told_how_things_stand() -> None:
    journal = expecting(
        asked("t-1", "t-2"), failures=(FAILURE,), setbacks={"small": Backoff("no", NOW, NOW + 60)},
        quarantine={"h1": Backoff("no route", NOW, NOW + 30), "h2": Backoff("old", NOW - 90, NOW - 60)},
    )  # fmt: skip
    told = report.for_people(
        lives(life()), journal, now=NOW, turn=7, process=(812, 4711), plan=PLAN, never=["x"], breaker="open", problem="blind"
    )
    assert (told.at, told.pid, told.started, told.turn) == (NOW, 812, 4711, 7)
    assert [(node.name, node.stage) for node in told.nodes] == [("c-i-1", "up")]
    assert told.launching == {"small": 2}
    assert (told.failures[0].retry_at, told.failures[0].log) == (NOW + 60, "/log")
    assert told.quarantined == (("h1", "no route", NOW + 30),)
    assert (told.infeasible, told.breaker, told.problem) == (("x",), "open", "blind")
    assert told.waiting == tuple(report.reasons(PLAN))


def test_without_a_plan_nobody_knows_what_waits() -> None:
    assert report.for_people({}, Journal(), now=NOW, turn=1, process=(1, 1), plan=None, never=()).waiting == ()
