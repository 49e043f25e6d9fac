# SPDX-License-Identifier: Apache-2.0
"""Whose shell a step gets, and with which variables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from node_bench import Bench
from stand_in_sudo import StandIn

from rayctl.node import rootshell
from rayctl.node.hub import Talk
from rayctl.node.state import NodeState, make_private
from rayctl.node.work import StepFailed, Work


class Told(Talk):
    """Keeps what a run says."""

    def __init__(self) -> None:
        self.output = ""

    def emit(self, event: str, **fields: Any) -> None:
        self.output += fields.get("text", "")


def work_of(bench: Bench, **secrets: str) -> tuple[Work, Told]:
    make_private(str(bench.folder / "logs"))
    talk = Told()
    plan = bench.plan(env={"FROM_PLAN": "p"})
    return Work(plan, NodeState(str(bench.folder), bench.cluster_id, bench.name), talk, secrets), talk


def step(command: str, **fields: Any) -> dict[str, Any]:
    return {"phase": "setup", "name": "a step", "command": command, **fields}


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Let us be no root, so that root is someone else."""
    monkeypatch.setattr(rootshell, "ROOT", os.geteuid())
    return StandIn(tmp_path, monkeypatch)


def without_being_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayctl.node.sudo.needed", lambda: True)


def test_a_step_as_root_has_sudos_variables_the_plans_and_its_own(
    bench: Bench, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_being_root(monkeypatch)
    monkeypatch.setenv("OF_THE_LOGIN", "x")
    work, talk = work_of(bench)
    work.run_step(0, step('echo "$USER $FROM_PLAN $ITS_OWN ${OF_THE_LOGIN-none}"', become=True), {"ITS_OWN": "o"})
    assert talk.output == "root p o none\n"


def test_any_other_step_has_the_logins_variables_and_no_sudo(
    bench: Bench, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_being_root(monkeypatch)
    stand_in.refuses("never")
    monkeypatch.setenv("OF_THE_LOGIN", "x")
    work, talk = work_of(bench)
    work.run_step(0, step('echo "$FROM_PLAN $ITS_OWN $OF_THE_LOGIN"'), {"ITS_OWN": "o"})
    assert talk.output == "p o x\n"


def test_the_password_is_among_the_secrets_and_never_among_the_variables(
    bench: Bench, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_being_root(monkeypatch)
    stand_in.asks_for("hunter2")
    work, talk = work_of(bench, become_password="hunter2")
    work.run_step(0, step("env", become=True), {})
    work.run_step(1, step("env"), {})
    assert "hunter2" not in talk.output
    assert not [path for path in bench.folder.rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()]


def test_a_step_that_cannot_become_roots_tells_why(bench: Bench, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    without_being_root(monkeypatch)
    stand_in.asks_for("hunter2")
    work, _ = work_of(bench)
    with pytest.raises(StepFailed, match="a step ended with exit code 1") as caught:
        work.run_step(0, step("true", become=True), {})
    assert "--ask-become-pass" in caught.value.report["tail"][0]


@pytest.mark.skipif(os.geteuid() != 0, reason="for who logs in as root")
def test_who_logs_in_as_root_needs_no_sudo(bench: Bench, stand_in: StandIn) -> None:
    stand_in.refuses("never")
    work, talk = work_of(bench)
    work.run_step(0, step("id -u", become=True), {})
    assert talk.output == "0\n"
