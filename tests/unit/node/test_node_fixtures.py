# SPDX-License-Identifier: Apache-2.0
"""What the first version stored on nodes is read for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rayctl.node import control, processes
from rayctl.node.state import NodeState

STORED = Path(__file__).parents[2] / "fixtures" / "v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's private folder with the stored files, on the machine that they name."""
    monkeypatch.setattr(processes, "machine_id", lambda: "0123456789abcdef0123456789abcdef")
    place = tmp_path / "state"
    place.mkdir(mode=0o700)
    for stored, name in (("node-state.json", "state.json"), ("runner.json", control.STATUS)):
        shutil.copyfile(STORED / stored, place / name)
        (place / name).chmod(0o600)
    return place


def test_a_node_remembers_what_the_first_version_did(folder: Path) -> None:
    known = NodeState(str(folder), "5f2a7c1e-3b1d-4c55-9a57-0d6d3a0e8b11", "demo-worker-1").load()
    assert list(known.mounts) == ["~/app"]
    assert [step["name"] for step in known.steps] == ["install"]
    assert known.ray is not None
    assert known.ray["versions"] == "2.60.0 3.11"


def test_it_is_another_nodes_or_machines_business(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = NodeState(str(folder), "5f2a7c1e-3b1d-4c55-9a57-0d6d3a0e8b11", "demo-worker-2").load()
    assert (other.mounts, other.steps, other.ray) == ({}, [], None)
    monkeypatch.setattr(processes, "machine_id", lambda: "f" * 32)
    assert NodeState(str(folder), "5f2a7c1e-3b1d-4c55-9a57-0d6d3a0e8b11", "demo-worker-1").load().steps == []


def test_a_runner_of_the_first_version_is_recognised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "alive", lambda pid, started: (pid, started) == (4711, 316700))
    runner = control.living_runner(str(folder))
    assert runner is not None
    assert runner["step_run"] == "47626dd1a6244570837d2d4f283ccd7b"
