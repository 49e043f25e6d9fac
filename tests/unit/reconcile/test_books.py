# SPDX-License-Identifier: Apache-2.0
"""The journal in hand is stored when it is not as it was stored last, and before what it speaks of is done."""

from __future__ import annotations

from rayctl.reconcile.books import FAILURES_S, KEPT_FAILURES, Books
from rayctl.reconcile.journal import Ending, Failure, Journal
from tests.unit.reconcile.desk import NOW, Desk, asked, expecting


def books(journal: Journal | None = None) -> tuple[Books, Desk]:
    desk = Desk(journal)
    return Books(desk), desk


def test_what_did_not_change_is_not_stored_again() -> None:
    kept, desk = books(Journal(ray="r", workers=3))
    kept.write(workers=3)
    kept.drop("setbacks", ["none"])
    kept.commit()
    assert desk.stored == []
    kept.write(workers=4)
    kept.commit()
    kept.commit()
    assert [journal.workers for journal in desk.stored] == [4]


def test_without_a_journal_or_with_one_that_knows_no_ray_it_was_lost() -> None:
    """The numbers that `up` gave may be all that is known."""
    assert books(None)[0].was_lost
    assert books(Journal(sequences={"small": 3}))[0].was_lost
    assert not books(Journal(ray="r"))[0].was_lost


def test_entries_come_one_by_one_and_together_and_go() -> None:
    kept, _ = books()
    kept.put("ending", "a", Ending(1, "x", 1))
    kept.put_all("ending", {"b": Ending(2, "y", 2), "c": Ending(3, "z", 3)})
    kept.put("ending", "a", None)
    kept.drop("ending", ["c", "d"])
    assert kept.journal.ending == {"b": Ending(2, "y", 2)}


def test_what_is_left_of_a_launch_keeps_the_key_of_its_own_first_machine() -> None:
    kept, _ = books(expecting(asked("a", "b")))
    kept.keep("a", asked("a", "b").without(["a"]))
    assert {key: one.key for key, one in kept.journal.asked.items()} == {"b": "b"}
    kept.keep("b", None)
    assert not kept.journal.asked


def test_doubt_grows_and_never_shrinks() -> None:
    kept, _ = books()
    kept.doubt(10.0)
    kept.doubt(5.0)
    assert kept.journal.doubt_until == 10.0


def test_the_last_failures_of_an_hour_are_kept() -> None:
    kept, _ = books()
    for number in range(KEPT_FAILURES + 5):
        kept.failed(Failure("small", str(number), NOW, NOW + number))
    assert [failure.reason for failure in kept.journal.failures][:: KEPT_FAILURES - 1] == ["5", str(KEPT_FAILURES + 4)]
    kept.failed(Failure("small", "late", NOW, NOW + FAILURES_S + KEPT_FAILURES))
    assert [failure.reason for failure in kept.journal.failures] == [str(KEPT_FAILURES + n) for n in (1, 2, 3, 4)] + ["late"]


def test_a_machine_in_trouble_is_tried_later_each_time_and_half_a_minute_at_most() -> None:
    kept, _ = books()
    waits = []
    for _ in range(6):
        kept.trouble("i-1", "no", NOW)
        waits.append(kept.journal.troubles["i-1"].retry_at - NOW)
    assert waits == [2, 4, 8, 16, 30, 30]
    assert (kept.times("i-1"), kept.times("i-2")) == (6, 0)
    assert not kept.may_try("i-1", NOW + 29)
    assert kept.may_try("i-1", NOW + 30)
    assert kept.may_try("i-2", NOW)


def test_silence_and_what_comes_after_it_are_counted_apart() -> None:
    kept, _ = books()
    assert [kept.trouble("i-1", "no route", NOW, silent=True) for _ in range(3)] == [1, 2, 3]
    assert kept.trouble("i-1", "exit code 1", NOW) == 1


def test_more_of_what_was_counted_is_not_counted_again() -> None:
    kept, _ = books()
    kept.trouble("i-1", "Ray has lost it", NOW)
    assert kept.trouble("i-1", "and could not be started", NOW + 9, counted=False) == 1
    assert kept.journal.troubles["i-1"].reason == "and could not be started"


def test_a_host_that_fails_again_is_left_alone_for_longer() -> None:
    kept, _ = books()
    kept.quarantine("h", "no", NOW)
    assert kept.barred(NOW + 29) == {"h"}
    assert kept.barred(NOW + 30) == set()
    kept.quarantine("h", "no", NOW + 31)
    assert kept.barred(NOW + 90) == {"h"}


def test_a_host_that_is_not_done_with_its_last_life_is_left_alone() -> None:
    kept, _ = books(Journal(ray="r", ending={"h": Ending(NOW, "idle", NOW)}))
    assert kept.barred(NOW + 1e6) == {"h"}
