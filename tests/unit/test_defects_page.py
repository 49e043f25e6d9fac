# SPDX-License-Identifier: Apache-2.0
"""docs/ray-up-defects.md names tests that exist, and shows the transcripts that these compare with.

After a change of those: `RAYCTL_WRITE_GOLDEN=1 pytest tests/unit/test_defects_page.py`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import golden

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "ray-up-defects.md"
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
LINKED = re.compile(r"\[[^\]]*\]\(#(d?\d+)\)")
HEADING = "## Side by side\n"
LEGEND = """\
A `...` stands for lines of `ray` that are left out, `[1]` for an exit code; lines with a `#` tell what was found on the hosts.
H1 is the head's address, H2 and H3 are the workers'.
"""


def transcripts() -> dict[str, str]:
    """By the word that names them, in the order of the page: by number."""
    found = {path.stem: path.read_text() for path in (golden.FOLDER / "defects").glob("*.txt")}
    return dict(sorted(found.items(), key=lambda item: int(item[0].lstrip("D"))))


def shown() -> str:
    parts = [f"### {name if name[0] == 'D' else f'#{name}'}\n\n```console\n{text}```\n" for name, text in transcripts().items()]
    return "\n".join([HEADING, LEGEND, *parts])


def test_each_row_is_shown_by_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 15
    for row in rows:
        named = NAMED.findall(row)
        assert named, row
        for file, name in named:
            assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_each_transcript_is_shown_as_it_is_kept() -> None:
    above, _, _ = PAGE.read_text().partition(HEADING)
    if os.environ.get("RAYCTL_WRITE_GOLDEN"):
        PAGE.write_text(above + shown())
    assert PAGE.read_text() == above + shown()
    assert set(LINKED.findall(above)) == {name.lower() for name in transcripts()}
