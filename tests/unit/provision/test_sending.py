# SPDX-License-Identifier: Apache-2.0
"""Mounts sent to a node's shell: what arrives is what the digest saw, by rsync and as a tar stream alike."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shell_node import Node, bare_path, make_node

from rayctl.errors import RayctlError
from rayctl.provision import archive, rsync, sending
from rayctl.provision.mounts import Mount
from rayctl.provision.sending import Remote, changes, send

ODD = [b"-n", b"#x", b" y ", b"a:b", b"n\nl", b"\xff\xfe", b"'$(x)\"", b"\\#012", b"*", b"~", "é".encode()]


@pytest.fixture(params=["rsync", "tar"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways."""
    if request.param == "rsync":
        request.getfixturevalue("rsync")
    else:
        monkeypatch.setattr(sending, "_by_rsync", lambda node: False)
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o751)
    (root / "sub" / "data").write_text("one")
    (root / "sub").chmod(0o2750)
    (root / "sub" / "empty").chmod(0o1777)
    (root / "link").symlink_to("sub//data")
    (root / "broken").symlink_to("/nowhere")
    (root / "left.out").write_text("x")
    os.mkfifo(root / "pipe")
    (root / "pipe").chmod(0o620)
    root.chmod(0o711)
    return root


def mount(source: Path, target: str = "~/t") -> Mount:
    return Mount(target, source, ("*.out",))


def test_what_arrives_is_what_the_digest_saw(way: str, tree: Path, node: Node) -> None:
    send(mount(tree), node.remote)
    assert not (node.home / "t" / "left.out").exists()
    assert mount(node.home / "t").digest == mount(tree).digest
    assert int((node.home / "t" / "sub" / "data").stat().st_mtime) == int((tree / "sub" / "data").stat().st_mtime)


