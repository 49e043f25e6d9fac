# SPDX-License-Identifier: Apache-2.0
"""Runs that do not get to their end by themselves: Ctrl-C, kill -9, time-outs, two at once."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rayctl.node import processes

pytestmark = [pytest.mark.ansible, pytest.mark.slow]
RAYCTL = Path(sys.executable).parent / "rayctl"
ALL = ["demo-head-1", "demo-worker-1", "demo-worker-2"]


def slow(standin: Any, seconds: float) -> None:
    """Three nodes whose first step is quick and whose second takes so long, unless there is a file `hurry`."""
    wait = f"for i in $(seq {int(seconds * 10)}); do test -e {standin.out}/hurry && break; sleep 0.1; done"
    standin.write(standin.note("one"), standin.note("two", f"{wait}; echo $RAYCTL_STEP >> {standin.out}/three"))


def says(child: subprocess.Popen[str], text: str) -> bool:
    """Whether this is told on stderr, which is read up to there."""
    assert child.stderr is not None
    return any(text in line for line in child.stderr)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_nothing_running_and_says_how_to_resume(standin: Any, number: signal.Signals) -> None:
    slow(standin, 300)
    up = standin.start("up", "-y", str(standin.file), "--no-restart")
    standin.until(lambda: standin.noted("two") == ALL)
    began = time.monotonic()
    os.killpg(up.pid, number)
    _, err = up.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert up.returncode == 130
    assert standin.processes() == []
    assert "Traceback" not in err
    resume = err.splitlines()[-1].strip()
    assert resume == f"rayctl up {standin.file} --no-restart"

    (standin.out / "hurry").touch()
    subprocess.run(["bash", "-c", f"{resume} -y"], env=standin.env, capture_output=True, check=True)
    assert standin.noted("one") == ALL, "what was done stays done"
    assert standin.noted("two") == sorted(ALL * 2)
    assert standin.noted("three") == ALL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words", [["exec", "sleep 975"], ["exec", "--all-nodes", "sleep 975"], ["submit", "long.py"]])
def test_a_signal_to_rayctl_alone_ends_what_it_runs(standin: Any, number: signal.Signals, words: list[str]) -> None:
    standin.up()
    (standin.folder / "long.py").write_text("import time\nprint('sleep 975', flush=True)\ntime.sleep(975)\n")
    child = standin.start(words[0], *words[1:-1], str(standin.file), words[-1], cwd=standin.folder)
    standin.until(lambda: [line for line in standin.processes() if line.startswith(("sleep 975", "python"))])
    time.sleep(0.3)
    os.kill(child.pid, number)
    assert child.wait(20) == 130 if words[0] == "exec" else child.wait(20) in (1, 130), "Python ends with 1 after Ctrl-C"
    standin.until(lambda: not [line for line in standin.processes() if "975" in line or "long.py" in line])


def test_ctrl_c_at_a_terminal_is_130(standin: Any) -> None:
    standin.up()
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(RAYCTL, ["rayctl", "exec", str(standin.file), "echo there; sleep 974"], {**standin.env, "TERM": "xterm"})
    seen = b""
    while b"there" not in seen:
        seen += os.read(terminal, 4096)
    standin.until(lambda: [line for line in standin.processes() if line.startswith("sleep 974")])
    os.write(terminal, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 130
    os.close(terminal)


def test_after_kill_9_the_next_up_follows_the_steps_that_run(standin: Any) -> None:
    slow(standin, 120)
    first = standin.start("up", "-y", str(standin.file))
    standin.until(lambda: standin.noted("two") == ALL)
    owner = processes.find(first.pid)
    assert owner is not None
    mine = (f"{owner.pid}/{owner.started}", ("RAYCTL_OWNER",))
    assert processes.marked(*mine), "the playbook and its workers"
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    standin.until(lambda: not processes.marked(*mine))  # they end themselves; the steps on the nodes go on
    again = standin.start("up", "-y", str(standin.file))
    assert says(again, "an earlier run is still at work here; following it")
    (standin.out / "hurry").touch()
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    for step in ("one", "two", "three", "starts"):
        assert standin.noted(step) == ALL, f"{step} ran once"
    assert list((standin.home / "ansible").iterdir()) == [], "what the killed one left there is gone"


def test_the_second_of_two_waits_and_finds_nothing_to_do(standin: Any) -> None:
    slow(standin, 120)
    first = standin.start("up", "-y", str(standin.file))
    standin.until(lambda: standin.noted("two"))
    hasty = standin.up("--lock-timeout", "0", code=5)
    assert f"rayctl up demo (pid {first.pid}" in hasty.stderr
    second = standin.start("up", "-y", str(standin.file))
    assert says(second, f"waiting for rayctl up demo (pid {first.pid}")
    (standin.out / "hurry").touch()
    out, err = second.communicate(timeout=60)
    assert second.returncode == 0, err
    assert "nothing changed" in out
    assert first.wait(60) == 0
    assert standin.noted("three") == ALL


def test_a_time_limit_ends_the_steps_and_counts_as_failure(standin: Any) -> None:
    slow(standin, 300)
    began = time.monotonic()
    failed = standin.up("--timeout", "2", code=1)
    assert time.monotonic() - began < 60
    assert "rayctl up" in failed.stderr.splitlines()[-1]
    assert failed.stderr.count("✗ ") >= 1
    assert standin.processes() == []


def test_a_long_step_gives_signs_of_life_in_plain_lines(standin: Any) -> None:
    standin.write({"command": "sleep 6", "name": "the long one"})
    lines = standin.up().stderr.splitlines()
    assert any(re.search(r"demo-worker-1 +step 1/1 running for [2-5] s: the long one", line) for line in lines)
