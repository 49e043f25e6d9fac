# SPDX-License-Identifier: Apache-2.0
"""When Ansible is started before it is known that there is something to play, and what an `up` leaves for the next."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from rayctl.errors import NodesFailed, StateRefused
from rayctl.operations import ahead
from rayctl.provision import ansible_process


class Process:
    """Stands in for a loading Ansible."""

    made: ClassVar[list[Process]] = []
    refused: Exception | None = None

    def __init__(self) -> None:
        if self.refused is not None:
            raise self.refused
        self.closed = False
        self.made.append(self)

    def close(self) -> None:
        self.closed = True


@pytest.fixture(autouse=True)
def processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Process]:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(Process, "made", [])
    monkeypatch.setattr(ansible_process, "AnsibleProcess", Process)
    return Process.made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "c.yaml").write_text("cluster_name: demo\n")
    return tmp_path / "c.yaml"


def up(file: Path, *, forced: bool = False, check: bool = False, problem: Exception | None = None) -> bool:
    """One `up`, and whether Ansible was loading beside it."""
    with ahead.of_up(file, {}, forced=forced, check=check) as ansible:
        if problem is not None:
            raise problem
    return ansible is not None


@pytest.fixture(autouse=True)
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(mode=0o700)
    return tmp_path / "home"


def test_a_file_that_was_brought_about_needs_no_ansible_until_it_changes(file: Path) -> None:
    assert [up(file), up(file), up(file, forced=True), up(file)] == [True, False, True, False]
    file.write_text("cluster_name: other\n")
    assert [up(file), up(file)] == [True, False]


def test_an_up_that_failed_is_expected_to_play_again(file: Path) -> None:
    up(file)
    with pytest.raises(NodesFailed):
        up(file, problem=NodesFailed("1 node failed", ()))
    assert up(file)


def test_a_check_changes_nothing_about_it(file: Path) -> None:
    assert [up(file, check=True), up(file, check=True), up(file)] == [True, True, True]
    with pytest.raises(NodesFailed):
        up(file, check=True, problem=NodesFailed("1 node failed", ()))
    assert not up(file)


def test_it_is_ended_with_the_up_whatever_comes(file: Path, processes: list[Process]) -> None:
    up(file)
    with pytest.raises(KeyboardInterrupt), ahead.of_up(file, {}, forced=True, check=False):
        raise KeyboardInterrupt
    assert [process.closed for process in processes] == [True, True]


def test_nothing_is_written_ahead_where_rayctl_was_never_used(file: Path, home: Path) -> None:
    home.rmdir()
    with ahead.of_up(file, {}, forced=True, check=False) as ansible:
        assert ansible is None
        assert not home.exists()


def test_a_file_that_is_not_there_starts_nothing(tmp_path: Path) -> None:
    assert not up(tmp_path / "gone.yaml", forced=True)


@pytest.mark.parametrize("problem", [OSError("no space left"), StateRefused("open to others")])
def test_what_keeps_it_from_starting_is_told_where_it_is_needed(
    file: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    monkeypatch.setattr(Process, "refused", problem)
    assert not up(file)
