# SPDX-License-Identifier: Apache-2.0
"""Mount digests are taken once: for all processes of a run, and for later runs as long as a tree looks the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from rayctl.provision import digests
from rayctl.provision.mounts import Mount


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree that has been quiet for long."""
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(digests.time, "time", lambda: tmp_path.stat().st_ctime + 1000)
    root = tmp_path / "source"
    root.mkdir()
    (root / "data").write_text("one")
    return root


def cache(home: Path) -> Path:
    return home / "cache" / "mounts.json"


def test_without_mounts_nothing_is_stored(tmp_path: Path, tree: Path) -> None:
    assert digests.digests_of(()) == {}
    assert not (tmp_path / "home").exists()


def test_a_tree_that_looks_the_same_is_not_read_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = digests.digests_of([Mount("~/t", tree)])
    monkeypatch.setattr("rayctl.provision.mounts._sha256", lambda path: pytest.fail(f"{path} was read"))
    assert digests.digests_of([Mount("~/t", tree)]) == first


def test_a_changed_tree_is_read_again(tree: Path) -> None:
    first = digests.digests_of([Mount("~/t", tree)])
    (tree / "data").write_text("two")
    assert digests.digests_of([Mount("~/t", tree)]) != first


def test_a_tree_in_motion_is_not_remembered(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file written twice within one tick of the clock looks the same after the second time."""
    monkeypatch.setattr(digests.time, "time", lambda: (tree / "data").stat().st_ctime + 0.5)
    digests.digests_of([Mount("~/t", tree)])
    assert not cache(tmp_path / "home").exists()


@pytest.mark.parametrize("content", ["{", '{"version": 99, "kind": "mount-digests"}', '{"version": 1, "kind": "x"}'])
def test_a_memory_that_cannot_be_used_costs_time_only(content: str, tree: Path, tmp_path: Path) -> None:
    expected = {"~/t": Mount("~/t", tree).digest}
    cache(tmp_path / "home").parent.mkdir(parents=True, mode=0o700)
    cache(tmp_path / "home").write_text(content)
    cache(tmp_path / "home").chmod(0o600)
    assert digests.digests_of([Mount("~/t", tree)]) == expected


def test_a_home_that_takes_no_files_costs_time_only(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCTL_HOME", "/dev/null/home")
    assert digests.digests_of([Mount("~/t", tree)]) == {"~/t": Mount("~/t", tree).digest}


def test_only_the_latest_trees_are_remembered(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "KEPT", 3)
    for number in range(5):
        (tree / "data").write_text(str(number))
        latest = digests.digests_of([Mount("~/t", tree)])
    kept = json.loads(cache(tmp_path / "home").read_text())["trees"]
    assert len(kept) == 3
    assert list(kept.values())[-1] == latest["~/t"]


def test_processes_of_one_run_share_one_reading(tree: Path, tmp_path: Path) -> None:
    program = """
import sys
from pathlib import Path
from rayctl.provision import digests, mounts
read = mounts._sha256
def told(path):
    with open(sys.argv[2], "a") as f:
        f.write("read\\n")
    return read(path)
mounts._sha256 = told
print(digests.once_per_run([mounts.Mount("~/t", Path(sys.argv[1]))], Path(sys.argv[3])))
"""
    run, log = tmp_path / "run", tmp_path / "log"
    run.mkdir()
    started = [
        subprocess.Popen([sys.executable, "-c", program, tree, log, run], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = {child.communicate(timeout=30)[0] for child in started}
    assert answers == {f"{ {'~/t': Mount('~/t', tree).digest} }\n"}
    assert log.read_text() == "read\n"


def test_other_mounts_in_the_same_run_are_another_reading(tree: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    one = digests.once_per_run([Mount("~/a", tree)], run)
    other = digests.once_per_run([Mount("~/b", tree)], run)
    assert (list(one), list(other)) == (["~/a"], ["~/b"])
