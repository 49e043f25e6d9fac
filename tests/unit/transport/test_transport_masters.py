# SPDX-License-Identifier: Apache-2.0
"""Where masters listen: a short path in a folder that is ours alone."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from rayctl.errors import StateRefused
from rayctl.transport import masters


@pytest.fixture
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(masters, "folder", lambda: tmp_path)
    return tmp_path


def test_masters_listen_in_the_users_runtime_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runtime = Path(f"/tmp/rayctl-test-{os.getpid()}")
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    try:
        assert masters.folder() == runtime / "rayctl"
        assert masters.folder().stat().st_mode & 0o777 == 0o700
        (runtime / "rayctl").rmdir()
        (runtime / "rayctl").symlink_to(tmp_path)
        with pytest.raises(StateRefused):
            masters.folder()
    finally:
        (runtime / "rayctl").unlink()
        runtime.rmdir()


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent/run", "/tmp/" + "x" * 40])
def test_without_one_that_will_do_they_listen_in_a_folder_of_their_own(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
    assert masters.folder() == Path(f"/tmp/rayctl-{os.geteuid()}")


def test_a_sockets_path_fits_with_ssh_s_own_suffix() -> None:
    longest = "/" + "f" * (masters.LONGEST - 1)
    path = f"{longest}/01234567-{'c' * 40}.{'s' * 16}"
    assert len(path) == 107
    with socket.socket(socket.AF_UNIX) as line, pytest.raises(FileNotFoundError):
        line.bind(path)  # and not "path too long"
    with socket.socket(socket.AF_UNIX) as line, pytest.raises(OSError, match="too long"):
        line.bind(path + "x")


def test_what_a_killed_master_left_is_no_master_and_goes(sockets: Path) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(str(sockets / "01234567-a"))
    (sockets / "89abcdef-b").touch()
    assert not masters.there("01234567")
    assert masters.stop("01234567")
    assert [path.name for path in sockets.iterdir()] == ["89abcdef-b"]
    assert not masters.stop("01234567")
    masters.close("89abcdef")
    assert list(sockets.iterdir()) == []
