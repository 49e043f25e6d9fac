# SPDX-License-Identifier: Apache-2.0
"""Durations and commands in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.events.wording import elapsed, shorten


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.2, "0.0 s"),
        (0.42, "0.4 s"),
        (0.97, "1.0 s"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 min 00 s"),
        (185, "3 min 05 s"),
        (7800, "2 h 10 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_duration_is_told_as_people_do(seconds: float, said: str) -> None:
    assert elapsed(seconds) == said


@pytest.mark.parametrize(
    ("command", "said"),
    [("", ""), (" \n ", ""), ("ls", "ls"), ("\n  ls -l \n", "ls -l"), ("a\nb", "a …"), ("abcdefghijk", "abcdefgh …")],
)
def test_command_becomes_one_line(command: str, said: str) -> None:
    assert shorten(command, 10) == said


@given(st.text(), st.integers(10, 80))
def test_shortened_command_is_one_line_that_fits(command: str, width: int) -> None:
    said = shorten(command, width)
    assert len(said) <= width
    assert len(said.splitlines()) <= 1
