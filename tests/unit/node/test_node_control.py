# SPDX-License-Identifier: Apache-2.0
"""Ending a runner from outside, by its status file alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from node_bench import eventually

from rayctl.node import control, ending, processes, state

Stand = Callable[..., subprocess.Popen[bytes]]
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = Path(state.folder_of(str(tmp_path)))
    state.make_private(str(found))
    return found


@pytest.fixture
def stand_in(folder: Path) -> Iterator[Stand]:
    """A process that the status file names as the runner."""
    children = []

    def start(code: str = "import time; print(flush=True); time.sleep(60)", **fields: Any) -> subprocess.Popen[bytes]:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        children.append(child)
        assert child.stdout is not None
        child.stdout.readline()
        process = processes.find(child.pid)
        assert process is not None
        status(folder, pid=process.pid, started=process.started, **fields)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def status(folder: Path, **fields: Any) -> None:
    (folder / control.STATUS).write_text(json.dumps({"version": 1, "step": "s", "step_run": "", **fields}))


def test_a_published_runner_is_found_while_it_lives(folder: Path) -> None:
    assert control.living_runner(str(folder)) is None
    control.publish(str(folder), "one", "mark")
    found = control.living_runner(str(folder))
    assert found is not None
    assert (found["pid"], found["step"], found["step_run"]) == (os.getpid(), "one", "mark")


@pytest.mark.parametrize("fields", [{}, {"pid": "7", "started": 1}, {"pid": 7}])
def test_a_damaged_status_is_nobodys(folder: Path, tmp_path: Path, fields: dict[str, Any]) -> None:
    status(folder, **fields)
    assert control.living_runner(str(folder)) is None
    assert control.stop_runner(str(tmp_path)) is False


def test_a_pid_that_was_given_to_someone_else_is_left_alone(folder: Path, tmp_path: Path, stand_in: Stand) -> None:
    child = stand_in()
    process = processes.find(child.pid)
    assert process is not None
    status(folder, pid=process.pid, started=process.started - 1)
    assert control.stop_runner(str(tmp_path)) is False
    assert child.poll() is None


@pytest.mark.parametrize("suspended", [False, True])
def test_a_runner_is_asked_to_end(tmp_path: Path, stand_in: Stand, suspended: bool) -> None:
    child = stand_in()
    if suspended:
        child.send_signal(signal.SIGSTOP)
    assert control.stop_runner(str(tmp_path)) is True
    assert child.wait() == -signal.SIGTERM


def test_one_that_does_not_obey_is_killed_and_its_step_with_it(tmp_path: Path, stand_in: Stand) -> None:
    step = subprocess.Popen(["sleep", "60"], env={ending.VARIABLE: "the-mark"}, start_new_session=True)
    eventually(lambda: processes.marked("the-mark", (ending.VARIABLE,)))
    child = stand_in(DEAF, step_run="the-mark")
    assert control.stop_runner(str(tmp_path), grace_s=0.2) is True
    assert child.wait() == -signal.SIGKILL
    assert step.wait() == -signal.SIGTERM


def test_what_a_dead_runner_left_and_does_not_end_stops_the_next(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status(folder, pid=1, started=1, step="step 3", step_run="m")
    monkeypatch.setattr(ending, "end_step", lambda mark: [processes.Process(7, 1, "sudo", 7)])
    with pytest.raises(state.NodeError, match=r"a step of an earlier run, step 3, still runs and does not end: sudo \(pid 7\)"):
        control.end_leftovers(str(folder))


def test_without_a_status_nothing_is_left(folder: Path) -> None:
    control.end_leftovers(str(folder))
