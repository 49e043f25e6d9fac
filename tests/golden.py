# SPDX-License-Identifier: Apache-2.0
"""Texts that are kept to be compared word by word: what differs from run to run is levelled.

When a wording is changed on purpose: `RAYCTL_WRITE_GOLDEN=1 pytest tests`, and look at the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

FOLDER = Path(__file__).parent / "ux" / "golden"
LEVEL = (
    (r"\d\d:\d\d:\d\d ", "HH:MM:SS "),
    (r"\b\d+(\.\d+)? s\b", "N s"),
    (r"([a-z]+-\w+-\d+)\.[0-9a-f]{8}\b", r"\1.ID"),
    (r"127\.0\.0\.\d+:\d+", "ADDRESS:PORT"),
    (r"127\.0\.0\.\d+", "ADDRESS"),
    (r"state/[0-9a-f]{16}", "state/MACHINE"),
    (r"^((?:2> )?HH:MM:SS \S+) +", r"\1  "),  # as wide as the longest name so far
)


def levelled(text: str, more: Iterable[tuple[str, str]] = ()) -> str:
    """The text without what differs from run to run; `more` patterns come first."""
    for pattern, word in (*more, *LEVEL):
        text = re.sub(pattern, word, text, flags=re.MULTILINE)
    # what padding the levelled words had is not theirs
    text = re.sub(r" +(?=  # )|(?<=ADDRESS) +", " ", text)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


def at_work_sorted(text: str, nodes: str = r"\S+-\w+-\d") -> str:
    """Lines that nodes at work send come in any order: sorted by node. `nodes` is how names of nodes begin, a pattern."""
    lines = text.splitlines(keepends=True)
    at_work = [n for n, line in enumerate(lines) if re.match(rf"\d\d:\d\d:\d\d {nodes}", line)]
    for n, line in zip(at_work, sorted((lines[n] for n in at_work), key=lambda line: line[9:].split()[0]), strict=True):
        lines[n] = line
    return "".join(lines)


def compare(name: str, text: str) -> None:
    """Compare with what is kept under this name."""
    path = FOLDER / f"{name}.txt"
    if os.environ.get("RAYCTL_WRITE_GOLDEN"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
