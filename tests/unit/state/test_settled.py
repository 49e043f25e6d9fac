# SPDX-License-Identifier: Apache-2.0
"""A file counts as settled for as long as it, and the flags, are as they were. What cannot be told is not settled."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayctl.state import settled


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text("cluster_name: demo\n")
    return tmp_path / "c.yaml"


def test_settled_until_the_file_or_a_flag_changes(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    assert not settled.is_settled(home, file, {"limit": None})
    settled.settle(home, file, {"limit": None})
    assert settled.is_settled(home, file, {"limit": None})
    assert not settled.is_settled(home, file, {"limit": "w1"})
    file.write_text("cluster_name: demo2\n")
    assert not settled.is_settled(home, file, {"limit": None})


def test_unsettled_is_as_if_it_never_was(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    settled.unsettle(home, file)
    settled.settle(home, file, {})
    settled.unsettle(home, file)
    assert not settled.is_settled(home, file, {})


def test_two_files_of_one_content_are_two(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_bytes(file.read_bytes())
    settled.settle(tmp_path / "home", file, {})
    assert not settled.is_settled(tmp_path / "home", other, {})


def test_a_relative_path_and_a_link_are_the_same_file(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled.settle(tmp_path / "home", file, {})
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.yaml").symlink_to(file)
    assert settled.is_settled(tmp_path / "home", Path("c.yaml"), {})
    assert settled.is_settled(tmp_path / "home", Path("link.yaml"), {})


def test_a_hint_never_stands_in_the_way(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    settled.settle(home, file, {})
    settled.unsettle(home, file)
    assert not settled.is_settled(home, file, {})
    assert not settled.is_settled(tmp_path / "h", tmp_path / "gone.yaml", {})
    settled.settle(tmp_path / "h", tmp_path / "gone.yaml", {})


def test_what_others_could_have_written_is_not_believed(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    settled.settle(home, file, {})
    (written,) = (home / "settled").iterdir()
    written.chmod(0o666)
    assert not settled.is_settled(home, file, {})
