# SPDX-License-Identifier: Apache-2.0
"""The scaler reaches the outside by the seam alone, and whoever would pass it by is seen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from rayctl.scaler import Scaler
from tests.unit.scaler.bypass import watching
from tests.unit.scaler.story import Story
from tests.unit.scaler.town import Driver, Town


def test_nothing_is_done_beside_the_seam(tmp_path: Path) -> None:
    with watching() as watch:
        story = Story(tmp_path)
        life = Driver(story.town, watch.around)
        while not story.over:
            life.turn(watch.turn)
            story.happen()
    assert not watch.strays
    assert {"open", "os.rename"} <= watch.within["remember"]
    assert set(watch.within) == {"remember"}, "a town is not on the disk"


def dial() -> None:
    with socket.socket() as end, suppress(OSError):
        end.connect(("127.0.0.1", 9))


BYPASSES: dict[str, Callable[[Path], object]] = {
    "open": lambda path: path.write_text("x"),
    "os.rename": lambda path: path.rename(path.with_name("other")),
    "os.remove": lambda path: path.unlink(),
    "socket.connect": lambda _: dial(),
    "subprocess.Popen": lambda _: subprocess.run([sys.executable, "-c", ""], check=True),
    "os.kill": lambda _: os.kill(os.getpid(), 0),
}


@pytest.mark.parametrize("event", BYPASSES)
@pytest.mark.parametrize("thread", [False, True])
def test_a_bypass_is_seen(tmp_path: Path, event: str, thread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    town, act = Town(tmp_path), BYPASSES[event]
    path = tmp_path / "file"
    path.write_text("")

    def decide(self: Scaler, seen: object) -> None:
        work = threading.Thread(target=act, args=(path,)) if thread else None
        if work is None:
            act(path)
        else:
            work.start()
            work.join()
        raise KeyError

    monkeypatch.setattr(Scaler, "_decide", decide)
    with watching() as watch, suppress(KeyError):
        watch.turn(Driver(town, watch.around).scaler)
    assert any(stray.startswith(event) for stray in watch.strays)


def test_what_was_begun_through_the_seam_may_go_on_beside_the_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def decide(self: Scaler, seen: object) -> None:
        work = threading.Thread(target=dial, name="rayctl-seam_0")
        work.start()
        work.join()
        raise KeyError

    monkeypatch.setattr(Scaler, "_decide", decide)
    with watching(threads=("rayctl-seam",)) as watch, suppress(KeyError):
        watch.turn(Driver(Town(tmp_path), watch.around).scaler)
    assert not watch.strays
