# SPDX-License-Identifier: Apache-2.0
"""The cluster's secret: made once, private, checked, never told."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rayctl.errors import StateRefused
from rayctl.state import private, token


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "demo" / "token"


def test_token_is_made_once_and_lies_alone_in_its_private_file(path: Path) -> None:
    assert token.read(path) is None
    made = token.ensure(path)
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert token.ensure(path) == token.read(path) == path.read_text() == made
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_clusters_have_two_tokens(path: Path) -> None:
    assert token.ensure(path) != token.ensure(path.with_name("other"))


def test_racing_processes_get_the_same_token(path: Path, children) -> None:
    program = "import sys, pathlib; from rayctl.state import token; print(token.ensure(pathlib.Path(sys.argv[1])))"
    racers = [children.start(program, path) for _ in range(3)]
    assert {racer.communicate(timeout=60)[0] for racer in racers} == {f"{token.read(path)}\n"}


def test_line_end_that_an_editor_left_does_no_harm(path: Path) -> None:
    private.store(path, b"ab" * 32 + b"\n")
    assert token.read(path) == "ab" * 32


@pytest.mark.parametrize("content", [b"", b"geheim", b"AB" * 32, b"ab" * 33, b"\xff" * 64])
def test_file_without_a_token_is_refused_and_not_quoted(path: Path, content: bytes) -> None:
    private.store(path, content)
    with pytest.raises(StateRefused, match=f"{path} holds no token") as caught:
        token.ensure(path)
    assert "geheim" not in caught.value.message + caught.value.hint


def test_planted_token_is_refused(path: Path, give_away: Callable[[Path], None]) -> None:
    token.ensure(path)
    give_away(path)
    with pytest.raises(StateRefused, match="belongs to"):
        token.ensure(path)
