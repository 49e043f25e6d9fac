# SPDX-License-Identifier: Apache-2.0
"""The script that takes the documents' pictures shows what a terminal shows, and the pictures fetch nothing."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tool

ROOT = Path(__file__).parents[2]
pictures = tool.load("pictures")


def words(svg: str) -> str:
    """What a picture says, line by line."""
    found = re.findall(r'<text [^>]*? y="([\d.]+)"[^>]*>([^<]*)', svg)
    lines: dict[str, str] = {}
    for line, text in found:
        lines[line] = lines.get(line, "") + text.strip().replace("&#160;", " ")
    return "\n".join(lines.values())


def test_a_picture_is_what_a_person_sees_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "PICTURES", tmp_path)
    terminal = pictures.Terminal(tmp_path)
    lines = (r"printf '40 %%\r\033[31m100 %%\033[0m done\n'", "read -p 'Go on? [y/N]: ' it", "echo it is $it")
    (tmp_path / "say").write_text("\n".join(lines))
    terminal.run("bash", "say", answer="y")
    terminal.picture("one", "a title")
    svg = (tmp_path / "one.svg").read_text()
    assert "a title" in svg.replace("&#160;", " ")
    assert words(svg).splitlines()[-4:] == ["$ bash say", "100 % done", "Go on? [y/N]: y", "it is y"]


@pytest.mark.parametrize("name", ["up-under-way", "up-again", "failure", "status"])
def test_the_pictures_of_the_readme_fetch_nothing(name: str) -> None:
    assert f"docs/pictures/{name}.svg" in (ROOT / "README.md").read_text()
    svg = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text()
    assert "rayctl" in words(svg)
    assert not re.search(r"url\(.?http|href|@import|<script|<image", svg)
