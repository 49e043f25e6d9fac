# SPDX-License-Identifier: Apache-2.0
"""Mounts on real hosts over real ssh: what a listing made there says, and what is told when it does not work."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayctl.errors import RayctlError
from rayctl.provision import sending
from rayctl.provision.mounts import Mount
from rayctl.provision.sending import Remote, changes, send
from rayctl.provision.synced import relay

from .rig import Lab

# prints {name in hex: [kind, mode, content]} of a tree, its root included
LISTER = """
import hashlib, json, os, stat, sys
def seen(path):
    info = os.lstat(path)
    kind, mode = stat.S_IFMT(info.st_mode), stat.S_IMODE(info.st_mode)
    if kind == stat.S_IFLNK:
        return [kind, 0, os.readlink(path).hex()]
    return [kind, mode, hashlib.sha256(open(path, "rb").read()).hexdigest() if kind == stat.S_IFREG else ""]
root = os.fsencode(os.path.expanduser(sys.argv[1]))
found = {"": seen(root)}
for folder, folders, files in os.walk(root):
    for name in folders + files:
        path = os.path.join(folder, name)
        found[os.path.relpath(path, root).hex()] = seen(path)
print(json.dumps(found))
"""
Listing = dict[str, list[object]]


def remote(lab: Lab, host: str, *options: str) -> Remote:
    return Remote(("ssh", "-F", str(lab.ssh_config), "-o", "ConnectTimeout=3", *options, host), dict(os.environ))


def listed_here(source: Path) -> Listing:
    done = subprocess.run([sys.executable, "-c", LISTER, str(source)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def listed_there(lab: Lab, host: str, target: str = "~/t") -> Listing:
    return json.loads(lab[host].ssh(f"python3 - '{target}'", text=LISTER).stdout)


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, ...]]:
    """Hosts that turn out to have no rsync; each test finds out anew."""
    found: set[tuple[str, ...]] = set()
    monkeypatch.setattr(sending, "_without_rsync", found)
    return found


@pytest.fixture(params=["rsync", "tar"])
def way(request: pytest.FixtureRequest, hosts: Lab, forgetful: set[tuple[str, ...]]) -> Iterator[str]:
    """By rsync, and with h1 having none."""
    if request.param == "tar":
        hosts["h1"].without("rsync")
    yield str(request.param)
    assert bool(forgetful) == (request.param == "tar" and hosts["h1"].running())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree of all that is awkward."""
    root = tmp_path / "source"
    (root / "sub" / "empty").mkdir(parents=True)
    for name in (b"-n", b"#x", b" y ", b"a:b", b"n\nl", b"\xff\xfe", b"'$(x)\"", b"*", b"~", "é".encode(), b"long" * 60):
        Path(os.fsdecode(os.fsencode(root) + b"/sub/" + name)).write_bytes(name)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "link").symlink_to("sub//empty")
    (root / "broken").symlink_to("/nowhere/at all")
    os.mkfifo(root / "pipe")
    (root / "locked").mkdir()
    (root / "locked" / "data").write_text("read only")
    modes = {
        "run.sh": 0o751,
        "sub": 0o2750,
        "sub/empty": 0o1777,
        "pipe": 0o620,
        "locked/data": 0o400,
        "locked": 0o555,
        ".": 0o711,
    }
    for name, mode in modes.items():
        (root / name).chmod(mode)
    return root


@pytest.mark.usefixtures("way")
def test_a_tree_is_on_the_host_what_it_is_here(tree: Path, hosts: Lab) -> None:
    for _ in range(2):  # the second time into folders that nobody may write to
        send(Mount("~/deep/er/t", tree), remote(hosts, "h1"))
        assert listed_there(hosts, "h1", "~/deep/er/t") == listed_here(tree)


@pytest.mark.usefixtures("way")
def test_excluded_files_do_not_travel_and_files_gone_here_stay_there(tree: Path, hosts: Lab) -> None:
    expected = listed_here(tree)
    (tree / "m.pyc").touch()
    (tree / "sub" / "m.pyc").touch()
    (tree / ".gitignore").write_text("*.tmp\n")
    (tree / "sub" / "x.tmp").touch()
    send(Mount("~/t", tree, ("*.pyc", ".gitignore"), (".gitignore",)), remote(hosts, "h1"))
    assert listed_there(hosts, "h1") == expected
    (tree / "run.sh").unlink()
    send(Mount("~/t", tree, ("*.pyc", ".gitignore"), (".gitignore",)), remote(hosts, "h1"))
    assert listed_there(hosts, "h1") == expected


