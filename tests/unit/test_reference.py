# SPDX-License-Identifier: Apache-2.0
"""The parts of the documentation that are made from the code are what the code says now."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tool

from rayctl.config.load import parse

ROOT = Path(__file__).parents[2]
write_reference = tool.load("write_reference")
LINK = re.compile(r"\]\(([^)\s]*?)(?:#([^)\s]*))?\)")


@pytest.mark.parametrize(("page", "text"), [(page, text) for page, text in write_reference.pages().items()], ids=lambda x: "")
def test_reference_is_what_the_code_says(page: Path, text: str) -> None:
    assert page.read_text() == text, "run tools/write_reference.py"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        if "://" in path:
            continue
        target = (page.parent / path) if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_file_that_is_shown_is_a_good_one() -> None:
    (example,) = re.findall(r"^```yaml\n(.*?)^```$", (ROOT / "docs" / "cluster-file.md").read_text(), re.M | re.S)
    assert not parse(example, "the example").warnings
