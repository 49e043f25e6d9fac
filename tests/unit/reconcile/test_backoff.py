# SPDX-License-Identifier: Apache-2.0
"""What failed is left alone, longer each time."""

from __future__ import annotations

import pytest

from rayctl.errors import Category
from rayctl.reconcile.backoff import FIRST_S, LONGEST_S, Backoff, after


def waits(times: int, first_s: float) -> list[float]:
    """How long each of so many failures is left alone, each at the end of the wait before."""
    found, last = [], None
    now = 0.0
    for _ in range(times):
        last = after(last, "no", now, first_s)
        found.append(last.left(now))
        now = last.until
    return found


def test_each_wait_is_twice_the_one_before_up_to_half_an_hour() -> None:
    assert waits(7, 60.0) == [60, 120, 240, 480, 960, LONGEST_S, LONGEST_S]


def test_a_thousand_failures_wait_no_longer() -> None:
    assert waits(1000, 2.0)[-1] == LONGEST_S


@pytest.mark.parametrize("category", Category)
def test_every_kind_of_refusal_has_its_first_wait(category: Category) -> None:
    assert 0 < FIRST_S[category] <= LONGEST_S


def test_a_failure_within_the_wait_is_the_same_one_told_again() -> None:
    first = after(None, "no capacity", 100.0, 60.0)
    again = after(first, "none at all", 159.0, 60.0)
    assert again == Backoff("none at all", 100.0, 160.0, 1)


def test_what_is_over_has_nothing_left() -> None:
    held = Backoff("no", 0.0, 60.0)
    assert (held.left(15.0), held.left(60.0), held.left(1e6)) == (45.0, 0.0, 0.0)