@pytest.mark.usefixtures("way")
def test_a_large_file_arrives_and_so_does_its_next_version(tmp_path: Path, hosts: Lab) -> None:
    large = tmp_path / "large"
    for content in (os.urandom(20 << 20), os.urandom(20 << 20)):
        large.write_bytes(content)
        send(Mount("~/large", large), remote(hosts, "h1"))
        assert hosts["h1"].ssh("sha256sum < large").stdout.split()[0] == hashlib.sha256(content).hexdigest()


def test_what_is_there_already_is_no_change(tree: Path, hosts: Lab) -> None:
    mount = Mount("~/t", tree)
    assert "create ~/t/run.sh (0751)" in changes(mount, remote(hosts, "h1"))
    assert hosts["h1"].ssh("ls -A ~/t", check=False).returncode
    send(mount, remote(hosts, "h1"))
    assert changes(mount, remote(hosts, "h1")) == []


def test_options_with_blanks_and_a_jump_host_reach_rsync_whole(tree: Path, hosts: Lab) -> None:
    through = f"ProxyCommand=ssh -F '{hosts.ssh_config}' -W %h:%p h2"
    send(Mount("~/t", tree), remote(hosts, "h1", "-o", through))
    assert listed_there(hosts, "h1") == listed_here(tree)


def test_a_target_outside_of_the_home_can_be_a_file(tree: Path, hosts: Lab) -> None:
    send(Mount("/tmp/current sha", tree / "run.sh"), remote(hosts, "h1"))
    assert hosts["h1"].ssh("stat -c %a '/tmp/current sha'").stdout == "751\n"


# when it does not work


@pytest.mark.usefixtures("way")
def test_a_read_only_home_is_told(tree: Path, hosts: Lab) -> None:
    hosts["h1"].readonly_home()
    with pytest.raises(RayctlError, match=r"~/t could not be sent: mkdir: [^|]*Read-only file system$"):
        send(Mount("~/t", tree), remote(hosts, "h1"))


@pytest.mark.usefixtures("way")
def test_a_home_that_became_read_only_is_told(tree: Path, hosts: Lab) -> None:
    send(Mount("~/t", tree), remote(hosts, "h1"))
    hosts["h1"].readonly_home()
    (tree / "run.sh").write_text("#!/bin/sh\nexit\n")
    with pytest.raises(RayctlError, match=r"~/t could not be sent: .*Read-only file system"):
        send(Mount("~/t", tree), remote(hosts, "h1"))


@pytest.mark.usefixtures("way")
def test_a_full_disk_is_told(tmp_path: Path, hosts: Lab) -> None:
    (tmp_path / "large").write_bytes(os.urandom(5 << 20))
    hosts["h1"].fill_disk()
    with pytest.raises(RayctlError, match=r"~/large could not be sent: .*No space left on device"):
        send(Mount("~/large", tmp_path / "large"), remote(hosts, "h1"))


@pytest.mark.usefixtures("way")
def test_a_folder_of_somebody_else_is_told(tree: Path, hosts: Lab) -> None:
    with pytest.raises(RayctlError, match=r"/opt/t could not be sent: mkdir: [^|]*Permission denied$"):
        send(Mount("/opt/t", tree), remote(hosts, "h1"))


def test_a_host_with_neither_rsync_nor_tar_is_told(tree: Path, hosts: Lab) -> None:
    hosts["h1"].without("rsync", "tar")
    with pytest.raises(RayctlError, match="~/t could not be sent: neither rsync nor tar is installed on the node"):
        send(Mount("~/t", tree), remote(hosts, "h1"))


@pytest.mark.usefixtures("way")
def test_a_host_that_is_off_is_told(tree: Path, hosts: Lab) -> None:
    hosts["h1"].kill()
    with pytest.raises(RayctlError, match=r"~/t could not be sent: .*(timed out|No route to host)"):
        send(Mount("~/t", tree), remote(hosts, "h1"))


# by way of the controller


def test_what_lies_on_the_head_gets_to_a_worker(tree: Path, tmp_path: Path, hosts: Lab) -> None:
    send(Mount("~/t", tree), remote(hosts, "h1"))
    hosts["h1"].ssh("install -m 600 /dev/stdin ~/key", text="secret")
    run = tmp_path / "run"
    run.mkdir()
    for mount in relay(["~/t", "/home/ray/key"], remote(hosts, "h1"), run):
        send(mount, remote(hosts, "h2"))
    assert listed_there(hosts, "h2") == listed_here(tree)
    assert hosts["h2"].ssh("stat -c %a ~/key; cat ~/key").stdout == "600\nsecret"


def test_what_the_head_does_not_have_is_told(tmp_path: Path, hosts: Lab) -> None:
    with pytest.raises(RayctlError, match=r"^~/gone could not be fetched from the head: the head has nothing there$"):
        relay(["~/gone"], remote(hosts, "h1"), tmp_path)
