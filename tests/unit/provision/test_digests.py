# SPDX-License-Identifier: Apache-2.0
"""Mount digests are taken once: for all processes of a run, and for later runs as long as a tree looks the same."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rayctl.provision import digests, filememory
from rayctl.provision.mounts import SETTLED_S, Mount, sha256


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
    monkeypatch.setattr(digests, "sha256", lambda entry: pytest.fail(f"{entry.path} was read"))
    assert digests.digests_of([Mount("~/t", tree)]) == first


def test_a_changed_tree_is_read_again(tree: Path) -> None:
    first = digests.digests_of([Mount("~/t", tree)])
    (tree / "data").write_text("two")
    assert digests.digests_of([Mount("~/t", tree)]) != first


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of files that are read from now on."""
    names: list[str] = []
    monkeypatch.setattr(digests, "sha256", lambda entry: (names.append(entry.relative), sha256(entry))[1])
    return names


def memories(home: Path) -> list[Path]:
    return sorted((home / "cache" / "files").iterdir())


def test_of_a_changed_tree_only_the_changed_file_is_read(tree: Path, read: list[str]) -> None:
    (tree / "other").touch()
    digests.digests_of([Mount("~/t", tree)])
    assert read == ["data", "other"]
    (tree / "data").write_text("two")
    assert digests.digests_of([Mount("~/t", tree)]) == {"~/t": Mount("~/t", tree).digest}
    assert read == ["data", "other", "data"]


def test_a_touched_file_is_read_and_the_digest_stays(tree: Path, read: list[str]) -> None:
    first = digests.digests_of([Mount("~/t", tree)])
    os.utime(tree / "data", (1, 1))
    assert digests.digests_of([Mount("~/t", tree)]) == first
    assert read == ["data", "data"]


def test_a_file_of_the_same_size_and_time_in_its_place_is_read(tree: Path, read: list[str]) -> None:
    times = (tree / "data").stat()
    first = digests.digests_of([Mount("~/t", tree)])
    (tree / "new").write_text("two")
    os.utime(tree / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tree / "new").rename(tree / "data")
    assert digests.digests_of([Mount("~/t", tree)]) != first


def test_a_tree_that_was_moved_is_not_read_again(tree: Path, tmp_path: Path, read: list[str]) -> None:
    first = digests.digests_of([Mount("~/t", tree)])
    assert digests.digests_of([Mount("~/t", tree.rename(tmp_path / "moved"))]) == first
    assert read == ["data"]


def test_excluded_files_are_never_read(tree: Path, read: list[str]) -> None:
    (tree / "x.pyc").touch()
    digests.digests_of([Mount("~/t", tree, ("*.pyc",))])
    (tree / "x.pyc").write_text("other")
    digests.digests_of([Mount("~/t", tree, ("*.pyc",))])
    assert read == ["data"]


def test_of_a_tree_in_motion_files_that_rest_are_remembered(
    tree: Path, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tree / "busy").touch()
    resting, busy = (tree / "data").stat().st_ctime, (tree / "busy").stat().st_ctime
    while busy - resting < 0.05:
        (tree / "busy").touch()
        busy = (tree / "busy").stat().st_ctime
    monkeypatch.setattr(digests.time, "time", lambda: resting + SETTLED_S + 0.02)
    for _ in range(2):
        digests.digests_of([Mount("~/t", tree)])
    assert read == ["busy", "data", "busy"]


def test_what_files_hold_is_remembered_in_private(tree: Path, tmp_path: Path) -> None:
    digests.digests_of([Mount("~/t", tree)])
    (memory,) = memories(tmp_path / "home")
    assert [stat.S_IMODE(path.stat().st_mode) for path in (memory, memory.parent)] == [0o600, 0o700]


@pytest.mark.parametrize(
    "damage",
    [
        lambda memory: memory.write_bytes(b""),
        lambda memory: memory.write_bytes(memory.read_bytes()[:-1]),
        lambda memory: memory.write_bytes(memory.read_bytes().replace(b"version 1", b"version 2")),
        lambda memory: memory.chmod(0o666),
        lambda memory: memory.rename(memory.with_name("elsewhere")),
    ],
    ids=["empty", "cut off", "of another version", "open to others", "gone"],
)
def test_a_memory_of_files_that_cannot_be_used_costs_time_only(
    damage: Callable[[Path], object], tree: Path, tmp_path: Path, read: list[str]
) -> None:
    digests.digests_of([Mount("~/t", tree)])
    damage(memories(tmp_path / "home")[0])
    os.utime(tree, (1, 1))
    assert digests.digests_of([Mount("~/t", tree)]) == {"~/t": Mount("~/t", tree).digest}
    assert read == ["data", "data"]


def test_trees_that_were_not_mounted_for_a_month_are_forgotten(tree: Path, tmp_path: Path) -> None:
    digests.digests_of([Mount("~/t", tree)])
    (memory,) = memories(tmp_path / "home")
    now = memory.stat().st_mtime
    for name, age in (("unused", filememory.KEPT_S + 5000), ("used", filememory.KEPT_S - 5000)):
        memory.with_name(name).touch()
        os.utime(memory.with_name(name), (now - age, now - age))
    (tree / "data").write_text("two")
    digests.digests_of([Mount("~/t", tree)])
    assert [path.name for path in memories(tmp_path / "home")] == sorted([memory.name, "used"])


def test_a_tree_that_never_changes_is_in_use_too(tree: Path, tmp_path: Path) -> None:
    digests.digests_of([Mount("~/t", tree)])
    (memory,) = memories(tmp_path / "home")
    os.utime(memory, (1, 1))
    digests.digests_of([Mount("~/t", tree)])
    assert memory.stat().st_mtime > 1


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
read = digests.sha256
def told(entry):
    with open(sys.argv[2], "a") as f:
        f.write("read\\n")
    return read(entry)
digests.sha256 = told
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
