# SPDX-License-Identifier: Apache-2.0
"""A step that is ended before its time leaves nothing, and nothing of it goes on meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_bench import Bench, eventually

from rayctl.node import ending, processes
from rayctl.node.steps import LoginShell, Step, command_of

Begin = Callable[[str], LoginShell]


@pytest.fixture
def begin(bench: Bench) -> Iterator[Begin]:
    """Starts a step and waits until it says `ready`."""
    begun: list[tuple[LoginShell, Step]] = []

    def start(command: str) -> LoginShell:
        log = str(bench.out / "step.log")
        shell = LoginShell(command_of(command, {**bench.env, "RAYCTL_PATH": ""}), log)
        step = Step(shell, log)
        step.start()
        begun.append((shell, step))
        eventually(lambda: b"ready" in (bench.out / "step.log").read_bytes())
        return shell

    yield start
    for shell, step in begun:
        ending.end_step(shell.command.mark, 0.1)
        eventually(lambda shell=shell: shell.poll() is not None)
        step.close()


HIDERS = {
    "a plain child": "sleep $NAP & echo ready; wait",
    "a session of its own": "setsid sleep $NAP & echo ready; wait",
    "a double fork": "(setsid sh -c 'sleep $NAP & sleep $NAP &' &); echo ready; sleep $NAP",
    "deaf to SIGTERM": "(trap '' TERM HUP; sleep $NAP) & echo ready; wait",
    "deaf in a session of its own": "setsid bash -c 'trap \"\" TERM HUP INT; echo ready; while :; do sleep $NAP; done' & wait",
    "without an environment": "env -i sleep $NAP & echo ready; wait",
    "without an environment and deaf": "(trap '' TERM HUP; exec env -i sleep $NAP) & echo ready; wait",
    "without an environment and obstinate": "env -i bash -c 'trap : TERM; echo ready; while :; do sleep $0; done' $NAP",
    "nohup": "nohup sleep $NAP & echo ready; wait",
    "stopped": "sleep $NAP & sleep 0.2; kill -STOP $!; echo ready; wait",
    "a shell in a shell": "bash --login -i -c 'echo ready; sleep $NAP; sleep $NAP'; sleep $NAP",
    "a coprocess": "coproc sleep $NAP; echo ready; exec sleep $NAP",
}


@pytest.mark.parametrize("command", HIDERS.values(), ids=HIDERS.keys())
def test_no_child_is_left_however_it_hides(bench: Bench, begin: Begin, command: str) -> None:
    step = begin(command)
    eventually(bench.sleepers)
    assert ending.end_step(step.command.mark, grace_s=0.3) == []
    assert bench.sleepers() == []
    assert eventually(step.poll) != 0


@pytest.mark.parametrize("shell", ["{}", "bash -c '{}'", "bash --login -i -c '{}'", "({})", "sh -c '{}' & wait", "eval '{}'"])
def test_the_rest_of_a_list_never_runs(bench: Bench, begin: Begin, shell: str) -> None:
    step = begin(shell.format("echo ready; sleep $NAP; touch $O/went-on; sleep $NAP"))
    eventually(bench.sleepers)
    assert ending.end_step(step.command.mark) == []
    assert not (bench.out / "went-on").exists()


def test_all_of_it_stands_still_before_any_of_it_is_asked(bench: Bench, begin: Begin) -> None:
    step = begin("(while :; do sleep 0.01; done) & setsid sleep $NAP & echo ready; wait")
    eventually(bench.sleepers)
    kin = ending.Kin(step.command.mark)
    # one of the short sleeps may have ended just before its signal came
    frozen = [process for process in kin.freeze() if processes.alive(process.pid, process.started)]
    assert {process.pid for process in frozen} == {process.pid for process in kin.members()}
    assert {state_of(process.pid) for process in frozen} == {"T"}
    assert len(frozen) >= 4


def state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_who_obeys_may_tidy_up_and_is_not_killed(bench: Bench, begin: Begin) -> None:
    tidy = "bash -c 'trap \"touch $O/tidied; exit\" TERM; echo ready; while :; do sleep 0.02; done'"
    step = begin(tidy)
    began = time.monotonic()
    assert ending.end_step(step.command.mark) == []
    assert (bench.out / "tidied").exists()
    assert time.monotonic() - began < ending.GRACE_S


def test_another_step_and_rays_processes_are_left_alone(bench: Bench, begin: Begin) -> None:
    other = begin("echo ready; exec sleep $NAP")
    (bench.out / "step.log").unlink()
    step = begin("echo ready; sleep $NAP")
    assert ending.end_step(step.command.mark) == []
    assert other.poll() is None


def test_a_step_that_is_over_costs_no_wait() -> None:
    began = time.monotonic()
    assert ending.end_step("0" * 32) == []
    assert time.monotonic() - began < 1


def test_what_cannot_be_ended_is_named(bench: Bench, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    step = begin("echo ready; sleep $NAP")
    with monkeypatch.context() as patch:

        def refused(pid: int, number: int) -> None:
            raise PermissionError

        patch.setattr(ending.os, "kill", refused)
        patch.setattr(ending, "KILL_S", 0.1)
        left = ending.end_step(step.command.mark, grace_s=0.1)
    assert "sleep" in {process.name for process in left}
