# SPDX-License-Identifier: Apache-2.0
"""How often `status` is to be shown, as the command line says it; and tables that fit or are none."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from rich.text import Text

from rayctl.cli.columns import annotated, columns
from rayctl.cli.look import status


@pytest.mark.parametrize(
    ("words", "seconds"),
    [
        (["c.yaml"], None),
        (["--watch", "c.yaml"], 2.0),
        (["c.yaml", "--watch"], 2.0),
        (["--watch", "--probe", "c.yaml"], 2.0),
        (["--watch", "5", "c.yaml"], 5.0),
        (["c.yaml", "--watch", "0.5"], 0.5),
        (["--watch=.5", "c.yaml"], 0.5),
    ],
)
def test_watch_takes_a_number_or_none(words: list[str], seconds: float | None) -> None:
    found = status.make_context("status", words).params
    assert (found["every_s"], found["cluster_file"]) == (seconds, Path("c.yaml"))


@pytest.mark.parametrize("number", ["0", "-1", "0.01"])
def test_too_often_is_bad_usage(number: str) -> None:
    with pytest.raises(click.BadParameter):
        status.make_context("status", ["c.yaml", "--watch", number])


ROWS = [["NAME", "N"], ["a", "10"], ["long", "9"]]


def plain(lines: list[Text] | None) -> list[str]:
    return [line.plain for line in lines or ()]


def test_columns_are_as_wide_as_what_is_in_them() -> None:
    assert plain(columns(ROWS, 80)) == ["NAME  N", "a     10", "long  9"]
    assert plain(columns(ROWS, 80, right=[1])) == ["NAME   N", "a     10", "long   9"]
    assert plain(columns([["KIND", "X"], ["漢字", "y"]], 80)) == ["KIND  X", "漢字  y"]


def test_a_table_that_is_too_wide_is_none() -> None:
    assert columns(ROWS, 8)
    assert columns(ROWS, 7) is None


def test_cells_keep_their_style_and_are_no_markup() -> None:
    (_, line) = columns([["A", "B"], [Text("x", style="red"), "[red]y"]], 80) or ()
    assert line.plain == "x  [red]y"
    assert [(span.start, span.end, span.style) for span in line.spans] == [(0, 1, "red")]


def test_notes_stand_beside_their_rows_or_below_them() -> None:
    heading, *rows = ROWS
    assert plain(annotated(heading, rows, "NOTE", ["", "well"], 80)) == ["NAME  N   NOTE", "a     10  -", "long  9   well"]
    assert plain(annotated(heading, rows, "NOTE", ["", "well"], 10)) == ["NAME  N", "a     10", "long  9", "  well"]
    assert plain(annotated(heading, rows, "NOTE", ["", ""], 80)) == ["NAME  N", "a     10", "long  9"]
    assert annotated(heading, rows, "NOTE", ["", "well"], 5) is None
