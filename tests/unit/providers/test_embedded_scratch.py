# SPDX-License-Identifier: Apache-2.0
"""Temporary folders are removed only when they are exactly ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayctl.errors import StateRefused
from rayctl.providers.embedded import scratch

CLUSTER_ID = "0b0e1c9a-5d0e-4a55-9d2f-6f2d6f0a1b2c"


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /tmp of its own."""
    monkeypatch.setattr(scratch, "TMP", tmp_path)
    return tmp_path


def test_removing_the_last_folder_leaves_nothing(tmp: Path) -> None:
    folder = scratch.folder(CLUSTER_ID, 2)
    scratch.make(folder)
    (folder / "session" / "logs").mkdir(parents=True)
    scratch.remove(folder)
    assert list(tmp.iterdir()) == []
    scratch.remove(folder)


def test_removing_one_folder_spares_its_neighbours() -> None:
    first, second, other = (
        scratch.folder(CLUSTER_ID, 2),
        scratch.folder(CLUSTER_ID, 3),
        scratch.folder("f3d0c1b2-1111-4222-8333-444455556666", 4),
    )
    for folder in (first, second, other):
        scratch.make(folder)
    scratch.remove(first)
    assert (first.exists(), second.exists(), other.exists()) == (False, True, True)


def test_links_inside_are_removed_and_not_followed(tmp: Path) -> None:
    treasure = tmp / "treasure"
    treasure.mkdir()
    (treasure / "gold").touch()
    folder = scratch.folder(CLUSTER_ID, 2)
    scratch.make(folder)
    (folder / "session_latest").symlink_to(treasure)
    scratch.remove(folder)
    assert (treasure / "gold").exists()


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_link_on_any_level_is_refused(tmp: Path, level: int) -> None:
    folder = scratch.folder(CLUSTER_ID, 2)
    scratch.make(folder)
    linked = [folder, folder.parent, folder.parent.parent][level]
    moved = tmp / "moved"
    linked.rename(moved)
    linked.symlink_to(moved)
    with pytest.raises(StateRefused):
        scratch.remove(folder)
    assert moved.is_dir()


@pytest.mark.parametrize(
    "path", ["/", "/home/user/important", "{base}", "{base}/0b0e1c9a", "{base}/0b0e1c9a/..", "{base}/../x/y"]
)
def test_paths_that_no_node_has_are_refused(tmp: Path, path: str) -> None:
    scratch.make(scratch.folder(CLUSTER_ID, 2))
    with pytest.raises(StateRefused):
        scratch.remove(Path(path.format(base=scratch.base())))
    assert scratch.folder(CLUSTER_ID, 2).is_dir()
