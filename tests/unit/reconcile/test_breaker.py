# SPDX-License-Identifier: Apache-2.0
"""Where many nodes are unwell at once, none is ended for it."""

from __future__ import annotations

import pytest

from rayctl.reconcile.breaker import Breaker


@pytest.mark.parametrize(
    ("ill", "workers", "opens"),
    [(0, 0, False), (2, 2, False), (3, 3, True), (3, 14, True), (3, 15, False), (20, 100, False), (21, 100, True)],
)
def test_more_than_a_fifth_and_three_at_least_open_it(ill: int, workers: int, opens: bool) -> None:
    assert Breaker().after(ill, workers).after(ill, workers).open is opens


def test_one_bad_turn_makes_it_suspicious_and_two_open_it() -> None:
    once = Breaker().after(5, 5)
    assert (once.suspicious, once.open) == (True, False)
    assert once.after(5, 5).open


def test_one_good_turn_closes_it_however_long_it_was_open() -> None:
    breaker = Breaker()
    for _ in range(100):
        breaker = breaker.after(5, 5)
    assert breaker.after(1, 5) == Breaker()
