# SPDX-License-Identifier: Apache-2.0
"""How far rsync is, read from what it prints while it copies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rayctl.provision.copying import Copied, Copy, Progress, copy
from rayctl.transport.base import Connection
from rayctl.transport.local import LocalTransport

SLOW = r"""#!/bin/sh
printf '\r         32,768   1%%   31.25MB/s    0:00:02  \r    104,857,600  45%%   80.12MB/s    0:00:01 (xfr#3, to-chk=1/5)'
sleep 1.2
printf '\r    204,857,600 100%%   80.12MB/s    0:00:02 (xfr#5, to-chk=0/5)\n\nNumber of files: 6 (reg: 5, dir: 1)\n'
printf 'Number of regular files transferred: 5\nTotal transferred file size: 204,857,600 bytes\n'
"""


def test_who_wants_to_know_hears_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rsync").write_text(SLOW)
    (tmp_path / "rsync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    heard: list[Progress] = []
    transport = LocalTransport(Connection("local", "", str(tmp_path)))
    done = copy(Copy(str(tmp_path), str(tmp_path / "there")), transport, "n1", heard.append)
    assert set(heard) == {Progress(104_857_600, 45, "80.12MB/s")}
    assert done == Copied(5, 204_857_600), "names are not listed then"


def test_rsync_itself_prints_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "from" / "a [file]").write_bytes(b"x" * 1000)
    transport = LocalTransport(Connection("local", "", str(tmp_path)))
    wanted = Copy(f"{tmp_path}/from/", f"{tmp_path}/to/")
    assert copy(wanted, transport, "n1", lambda _: None) == Copied(1, 1000)
    (tmp_path / "from" / "b").write_bytes(b"y")
    assert copy(wanted, transport, "n1").listing == ("./", "b")
