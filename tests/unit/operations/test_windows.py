# SPDX-License-Identifier: Apache-2.0
"""Commands in tmux and screen, real ones: what arrives there, in whose sessions, with which environment."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayctl.operations.windows import Window, attached, detached

ODD = """printf '%s\\n' "it's $X" 'a  b' '{{.Names}}' > part; mv part out"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in which windows run; those that are left are ended."""
    (tmp_path / "screens").mkdir(mode=0o700)
    yield tmp_path
    # several screens of one name are ended one by one, each by its socket's name
    for end in ("tmux -L rayctl-demo kill-server", 'for s in screens/*; do screen -S "${s##*/}" -X quit; done'):
        subprocess.run(end, shell=True, cwd=tmp_path, env=environment(tmp_path), capture_output=True, check=False)
    limit = time.monotonic() + 10
    while left := list((tmp_path / "screens").iterdir()):  # told to quit, a screen takes its socket away a moment later
        assert time.monotonic() < limit, f"left: {left}"
        time.sleep(0.02)


def environment(folder: Path, **more: str) -> dict[str, str]:
    own = {"TMUX_TMPDIR": str(folder), "SCREENDIR": str(folder / "screens"), "HOME": str(folder), "TERM": "xterm"}
    return {"PATH": os.environ["PATH"], **own, **more}


def run(folder: Path, text: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/bash", "-c", text],
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


def until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def told(file: Path) -> str:
    until(lambda: file.exists() and file.read_text().endswith("\n"))
    return file.read_text()


@pytest.mark.parametrize("window", Window)
def test_a_command_arrives_as_it_was_written_and_is_not_waited_for(place: Path, window: Window) -> None:
    done = run(place, detached(window, "demo", f"until [ -e go ]; do sleep 0.05; done; {ODD}", ["X"]), X="$Y")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (place / "out").exists()
    (place / "go").touch()
    assert told(place / "out") == "it's $Y\na  b\n{{.Names}}\n"


@pytest.mark.parametrize("window", Window)
def test_each_command_has_the_environment_of_its_own_time(place: Path, window: Window) -> None:
    for value in ("one", "two"):
        assert (
            run(place, detached(window, "demo", f"echo $RAY_ADDRESS > {value}", ["RAY_ADDRESS"]), RAY_ADDRESS=value).returncode
            == 0
        )
        assert told(place / value) == f"{value}\n"


def test_a_persons_own_sessions_are_left_alone(place: Path) -> None:
    run(place, "tmux new-session -d -s mine")
    run(place, detached(Window.TMUX, "demo", "true", []))
    assert run(place, "tmux list-sessions -F '#S'").stdout == "mine\n"
    assert len(run(place, "tmux -L rayctl-demo list-sessions").stdout.splitlines()) == 1
    run(place, "tmux kill-server")


def test_screens_options_reach_it(place: Path) -> None:
    log = place / "the log"  # screen writes to it every ten seconds
    assert run(place, detached(Window.SCREEN, "demo", "echo done > out", [], ["-Logfile", str(log)])).returncode == 0
    assert told(place / "out") == "done\n"
    until(log.exists)


@pytest.mark.parametrize("window", Window)
@pytest.mark.parametrize("text", [lambda w: detached(w, "demo", "true", []), lambda w: attached(w, "demo", new=False)])
def test_where_it_is_not_installed_that_is_said(place: Path, window: Window, text: object) -> None:
    done = run(place, text(window), PATH="/nonexistent")  # type: ignore[operator]
    assert done.returncode == 127
    assert done.stderr == f"rayctl: {window} is not installed on this node; install it there, such as by a set-up command\n"


@pytest.mark.parametrize("window", Window)
def test_attaching_goes_to_the_newest_and_makes_one_where_there_is_none(place: Path, window: Window) -> None:
    def typed(text: str, words: str) -> str:
        """What a terminal shows of it."""
        script = f"(sleep 0.5; printf '%s\\n' {words!r}; sleep 0.5; printf 'exit\\n') | script -qec {text!r} /dev/null"
        return run(place, script).stdout

    assert "=42" in typed(attached(window, "demo", new=False), "echo =$((6*7))")
    run(place, detached(window, "demo", "export V=seven", []))
    assert "=seven" in typed(attached(window, "demo", new=False), "echo =$V")
