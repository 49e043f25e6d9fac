# SPDX-License-Identifier: Apache-2.0
"""Mounts as a cluster file declares them: single files below a folder, and refs of git repositories."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shell_node import Node

from rayctl.errors import RayctlError
from rayctl.provision import sending
from rayctl.provision.mounts import Mount, copy
from rayctl.provision.sources import declared

ONE, TWO = "1" * 40, "2" * 40


@pytest.fixture
def ref(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A branch's file."""
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "rayctl"))
    path = tmp_path / "repo" / ".git" / "refs" / "heads" / "main"
    path.parent.mkdir(parents=True)
    (tmp_path / "repo" / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    path.write_text(f"{ONE}\n")
    return path


def pack(ref: Path) -> None:
    ref.unlink()
    (ref.parents[2] / "packed-refs").write_text(f"# pack-refs with: peeled fully-peeled sorted\n{ONE} refs/heads/main\n")


def test_what_is_neither_a_ref_nor_below_a_folder_stays_as_it_is(tmp_path: Path) -> None:
    assert declared("~/x/", tmp_path, ("*.pyc",), (".gitignore",)) == Mount("~/x/", tmp_path, ("*.pyc",), (".gitignore",))
    assert declared("~/x", tmp_path / "gone") == Mount("~/x", tmp_path / "gone")


def test_a_single_file_goes_into_a_target_that_ends_like_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    assert declared("~/data/", tmp_path / "a.txt").target == "~/data/a.txt"
    assert declared("~/data", tmp_path / "a.txt").target == "~/data"


def test_a_ref_is_the_same_file_loose_and_packed(ref: Path) -> None:
    ref.chmod(0o600)
    loose = declared("/tmp/sha", ref)
    assert (loose.source.read_text(), loose.mode) == (f"{ONE}\n", 0o644)
    digest = loose.digest
    pack(ref)
    packed = declared("/tmp/sha", ref)
    assert (packed.source, packed.digest) == (loose.source, digest)


def test_its_mode_does_not_depend_on_the_umask(ref: Path) -> None:
    before = os.umask(0o077)
    try:
        assert declared("/tmp/sha", ref).mode == 0o644
    finally:
        os.umask(before)


def test_a_new_commit_is_another_digest_and_the_same_commit_no_new_file(ref: Path) -> None:
    first = declared("/tmp/sha", ref)
    before = (first.digest, first.source.stat().st_ino)
    again = declared("/tmp/sha", ref)
    assert (again.digest, again.source.stat().st_ino) == before
    ref.write_text(f"{TWO}\n")
    assert declared("/tmp/sha", ref).digest != before[0]


def test_a_ref_keeps_its_own_name_below_a_folder(ref: Path) -> None:
    pack(ref)
    assert declared("~/refs/", ref).target == "~/refs/main"


def test_a_ref_that_is_nowhere_is_told_with_its_path(ref: Path) -> None:
    ref.unlink()
    with pytest.raises(RayctlError, match=r"mount /tmp/sha cannot be read: .*refs/heads/main: No such file"):
        _ = declared("/tmp/sha", ref).digest


@pytest.mark.usefixtures("rsync")
def test_a_packed_ref_arrives_by_every_way(ref: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    pack(ref)
    sending.send(declared("~/rsync", ref), node.remote)
    monkeypatch.setattr(sending, "_by_rsync", lambda node: False)
    sending.send(declared("~/tar", ref), node.remote)
    copy(declared("", ref), node.home / "copy")
    assert {path.read_text() for path in node.home.iterdir()} == {f"{ONE}\n"}
    assert sorted(path.name for path in node.home.iterdir()) == ["copy", "rsync", "tar"]


def test_a_home_that_takes_no_files_is_told(ref: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCTL_HOME", "/dev/null/home")
    with pytest.raises(RayctlError, match="/dev/null/home"):
        declared("/tmp/sha", ref)
