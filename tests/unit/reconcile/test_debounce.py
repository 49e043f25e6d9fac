# SPDX-License-Identifier: Apache-2.0
"""Queued work counts when it has been seen for a second."""

from __future__ import annotations

import pytest

from rayctl.gcs.view import Demand, LabelRule
from rayctl.reconcile.debounce import WINDOW_S, Debounce


def work(count: int, cpus: float = 1.0) -> Demand:
    return Demand({"CPU": cpus}, count)


def looks(debounce: Debounce, *seen: tuple[float, tuple[Demand, ...]]) -> tuple[Demand, ...]:
    """What counts after these looks."""
    found: tuple[Demand, ...] = ()
    for now, pending in seen:
        found = debounce.steady(pending, now)
    return found


def test_at_first_sight_nothing_counts() -> None:
    assert looks(Debounce(), (0.0, (work(5),))) == ()


def test_what_was_seen_for_a_second_counts() -> None:
    assert looks(Debounce(), (0.0, (work(5),)), (0.5, (work(5),)), (1.0, (work(5),))) == (work(5),)


def test_of_each_shape_the_least_of_the_window_counts() -> None:
    seen = (0.0, (work(9), work(2, 4.0))), (0.5, (work(4), work(3, 4.0))), (1.0, (work(7), work(8, 4.0)))
    assert looks(Debounce(), *seen) == (work(4), work(2, 4.0))


def test_what_was_away_in_between_does_not_count() -> None:
    assert looks(Debounce(), (0.0, (work(5),)), (0.5, ()), (1.0, (work(5),))) == ()


def test_what_was_before_the_window_is_forgotten() -> None:
    assert looks(Debounce(), (0.0, (work(1),)), (1.0, (work(5),)), (1.5, (work(5),)), (2.0, (work(5),))) == (work(5),)


def test_turns_that_are_far_apart_are_enough() -> None:
    assert looks(Debounce(), (0.0, (work(5),)), (30.0, (work(4),))) == (work(4),)


def test_work_with_other_labels_is_other_work() -> None:
    wanted = Demand({"CPU": 1.0}, 2, ((LabelRule("zone", ("a",)),),))
    assert looks(Debounce(), (0.0, (work(2),)), (1.0, (wanted,))) == ()


def test_it_says_when_something_will_count() -> None:
    debounce = Debounce()
    assert debounce.ripe_in(0.0) is None
    debounce.steady((work(1),), 0.0)
    assert debounce.ripe_in(0.25) == pytest.approx(0.75)
    debounce.steady((work(1),), 1.0)
    assert debounce.ripe_in(1.0) is None


def test_another_head_is_looked_at_anew() -> None:
    debounce = Debounce()
    debounce.steady((work(5),), 0.0)
    debounce.forget()
    assert debounce.steady((work(5),), 1.0) == ()


def test_a_clock_that_is_set_back_costs_a_second_not_a_minute() -> None:
    debounce = Debounce()
    looks(debounce, (100.0, (work(5),)), (101.0, (work(5),)))
    assert looks(debounce, (41.0, (work(5),)), (41.0 + WINDOW_S, (work(5),))) == (work(5),)
