# SPDX-License-Identifier: Apache-2.0
"""One line in authorized_keys, and nothing else in it changes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rayctl.node import access
from rayctl.node.state import NodeError

KEY, OTHER, MARKER = "ssh-ed25519 AAAAC3Nz+/x=", "ssh-ed25519 BBBB", "rayctl:0b1c-22"
LINE = f"no-agent-forwarding,no-X11-forwarding,no-pty {KEY} {MARKER}\n"
THEIRS = "# mine\nssh-rsa AAAA me@laptop\nssh-ed25519 CCCC rayctl:another\nssh-rsa DDDD the rayctl:0b1c-22 of old\n"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path / ".ssh" / "authorized_keys"


def given(file: Path, text: str, mode: int = 0o600) -> None:
    file.parent.mkdir(mode=0o700)
    file.write_text(text)
    file.chmod(mode)


def test_the_folder_and_the_file_are_made_for_the_user_alone(file: Path) -> None:
    assert access.authorize(KEY, MARKER)
    assert file.read_text() == LINE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_second_time_changes_nothing(file: Path) -> None:
    access.authorize(KEY, MARKER)
    before = file.stat().st_ino
    assert not access.authorize(KEY, MARKER)
    assert file.stat().st_ino == before


@pytest.mark.parametrize("text", [THEIRS, THEIRS.rstrip("\n"), "", "\n\n"])
def test_other_lines_stay_byte_for_byte_and_removal_restores_the_file(file: Path, text: str) -> None:
    given(file, text, 0o644)
    assert access.authorize(KEY, MARKER)
    assert file.read_text() == text + ("\n" if text and not text.endswith("\n") else "") + LINE
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert access.withdraw(MARKER)
    assert file.read_text().rstrip("\n") == text.rstrip("\n")
    assert not access.withdraw(MARKER)


def test_a_new_key_takes_the_place_of_the_old_one_and_of_copies(file: Path) -> None:
    given(file, f"{LINE}ssh-rsa AAAA me\n{LINE}")
    assert access.authorize(OTHER, MARKER)
    assert file.read_text() == f"ssh-rsa AAAA me\n{LINE.replace(KEY, OTHER)}"


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    file.parent.mkdir()
    (tmp_path / "real").write_text("ssh-rsa AAAA me\n")
    file.symlink_to(tmp_path / "real")
    access.authorize(KEY, MARKER)
    assert file.is_symlink()
    assert (tmp_path / "real").read_text().endswith(LINE)


def test_where_nothing_is_nothing_is_made_by_a_withdrawal(file: Path) -> None:
    assert not access.withdraw(MARKER)
    assert not file.parent.exists()


@pytest.mark.parametrize(
    ("key", "marker"), [("ssh-rsa AAAA\nssh-rsa B", MARKER), ('x",command="id ssh-rsa A', MARKER), (KEY, "me")]
)
def test_what_is_no_key_of_rayctls_is_refused(file: Path, key: str, marker: str) -> None:
    with pytest.raises(NodeError, match="no public key"):
        access.authorize(key, marker)
    assert not file.exists()


def test_a_file_that_cannot_be_written_is_told(file: Path) -> None:
    file.parent.mkdir()
    file.mkdir()
    with pytest.raises(NodeError, match="cannot change"):
        access.authorize(KEY, MARKER)
    assert os.listdir(file.parent) == ["authorized_keys"]
