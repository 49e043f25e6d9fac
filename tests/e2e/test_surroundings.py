# SPDX-License-Identifier: Apache-2.0
"""Places that are not as one would wish: homes that take no files, pipes that end, terminals that are narrow."""

from __future__ import annotations

import os
import pty
import re
import resource
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest


def test_a_home_that_cannot_be_made_is_one_paragraph(standin: Any) -> None:
    failed = standin.up(code=1, env={"RAYCTL_HOME": "/sys/home"})
    assert "no log of this run is kept" in failed.stderr
    assert "cannot make /sys/home" in failed.stderr
    assert "RAYCTL_HOME" in failed.stderr


def test_a_full_disk_is_one_paragraph_and_nothing_half_written(standin: Any) -> None:
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # noqa: E731
    failed = standin.up(code=1, preexec_fn=full)
    assert "Free some space" in failed.stderr
    standin.home.mkdir(exist_ok=True)
    assert [path for path in standin.home.rglob("*") if path.is_file() and path.stat().st_size] == []
    assert standin.nodes() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_home_of_somebody_else_is_not_trusted(standin: Any) -> None:
    standin.home.mkdir(mode=0o755)
    (standin.home / "clusters").mkdir()
    for folder in (standin.home, standin.home / "clusters"):
        os.chown(folder, 54321, 54321)
    refused = standin.up(code=3)
    assert "belongs to 54321, not to root" in refused.stderr
    assert not (standin.home / "embedded").exists(), "nothing is launched before that is known"


def test_a_reader_that_has_seen_enough_is_no_failure(standin: Any) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        ["rayctl", "schema"], env={**standin.env, "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin"},
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("place", "code", "said"), [(">&-", 0, ""), ("> /dev/full", 1, "error: cannot write to stdout: No space left on device\n")]
)
def test_a_stdout_that_takes_nothing_is_no_fault_of_rayctls(standin: Any, place: str, code: int, said: str) -> None:
    line = f"{Path(sys.executable).parent}/rayctl list {place}"
    done = subprocess.run(["bash", "-c", line], env=standin.env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, said)


@pytest.mark.ansible
@pytest.mark.slow
@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_status_cuts_nothing_at_any_width(standin: Any, columns: int) -> None:
    standin.up()
    for flags in ([], ["--probe"]):
        shown = standin.run("status", *flags, str(standin.file), env={"COLUMNS": str(columns)}).stdout
        for node in standin.nodes().values():
            assert node["name"] in shown
            assert node["address"] in shown
        assert "P\nR\nO" not in re.sub(r" +", "", shown)


def test_a_name_that_is_none_is_told_and_one_that_is_will_do(standin: Any) -> None:
    said = standin.run("exec", "nosuch", "true", code=125).stderr
    assert "nosuch is no file, and no cluster that this machine has met" in said
    assert "rayctl list" in said
    assert "no cluster that this machine has met" in standin.run("validate", "nosuch", code=2).stderr
    assert "cannot be read" in standin.run("validate", "nosuch.yaml", code=2).stdout


def test_debug_shows_a_traceback_and_keeps_the_exit_code(standin: Any) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "rayctl", "--debug", "up", "gone.yaml"], env=standin.env, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "Traceback" in done.stderr


# ---- a terminal
def on_terminal(standin: Any, *words: str, columns: int = 80, answer: str = "", **env: str) -> list[tuple[float, str]]:
    """What rayctl shows on a terminal, in pieces with the second at which each came; it must end well."""
    pid, terminal = pty.fork()
    if pid == 0:
        path = Path(sys.executable).parent / "rayctl"
        ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(path, ["rayctl", *words], {**standin.env, "TERM": "xterm", **env})
    pieces, began = [], time.monotonic()
    while True:
        try:
            piece = os.read(terminal, 65536).decode("utf-8", "replace")
        except OSError:  # the terminal's other end is closed
            break
        pieces.append((time.monotonic() - began, piece))
        if answer and "[y/N]" in piece:
            os.write(terminal, answer.encode())
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, "".join(piece for _, piece in pieces)
    return pieces


def plain(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


@pytest.mark.ansible
@pytest.mark.slow
def test_a_watcher_sees_what_runs_and_for_how_long(standin: Any) -> None:
    del standin.env["COLUMNS"]
    standin.write({"command": "sleep 5", "name": "[[ the long one ]]"})
    pieces = on_terminal(standin, "up", str(standin.file), answer="y\n")
    whole = plain("".join(piece for _, piece in pieces))
    plan = [
        "demo: 3 nodes to launch",
        "  launch the head (head), with 1 set-up step",
        "  launch 2 workers (worker), with 1 set-up step",
    ]
    assert "\r\n".join([*plan, "No job is interrupted.", "Go on? [y/N]: y"]) in whole
    begun = next(at for at, piece in pieces if re.search(r"worker-1.*the long one", plain(piece)))
    later, told = next(
        (at, int(shown[1]))
        for at, piece in pieces
        if (shown := re.search(r"worker-1.*the long one \]\] +([2-4]) s", plain(piece)))
    )
    assert later - begun < told + 2
    last = whole[whole.rindex("✓ ") - 200 :]
    assert re.search(r"✓  demo-head-1 .*answers|✓  demo-head-1 .*ready", last)
    assert "demo is up" in last


@pytest.mark.ansible
@pytest.mark.slow
def test_a_narrow_terminal_without_colour_shows_a_line_per_node(standin: Any) -> None:
    del standin.env["COLUMNS"]
    standin.write({"command": "sleep 1", "name": "a name that is much too long for a terminal of forty columns"})
    pieces = on_terminal(standin, "up", "-y", str(standin.file), columns=40, NO_COLOR="1")
    whole = "".join(piece for _, piece in pieces)
    assert not re.search(r"\x1b\[3[0-9]m", whole), "no colours"
    table, _, _ = plain(whole).partition("demo is up")
    rows = [row for row in re.split(r"[\r\n]+", table) if "demo-worker-1" in row]
    assert rows
    assert max(len(row) for row in rows) <= 40
    assert any(re.search(r"demo-worker-1  step 1/1 .*…  +[01](\.\d)? s", row) for row in rows)
