# SPDX-License-Identifier: Apache-2.0
"""Files of the head that workers get copies of: fetched once per run, as they are on the head."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from shell_node import Node, bare_path, make_node

from rayctl.errors import RayctlError
from rayctl.provision.mounts import Mount
from rayctl.provision.synced import relay


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def head(node: Node) -> Node:
    """A head with a folder, a file and links to both."""
    folder = node.home / "a folder"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "data").write_text("one")
    (folder / "sub").chmod(0o2750)
    (folder / "inner").symlink_to("sub")
    os.mkfifo(folder / "pipe")
    (node.home / "-key").write_text("secret")
    (node.home / "-key").chmod(0o600)
    os.utime(node.home / "-key", ns=(0, 10**18 + 5))
    (node.home / "to-folder").symlink_to("a folder")
    (node.home / "to-key").symlink_to("-key")
    return node


@pytest.mark.parametrize("path", ["~/a folder", "a folder/", "{home}/a folder", "~/to-folder"])
def test_a_folder_is_what_it_is_on_the_head(path: str, head: Node, run: Path) -> None:
    path = path.format(home=head.home)
    (mount,) = relay([path], head.remote, run)
    assert mount.target == path.rstrip("/")
    assert mount.digest == Mount("", head.home / "a folder").digest


@pytest.mark.parametrize("path", ["~/-key", "-key", "~/to-key"])
def test_a_file_is_what_it_is_on_the_head(path: str, head: Node, run: Path) -> None:
    (mount,) = relay([path], head.remote, run)
    assert (mount.target, mount.source.read_text(), mount.mode) == (path, "secret", 0o600)
    assert mount.source.stat().st_mtime_ns == 10**18 + 5


def test_nobody_else_can_read_what_was_fetched(head: Node, run: Path) -> None:
    (mount,) = relay(["~/-key"], head.remote, run)
    assert mount.source.parent.stat().st_mode & 0o777 == 0o700


def test_a_second_fetch_in_the_same_run_asks_nobody(head: Node, run: Path) -> None:
    first = relay(["~/a folder", "~/-key"], head.remote, run)
    asked = len(head.commands())
    assert relay(["~/a folder", "~/-key"], head.remote, run) == first
    assert len(head.commands()) == asked


def test_of_many_processes_one_fetches(head: Node, run: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; from rayctl.provision.synced import relay, Remote\n"
        "given = json.load(sys.stdin); given['argv'] = tuple(given['argv'])\n"
        "print(relay(['~/-key'], Remote(**given), Path(sys.argv[1])))"
    )
    words = [sys.executable, "-c", code, str(run)]
    many = [subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = {process.communicate(json.dumps(asdict(head.remote)), timeout=60)[0] for process in many}
    assert len(answers) == 1
    assert "Mount" in answers.pop()
    assert len(head.commands()) == 1


@pytest.mark.parametrize("path", ["~/gone", "/no/such/file", "~/a folder/sub/gone"])
def test_a_path_that_the_head_does_not_have_is_named_to_all(path: str, head: Node, run: Path) -> None:
    for _ in range(2):
        with pytest.raises(RayctlError, match=f"^{path} could not be fetched from the head: the head has nothing there$") as e:
            relay(["~/-key", path], head.remote, run)
        assert "cluster_synced_files" in e.value.hint


def test_a_head_without_tar_is_told(run: Path, tmp_path: Path) -> None:
    head = make_node(tmp_path / "bare", bare_path(tmp_path / "bin", "sh"))
    (head.home / "x").touch()
    with pytest.raises(RayctlError, match="~/x could not be fetched from the head: tar is not installed on the head"):
        relay(["~/x"], head.remote, run)
