# SPDX-License-Identifier: Apache-2.0
"""Where things lie on a controller."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayctl.errors import UsageError
from rayctl.state import paths

ROOT = Path("/home/anna/.local/state/rayctl")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"RAYCTL_HOME": "/srv/ray", "XDG_STATE_HOME": "/xdg"}, "/srv/ray"),
        ({"XDG_STATE_HOME": "/xdg"}, "/xdg/rayctl"),
        ({}, "/home/anna/.local/state/rayctl"),
        ({"RAYCTL_HOME": "~/ray"}, "/home/anna/ray"),
        ({"RAYCTL_HOME": "", "XDG_STATE_HOME": ""}, "/home/anna/.local/state/rayctl"),
    ],
)
def test_home_is_the_first_that_is_set(environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert paths.home(environ) == Path(expected)


def test_relative_home_is_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert paths.home({"RAYCTL_HOME": "state"}) == tmp_path / "state"


def test_relative_xdg_folder_is_ignored_as_its_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert paths.home({"XDG_STATE_HOME": "state"}) == ROOT


def test_user_without_a_home_is_told_what_to_set() -> None:
    with pytest.raises(UsageError) as caught:
        paths.home({"RAYCTL_HOME": "~nobody-has-this-name/ray"})
    assert "RAYCTL_HOME" in caught.value.hint


def test_everything_lies_under_the_home() -> None:
    assert paths.controller_file(ROOT) == ROOT / "controller.json"
    assert paths.record_file(ROOT, "demo") == ROOT / "clusters/demo/cluster.json"
    assert paths.lock_file(ROOT, "demo") == ROOT / "clusters/demo/lock"
    assert paths.token_file(ROOT, "demo") == ROOT / "clusters/demo/token"
    assert paths.embedded_dir(ROOT, "demo") == ROOT / "embedded/demo"
    assert paths.run_log(ROOT, "demo", "up", started=0.0, pid=7) == ROOT / "runs/demo/up/19700101T000000Z-7.jsonl"


def test_run_logs_sort_by_time() -> None:
    started = [0.0, 59.0, 3600.0, 1e9, 2e9]
    names = [paths.run_log(ROOT, "demo", "up", started=ts, pid=9).name for ts in started]
    assert names == sorted(names)


@pytest.mark.parametrize("name", ["", ".", "..", "../other", "a/b", "/etc", ".hidden", "a\0b", "a\n", "-rf", "x" * 129])
def test_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be used as a name"):
        paths.cluster_dir(ROOT, name)
