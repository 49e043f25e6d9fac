# SPDX-License-Identifier: Apache-2.0
"""What a node remembers: valid only where it was written, and never taken from a place that others can write to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayctl.node import state
from rayctl.node.state import NodeError, NodeState

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
RAY = {"digest": "d", "boot_id": "b", "processes": [[1, 2, "raylet"]], "head": "h", "port": 6379, "versions": "2.60.0 3.11"}

WATCH = {"pid": 3, "started": 4, "boot_id": "b", "timeout_s": 60.0, "digest": "d"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    state.make_private(str(tmp_path / "state"))
    return tmp_path / "state"


def saved(folder: Path) -> NodeState:
    known = NodeState(str(folder), "c", "demo-head")
    known.mounts, known.steps = {"/m": "v1:0"}, [{"digest": "v1:1", "name": "one", "command": "true"}]
    known.ray, known.ray_stale, known.resume, known.watch = dict(RAY), True, {"plan": "p"}, dict(WATCH)
    known.save()
    return known


def test_what_was_saved_is_loaded(folder: Path) -> None:
    known, again = saved(folder), NodeState(str(folder), "c", "demo-head").load()
    assert vars(again) == vars(known)
    assert again.seen() == {"mounts": {"/m": "v1:0"}, "steps": ["v1:1"], "ray": RAY, "ray_stale": True}
    assert stat_mode(folder / "state.json") == 0o600


@pytest.mark.parametrize("key", ["resume", "watch"])
def test_a_state_without_the_newest_fields_still_counts(folder: Path, key: str) -> None:
    saved(folder)
    edit(folder, **{key: ...})
    assert NodeState(str(folder), "c", "demo-head").load().steps


@pytest.mark.parametrize(("cluster_id", "node"), [("other", "demo-head"), ("c", "other")])
def test_another_nodes_state_counts_as_none(folder: Path, cluster_id: str, node: str) -> None:
    saved(folder)
    assert NodeState(str(folder), cluster_id, node).load().steps == []


def test_another_machines_state_counts_as_none(folder: Path) -> None:
    saved(folder)
    edit(folder, machine_id="0" * 32)
    assert NodeState(str(folder), "c", "demo-head").load().steps == []


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\0", '{"version": "1"}', "[" * 100_000, "\udcff"])
def test_text_that_is_no_state_counts_as_none(folder: Path, text: str) -> None:
    (folder / "state.json").write_text(text, errors="surrogateescape")
    assert NodeState(str(folder), "c", "demo-head").load().steps == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(key=st.sampled_from(["mounts", "steps", "ray", "ray_stale", "resume", "watch"]), value=JSON)
def test_damage_never_makes_more_than_an_empty_state(folder: Path, key: str, value: Any) -> None:
    saved(folder)
    edit(folder, **{key: value})
    known = NodeState(str(folder), "c", "demo-head").load()
    assert known.steps == [] or getattr(known, key) == value
    known.seen()
    known.save()


@pytest.mark.parametrize("key", ["mounts", "steps", "ray", "ray_stale"])
def test_a_missing_field_counts_as_no_state(folder: Path, key: str) -> None:
    saved(folder)
    edit(folder, **{key: ...})
    assert vars(NodeState(str(folder), "c", "demo-head").load()) == vars(NodeState(str(folder), "c", "demo-head"))


def test_a_newer_file_is_refused(folder: Path) -> None:
    (folder / "state.json").write_text('{"version": 2}')
    with pytest.raises(NodeError, match="written by a newer rayctl"):
        NodeState(str(folder), "c", "demo-head").load()


# ---- whom we trust
def test_a_new_folder_and_its_parents_are_ours_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        state.make_private(str(tmp_path / "a" / "b"))
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert (stat_mode(tmp_path / "a"), stat_mode(tmp_path / "a" / "b")) == (0o700, 0o700)


def test_a_folder_that_others_could_read_is_closed_to_them(folder: Path) -> None:
    folder.chmod(0o755)
    state.make_private(str(folder))
    assert stat_mode(folder) == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused_with_what_to_do(folder: Path, mode: int) -> None:
    saved(folder)
    folder.chmod(mode)
    for use in (lambda: state.make_private(str(folder)), NodeState(str(folder), "c", "demo-head").load):
        with pytest.raises(NodeError, match=rf"can be written by others \(mode {mode:04o}\).*chmod go-rwx {folder}"):
            use()


def test_a_symlink_in_the_folders_place_is_refused(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(NodeError, match="is a symlink"):
        state.make_private(str(tmp_path / "link"))


def test_a_symlink_or_pipe_in_the_files_place_is_not_followed_and_holds_nobody(tmp_path: Path, folder: Path) -> None:
    (folder / "state.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NodeError, match="cannot read"):
        state.read(str(folder / "state.json"))
    (folder / "state.json").unlink()
    os.mkfifo(folder / "state.json")
    assert state.read(str(folder / "state.json")) is None


def test_a_file_in_the_folders_place_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(NodeError, match=r"cannot make the state folder .*: File exists"):
        state.make_private(str(tmp_path / "state"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("what", ["", "state.json"])
def test_what_belongs_to_someone_else_is_refused(folder: Path, what: str) -> None:
    saved(folder)
    os.chown(folder / what, 54321, 54321)
    with pytest.raises(NodeError, match="belongs to someone else"):
        NodeState(str(folder), "c", "demo-head").load()


# ---- writing
def test_a_full_disk_leaves_the_old_state_and_is_a_sentence(folder: Path) -> None:
    code = f"""
import resource, sys
from rayctl.node import state
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
known = state.NodeState({str(folder)!r}, "c", "demo-head").load()
known.steps = []
try:
    known.save()
except state.NodeError as e:
    sys.exit(str(e))
"""
    known = saved(folder)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr == f"cannot write {folder}/state.json: File too large\n"
    assert NodeState(str(folder), "c", "demo-head").load().steps == known.steps


def test_only_one_holds_the_lock(folder: Path) -> None:
    held = state.take_lock(str(folder))
    with pytest.raises(state.Locked):
        state.take_lock(str(folder))
    os.close(held)
    os.close(state.take_lock(str(folder)))


def test_a_lock_that_cannot_be_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(NodeError, match=r"cannot open .*/none/lock: No such file"):
        state.take_lock(str(tmp_path / "none"))


def stat_mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def edit(folder: Path, **changes: Any) -> None:
    """Change fields of the file; `...` removes one."""
    path = folder / "state.json"
    data = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in data.items() if value is not ...}))
