# SPDX-License-Identifier: Apache-2.0
"""Tables of plain columns: cheap by the ten thousand rows, and not drawn at all where they do not fit."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rich.cells import cell_len
from rich.text import Text

GAP = 2

Cell = str | Text
"""A text is never taken for markup, for commands are full of brackets; as a `Text` it has one style."""


def columns(rows: Sequence[Sequence[Cell]], width: int, *, right: Collection[int] = ()) -> list[Text] | None:
    """The rows under each other, the first as heading; None where they are wider than `width`.

    The columns with the numbers in `right` are set flush right.
    """
    widths = [max(cell_len(_plain(cell)) for cell in column) for column in zip(*rows, strict=True)]
    if sum(widths) + GAP * (len(widths) - 1) > width:
        return None
    lines = [_line(row, widths, right) for row in rows]
    lines[0].stylize("bold")
    return lines


def annotated(
    heading: Sequence[Cell], rows: Sequence[Sequence[Cell]], title: str, notes: Sequence[str], width: int
) -> list[Text] | None:
    """A table with a note on some rows: in a last column, where the width is less than that on a line of their own."""
    beside = [[*row, note or "-"] for row, note in zip(rows, notes, strict=True)]
    if any(notes) and (found := columns([[*heading, title], *beside], width)):
        return found
    if (found := columns([heading, *rows], width)) is None:
        return None
    below = ([line, *([Text(f"  {note}")] if note else [])] for line, note in zip(found[1:], notes, strict=True))
    return [found[0], *(line for lines in below for line in lines)]


def _line(row: Sequence[Cell], widths: Sequence[int], right: Collection[int]) -> Text:
    plain, spans = "", []
    for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
        text = _plain(cell)
        blank = " " * (width - cell_len(text))
        begin = len(plain) + (len(blank) if number in right else 0)
        if isinstance(cell, Text):
            spans.append((cell.style, begin, begin + len(text)))
        plain += f"{blank}{text}" if number in right else f"{text}{blank}"
        plain += " " * GAP
    line = Text(plain.rstrip())
    for style, begin, end in spans:
        line.stylize(style, begin, end)
    return line


def _plain(cell: Cell) -> str:
    return cell.plain if isinstance(cell, Text) else cell
