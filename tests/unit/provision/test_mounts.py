# SPDX-License-Identifier: Apache-2.0
"""File mounts: what a tree's digest sees, and what a copy of it is."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from rayctl.errors import RayctlError
from rayctl.provision.mounts import Mount, changes, copy


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "sub" / "data").write_text("one")
    (root / "link").symlink_to("sub/data")
    (root / "broken").symlink_to("nowhere")
    (root / "cache.pyc").write_text("x")
    return root


def mount(source: Path, *exclude: str, filters: tuple[str, ...] = ()) -> Mount:
    return Mount("~/t", source, exclude, filters)


CHANGES: dict[str, Callable[[Path], object]] = {
    "a content": lambda root: (root / "sub/data").write_text("two"),
    "a mode": lambda root: (root / "sub/data").chmod(0o755),
    "a folder's mode": lambda root: (root / "sub").chmod(0o700),
    "a new file": lambda root: (root / "new").touch(),
    "a new empty folder": lambda root: (root / "other").mkdir(),
    "a file gone": lambda root: (root / "run.sh").unlink(),
    "another name": lambda root: (root / "run.sh").rename(root / "go.sh"),
    "a link's target": lambda root: ((root / "link").unlink(), (root / "link").symlink_to("run.sh")),
    "a file instead of a link": lambda root: ((root / "link").unlink(), (root / "link").write_text("one")),
    "a pipe": lambda root: os.mkfifo(root / "pipe"),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "a time": lambda root: os.utime(root / "sub/data", (1, 1)),
    "an excluded file": lambda root: (root / "cache.pyc").write_text("other"),
    "a new excluded file": lambda root: (root / "sub" / "m.pyc").touch(),
}


@pytest.mark.parametrize("what", CHANGES)
def test_digest_changes_with(what: str, tree: Path) -> None:
    before = mount(tree, "*.pyc").digest
    CHANGES[what](tree)
    assert mount(tree, "*.pyc").digest != before


@pytest.mark.parametrize("what", NO_CHANGES)
def test_digest_does_not_change_with(what: str, tree: Path) -> None:
    before = mount(tree, "*.pyc").digest
    NO_CHANGES[what](tree)
    assert mount(tree, "*.pyc").digest == before


def test_digest_does_not_know_where_the_source_lies(tree: Path, tmp_path: Path) -> None:
    before = mount(tree).digest
    assert mount(tree.rename(tmp_path / "elsewhere")).digest == before


def test_digests_are_those_that_nodes_remember(tmp_path: Path) -> None:
    root, odd = tmp_path / "golden", os.fsdecode(b"\xff")
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "sub" / "data").write_text("one")
    (root / "link").symlink_to("sub/data")
    os.mkfifo(root / "pipe")
    (root / odd).write_text("odd")
    modes = {"": 0o755, "sub": 0o2750, "sub/empty": 0o700, "run.sh": 0o755, "sub/data": 0o644, "pipe": 0o600, odd: 0o640}
    for name, mode in modes.items():
        (root / name).chmod(mode)
    assert mount(root).digest == "v1:43ed057c384b42272f53813dbf5f7dec0a930a148df9e88cc073a21eaab24a89"
    assert mount(root, "/sub/").digest == "v1:7ee738dae90e48af2e3300f86967b00e1f232173b03b19245e7dcfed65c1bca8"
    assert mount(root / "run.sh").digest == "v1:2e98181fbb34a5f39b0e0d4c37afcfeb21aeed92b7e33d97e891c6d392631a3d"


def test_what_a_patterns_file_names_is_no_part_of_the_tree(tree: Path) -> None:
    (tree / "sub" / ".gitignore").write_text("data\n")
    found = {entry.relative for entry in mount(tree, filters=(".gitignore",)).entries}
    assert "sub/data" not in found
    assert "sub/.gitignore" in found


def test_sockets_are_no_content(tree: Path) -> None:
    import socket

    with socket.socket(socket.AF_UNIX) as server:
        descriptor = os.open(tree, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{descriptor}/s")  # a socket's path is short
        os.close(descriptor)
    assert "s" not in {entry.relative for entry in mount(tree).entries}


def test_listing_changes_where_a_content_may_have(tree: Path) -> None:
    before = mount(tree).listing
    (tree / "sub" / "data").write_text("two")
    assert mount(tree).listing != before


def test_a_tree_that_was_just_written_is_not_settled(tree: Path) -> None:
    now = max(entry.info.st_ctime for entry in mount(tree).entries)
    assert not mount(tree).settled(now + 1)
    assert mount(tree).settled(now + 3)


def test_copy_is_the_tree_with_its_modes_times_and_links(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "target"
    copy(mount(tree, "*.pyc"), target)
    found = {str(path.relative_to(target)) for path in target.rglob("*")}
    assert found == {"run.sh", "sub", "sub/data", "sub/empty", "link", "broken"}
    assert stat.S_IMODE((target / "run.sh").stat().st_mode) == 0o755
    assert (target / "link").readlink() == Path("sub/data")
    assert (target / "broken").readlink() == Path("nowhere")
    for name in ("run.sh", "sub", "sub/data", "."):
        assert (target / name).stat().st_mtime_ns == (tree / name).stat().st_mtime_ns
    assert mount(target).digest == mount(tree, "*.pyc").digest


def test_second_copy_touches_nothing(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    copy(mount(tree), target)
    before = {path: path.lstat().st_ctime_ns for path in target.rglob("*") if not path.is_dir()}
    assert changes(mount(tree), target) == []
    copy(mount(tree), target)
    assert {path: path.lstat().st_ctime_ns for path in before} == before


def test_what_is_gone_at_the_source_stays_at_the_target(tree: Path, tmp_path: Path) -> None:
    copy(mount(tree), tmp_path / "target")
    (tree / "run.sh").unlink()
    copy(mount(tree), tmp_path / "target")
    assert (tmp_path / "target" / "run.sh").exists()


def test_changes_are_names_and_modes_never_contents(tree: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    copy(mount(tree), target)
    (tree / "sub" / "data").write_text("secret words")
    (tree / "new").touch(0o600)
    listed = changes(mount(tree), target)
    assert f"update {target}/sub/data (0644)" in listed
    assert f"create {target}/new (0600)" in listed
    assert "secret" not in "".join(listed)


def test_what_cannot_be_printed_of_a_name_is_escaped_in_a_list_of_changes(tree: Path, tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tree) + b"/sub/\xff\n")).write_text("")
    assert f"create {tmp_path}/target/sub/\\udcff\\n (0644)" in changes(mount(tree), tmp_path / "target")


def test_a_single_file_can_be_mounted(tree: Path, tmp_path: Path) -> None:
    copy(mount(tree / "run.sh"), tmp_path / "go")
    assert (tmp_path / "go").read_text() == "#!/bin/sh\n"
    assert stat.S_IMODE((tmp_path / "go").stat().st_mode) == 0o755


def test_a_file_is_replaced_as_a_whole(tree: Path, tmp_path: Path) -> None:
    """Whoever has the old one open goes on reading the old one."""
    copy(mount(tree), tmp_path / "target")
    with (tmp_path / "target" / "sub" / "data").open() as old:
        (tree / "sub" / "data").write_text("a longer one")
        copy(mount(tree), tmp_path / "target")
        assert old.read() == "one"
    assert (tmp_path / "target" / "sub" / "data").read_text() == "a longer one"


def test_names_that_are_no_text_are_copied_too(tree: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tree) + b"/\xff\n'$x"
    Path(os.fsdecode(odd)).write_text("odd")
    copy(mount(tree), tmp_path / "target")
    assert mount(tmp_path / "target").digest == mount(tree).digest


@pytest.mark.parametrize(
    ("source", "target", "says"), [("run.sh", "sub", "a folder is in the place"), ("sub", "run.sh", "a file is in the place")]
)
def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(
    source: str, target: str, says: str, tree: Path, tmp_path: Path
) -> None:
    shutil.copytree(tree, tmp_path / "target", symlinks=True)
    with pytest.raises(RayctlError, match=says):
        copy(mount(tree / source), tmp_path / "target" / target)


def test_a_target_inside_of_its_source_is_refused(tree: Path) -> None:
    with pytest.raises(RayctlError, match="lies inside of its own source"):
        copy(mount(tree), tree / "sub" / "copy")


def test_a_source_that_is_gone_is_told_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(RayctlError, match=r"mount ~/t cannot be read: .*/gone: No such file"):
        _ = mount(tmp_path / "gone").digest