def test_odd_names_arrive(way: str, tree: Path, node: Node) -> None:
    for name in ODD:
        Path(os.fsdecode(os.fsencode(tree) + b"/sub/" + name)).write_bytes(name)
    send(mount(tree), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest


def test_long_names_arrive(way: str, tree: Path, node: Node) -> None:
    deep = tree.joinpath(*["long" * 40] * 3)
    deep.mkdir(parents=True)
    (deep / "file").write_text("deep")
    (deep / "link").symlink_to("to" * 120)
    send(mount(tree), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest


@pytest.mark.parametrize("target", ["~/it's a $HOME/t", "rel/t", "~/t/", "{home}/abs;t"])
def test_parents_of_the_target_are_made(way: str, target: str, tree: Path, node: Node) -> None:
    target = target.format(home=node.home)
    send(mount(tree, target), node.remote)
    assert mount(node.home / target.removeprefix("~/")).digest == mount(tree).digest


@pytest.mark.parametrize("target", ["~/deep/er/-go now", "go", "{home}/x/go"])
def test_a_single_file_arrives_under_the_targets_name(way: str, target: str, tree: Path, node: Node) -> None:
    target = target.format(home=node.home)
    send(mount(tree / "run.sh", target), node.remote)
    arrived = node.home / target.removeprefix("~/")
    assert (arrived.read_text(), stat.S_IMODE(arrived.stat().st_mode)) == ("#!/bin/sh\n", 0o751)


def test_a_source_that_is_a_link_is_what_it_leads_to(way: str, tree: Path, tmp_path: Path, node: Node) -> None:
    (tmp_path / "to-tree").symlink_to(tree)
    (tmp_path / "to-file").symlink_to(tree / "run.sh")
    send(mount(tmp_path / "to-tree"), node.remote)
    send(mount(tmp_path / "to-file", "~/f"), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest
    assert stat.S_ISREG((node.home / "f").lstat().st_mode)


def test_what_is_gone_at_the_source_stays_on_the_node(way: str, tree: Path, node: Node) -> None:
    send(mount(tree), node.remote)
    (tree / "run.sh").unlink()
    send(mount(tree), node.remote)
    assert (node.home / "t" / "run.sh").exists()


def test_sending_again_brings_what_changed(way: str, tree: Path, node: Node) -> None:
    tree.chmod(0o2711)
    send(mount(tree), node.remote)
    (tree / "sub" / "data").write_text("two")
    (tree / "run.sh").chmod(0o700)
    (tree / "link").unlink()
    (tree / "link").symlink_to("run.sh")
    tree.chmod(0o755)
    send(mount(tree), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest


def test_an_edit_of_the_same_size_within_a_second_is_not_missed(way: str, tree: Path, node: Node) -> None:
    os.utime(tree / "sub" / "data", ns=(0, 10**18))
    send(mount(tree), node.remote)
    (tree / "sub" / "data").write_text("two")
    os.utime(tree / "sub" / "data", ns=(0, 10**18 + 5))
    send(mount(tree), node.remote)
    assert (node.home / "t" / "sub" / "data").read_text() == "two"


@pytest.mark.usefixtures("rsync")
def test_files_that_are_there_do_not_travel_again(tree: Path, node: Node) -> None:
    send(mount(tree), node.remote)
    before = {path: path.lstat().st_ctime_ns for path in (node.home / "t").rglob("*")}
    send(mount(tree), node.remote)
    assert {path: path.lstat().st_ctime_ns for path in before} == before


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(
    ("source", "target", "says"),
    [("run.sh", "~/t/sub", "a folder is in the place of a file: ~/t/sub"), ("sub", "~/t/run.sh", "a file is in the place")],
)
def test_a_file_never_replaces_a_folder_nor_a_folder_a_file(
    source: str, target: str, says: str, tree: Path, node: Node
) -> None:
    send(mount(tree), node.remote)
    with pytest.raises(RayctlError, match=f"^the file mount {target} could not be sent: {says}[^|]*$"):
        send(mount(tree / source, target), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest


def test_a_place_that_cannot_be_made_is_told_with_its_reason(way: str, tree: Path, node: Node) -> None:
    with pytest.raises(RayctlError, match=r"~/f/x could not be sent: mkdir: [^|]*f") as caught:
        (node.home / "f").touch()
        send(mount(tree, "~/f/x"), node.remote)
    assert "rsync error" not in caught.value.message
    assert "on the node" in caught.value.hint


def test_a_connection_that_fails_is_told(way: str, tree: Path) -> None:
    broken = Remote(("sh", "-c", "echo no route to host >&2; exit 255", "host"), dict(os.environ))
    with pytest.raises(RayctlError, match="could not be sent: no route to host"):
        send(mount(tree), broken)


def test_a_file_that_vanished_since_the_walk_is_told(way: str, tree: Path, node: Node) -> None:
    walked = mount(tree)
    assert walked.entries
    (tree / "run.sh").unlink()
    with pytest.raises(RayctlError, match=r"mount ~/t (cannot be read|could not be sent): .*run\.sh.*No such file"):
        send(walked, node.remote)


def test_sockets_do_not_travel(way: str, tree: Path, node: Node) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        descriptor = os.open(tree, os.O_RDONLY)
        server.bind(f"/proc/self/fd/{descriptor}/s")
        os.close(descriptor)
    send(mount(tree), node.remote)
    assert not (node.home / "t" / "s").exists()


def test_a_stream_of_many_files_is_not_kept_in_memory(tmp_path: Path, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(50):
        (tmp_path / f"{number}").touch()
    kept: list[int] = []
    add = archive._add
    monkeypatch.setattr(archive, "_add", lambda tar, header, entry: (kept.append(len(tar.members)), add(tar, header, entry)))
    archive.send(Mount("~/t", tmp_path, ("/node*", "/shell")), node.remote)
    assert len(kept) > 50
    assert max(kept) == 0


# where there is no rsync

NEEDED = ("sh", "mkdir", "chmod", "stat", "tar")


@pytest.mark.usefixtures("rsync")
def test_a_node_without_rsync_gets_a_tar_stream_and_is_asked_once(tree: Path, tmp_path: Path) -> None:
    node = make_node(tmp_path / "bare", bare_path(tmp_path / "bin", *NEEDED))
    send(mount(tree), node.remote)
    send(mount(tree / "run.sh", "~/go"), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest
    assert (node.home / "go").exists()
    assert [rsync.MISSING in command for command in node.commands()] == [True, False, False]


@pytest.mark.usefixtures("rsync")
def test_a_node_whose_shell_talks_by_itself_gets_a_tar_stream(tree: Path, node: Node) -> None:
    shell = Path(node.remote.argv[0])
    shell.write_text(shell.read_text().replace("shift\n", "shift\necho Welcome to this machine\n"))
    send(mount(tree), node.remote)
    assert mount(node.home / "t").digest == mount(tree).digest


def test_a_controller_without_rsync_sends_a_tar_stream(tree: Path, tmp_path: Path, node: Node) -> None:
    bare = Remote(node.remote.argv, {**os.environ, "PATH": bare_path(tmp_path / "bin", "sh")})
    send(mount(tree), bare)
    assert mount(node.home / "t").digest == mount(tree).digest


def test_with_neither_rsync_nor_tar_it_is_said(tree: Path, tmp_path: Path) -> None:
    node = make_node(tmp_path / "bare", bare_path(tmp_path / "bin", "sh", "mkdir"))
    with pytest.raises(RayctlError, match="~/t could not be sent: neither rsync nor tar is installed on the node"):
        send(mount(tree), node.remote)


def test_without_rsync_files_are_not_compared_and_that_is_said(tree: Path, tmp_path: Path) -> None:
    node = make_node(tmp_path / "bare", bare_path(tmp_path / "bin", *NEEDED))
    assert changes(mount(tree), node.remote) == ["update ~/t as a whole: without rsync its files are not compared"]
    assert list(node.home.iterdir()) == []


# what would be done


@pytest.mark.usefixtures("rsync")
class TestChanges:
    def test_everything_is_created_where_nothing_is_and_nothing_is_done(self, tree: Path, node: Node) -> None:
        assert changes(mount(tree), node.remote) == [
            "create ~/t (0711)",
            "create ~/t/broken (0777)",
            "create ~/t/link (0777)",
            "create ~/t/pipe (0620)",
            "create ~/t/run.sh (0751)",
            "create ~/t/sub (2750)",
            "create ~/t/sub/data (0644)",
            "create ~/t/sub/empty (1777)",
        ]
        assert list(node.home.iterdir()) == []

    def test_after_sending_nothing_differs(self, tree: Path, node: Node) -> None:
        send(mount(tree), node.remote)
        assert changes(mount(tree), node.remote) == []

    def test_names_and_modes_are_listed_and_no_contents(self, tree: Path, node: Node) -> None:
        send(mount(tree), node.remote)
        (tree / "sub" / "data").write_text("secret words")
        (tree / "sub" / "new").touch(0o600)
        (tree / "run.sh").chmod(0o700)
        os.utime(tree / "sub" / "empty", (1, 1))  # a folder's time is no change
        tree.chmod(0o755)
        listed = changes(mount(tree), node.remote)
        assert listed == [
            "update ~/t (0755)", "update ~/t/run.sh (0700)", "update ~/t/sub/data (0644)", "create ~/t/sub/new (0600)",
        ]  # fmt: skip

    def test_a_single_file_is_listed_under_the_targets_name(self, tree: Path, node: Node) -> None:
        file = mount(tree / "run.sh", "~/go")
        assert changes(file, node.remote) == ["create ~/go (0751)"]
        send(file, node.remote)
        assert changes(file, node.remote) == []
        (node.home / "go").write_text("other")
        assert changes(file, node.remote) == ["update ~/go (0751)"]

    def test_odd_names_are_listed_in_one_line_each(self, tree: Path, node: Node) -> None:
        for name in ODD:
            Path(os.fsdecode(os.fsencode(tree) + b"/sub/" + name)).touch()
        listed = changes(mount(tree, "~/new/t"), node.remote)
        send(mount(tree), node.remote)
        shutil.rmtree(node.home / "t" / "sub")
        again = changes(mount(tree), node.remote)
        assert [line.replace("~/new/t", "~/t") for line in listed if "/sub" in line] == [
            line for line in again if "/sub" in line
        ]
        assert "create ~/t/sub/n\\nl (0644)" in again
        assert "".join(again).isprintable()

    def test_a_wrong_thing_in_the_place_is_told(self, tree: Path, node: Node) -> None:
        (node.home / "t").touch()
        with pytest.raises(RayctlError, match="~/t could not be compared: a file is in the place of a folder"):
            changes(mount(tree), node.remote)


# any tree, any patterns

PART = st.sampled_from([b"a", b"b", b"x.out", *ODD])
KIND = st.sampled_from(["file", "file", "folder", "link", "fifo"])
TREES = st.dictionaries(
    st.lists(PART, min_size=1, max_size=3).map(b"/".join), st.tuples(KIND, st.integers(0, 0o77)), max_size=8
)
PATTERNS = st.lists(st.sampled_from(["a", "/a", "b/", "*.out", "a/*", "**/b", "[a-b]", "x*"]), max_size=3)


@pytest.mark.slow
@pytest.mark.usefixtures("rsync")
@settings(max_examples=40)
@given(TREES, PATTERNS)
def test_any_tree_arrives_as_its_entries_say(tree: dict[bytes, tuple[str, int]], patterns: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, node = Path(folder, "source"), make_node(Path(folder))
        source.mkdir()
        for path, (kind, mode) in tree.items():
            _grow(source, os.fsdecode(path), kind, mode)
        sent = Mount("~/rsync", source, tuple(patterns))
        assert rsync.send(sent, node.remote).status == 0
        assert archive.send(Mount("~/tar", source, tuple(patterns)), node.remote).status == 0
        assert changes(sent, node.remote) == []
        for way in ("rsync", "tar"):
            arrived = Mount("", node.home / way)
            assert [entry.relative for entry in arrived.entries] == [entry.relative for entry in sent.entries]
            assert arrived.digest == sent.digest


def _grow(source: Path, path: str, kind: str, mode: int) -> None:
    place = source / path
    if place.exists() or place.is_symlink() or not _is_free(source, place):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if kind == "link":
        place.symlink_to("a")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.write_text(path.encode("utf-8", "replace").decode())
    if kind != "link":
        place.chmod(0o700 | mode)


def _is_free(source: Path, place: Path) -> bool:
    above = [parent for parent in place.parents if parent.is_relative_to(source) and os.path.lexists(parent)]
    return all(parent.is_dir() and not parent.is_symlink() for parent in above)
