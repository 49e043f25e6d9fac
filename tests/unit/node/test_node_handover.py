# SPDX-License-Identifier: Apache-2.0
"""The token and the variables that a run leaves: for Ray and for people who log in, and for nobody else."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rayctl.node import handover, state
from rayctl.node.state import NodeError

SECRET = "c0ffee" * 10


def plan(state_dir: str, **env: str) -> dict[str, Any]:
    """As much of a plan as is needed."""
    return {"state_dir": state_dir, "env": {}, "ray": None, "handover": {"env": env}}


def test_values_that_begin_with_the_folder_mean_it_as_it_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    given = {"A": "{state_dir}/token", "B": "x{state_dir}", "C": "{state_dir}"}
    wanted = {"A": "/home/anna/.rayctl/demo/token", "B": "x{state_dir}", "C": "/home/anna/.rayctl/demo"}
    found = handover.located({**plan("~/.rayctl/demo", **given), "env": given, "ray": {"env": given, "kind": "head"}})
    assert found["env"] == found["ray"]["env"] == found["handover"]["env"] == wanted
    assert found["ray"]["kind"] == "head"


def test_a_plan_without_ray_or_handover_stays_as_it_is() -> None:
    bare = {"state_dir": "/s", "env": {"A": "b"}, "ray": None}
    assert handover.located(bare) == bare


def test_the_token_is_written_for_us_alone_and_read_back(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    assert handover.read_token(str(folder)) == ""
    handover.write_token(str(folder), SECRET)
    assert handover.read_token(str(folder)) == SECRET
    assert [path.stat().st_mode & 0o7777 for path in (folder, folder / "token")] == [0o700, 0o600]


def test_the_same_token_is_left_alone(tmp_path: Path) -> None:
    handover.write_token(str(tmp_path), SECRET)
    before = (tmp_path / "token").stat().st_ino
    handover.write_token(str(tmp_path), SECRET)
    assert (tmp_path / "token").stat().st_ino == before
    handover.write_token(str(tmp_path), "new")
    assert (tmp_path / "token").read_text() == "new"


@pytest.mark.parametrize("use", [handover.read_token, lambda folder: handover.write_token(folder, SECRET)])
def test_a_token_in_a_folder_that_others_can_write_to_is_refused(tmp_path: Path, use: Any) -> None:
    (tmp_path / "token").write_text("theirs")
    tmp_path.chmod(0o777)
    with pytest.raises(NodeError, match="can be written by others"):
        use(str(tmp_path))


@pytest.mark.parametrize("value", ["plain", "it's", "a b  c", "$HOME `id` \\", "two\nlines", "", "-n", "é"])
@pytest.mark.parametrize("shell", [["/bin/sh"], ["bash"], ["bash", "--posix"]])
def test_a_shell_reads_the_variables_as_they_were_meant(tmp_path: Path, shell: list[str], value: str) -> None:
    handover.write_variables(plan(str(tmp_path), X=value, RAY_AUTH_MODE="token"), "10.0.0.1", 6379)
    show = f'. {tmp_path}/env; printf "%s|" "$X" "$RAY_ADDRESS"; env | grep -c "^RAY_AUTH_MODE=token$"'
    done = subprocess.run([*shell, "-c", show], capture_output=True, text=True, check=True, env={"PATH": os.defpath})
    assert done.stdout == f"{value}|10.0.0.1:6379|1\n"
    assert (tmp_path / "env").stat().st_mode & 0o7777 == 0o600


def test_a_name_that_is_none_does_no_harm(tmp_path: Path) -> None:
    handover.write_variables(plan(str(tmp_path), **{"A;id": "x", "2": "x", "B": "y"}), "h", 1)
    assert (tmp_path / "env").read_text() == "export B='y'\nexport RAY_ADDRESS='h:1'\n"


def test_without_a_handover_nothing_is_written(tmp_path: Path) -> None:
    handover.write_variables({"state_dir": str(tmp_path)}, "h", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_its_place_is_refused(tmp_path: Path) -> None:
    state.make_private(str(tmp_path))
    (tmp_path / "token").symlink_to("/etc/hostname")
    with pytest.raises(NodeError, match=r"cannot read .*/token"):
        handover.write_token(str(tmp_path), SECRET)
