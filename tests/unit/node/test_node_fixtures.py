# SPDX-License-Identifier: Apache-2.0
"""What the first version stored on nodes is read for ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rayctl.node import claims, control, launched, lease, processes, state
from rayctl.node.state import NodeState

STORED = Path(__file__).parents[2] / "fixtures" / "v1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's private folder with the stored files, on the machine that they name."""
    monkeypatch.setattr(processes, "machine_id", lambda: "0123456789abcdef0123456789abcdef")
    place = tmp_path / "state"
    place.mkdir(mode=0o700)
    files = {
        "node-state.json": "state.json",
        "runner.json": control.STATUS,
        "claim-token.json": launched.FILE,
        "lease.json": lease.FILE,
    }
    for stored, name in files.items():
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


def test_a_claim_of_the_first_version_counts() -> None:
    claim = claims.parse(state.decoded((STORED / "claim.json").read_text()), 1000)
    assert claim is not None
    assert (claim.cluster, claim.node, claim.node_kind, claim.owner, claim.generation) == (
        "demo", "demo-worker-1", "worker", "anna@laptop", 3,
    )  # fmt: skip
    assert claims.holds(claim, "a16cfa44-883d-4ddd-bc40-593104ac797b", 4100.0, lambda *process: False)
    assert claims.holds(claim, "a16cfa44-883d-4ddd-bc40-593104ac797b", 5000.0, lambda *process: process == (4711, 316766, 1000))


def test_its_private_half_is_read(folder: Path) -> None:
    private = launched.read(str(folder), "5f2a7c1e-3b1d-4c55-9a57-0d6d3a0e8b11")
    assert private is not None
    assert (private["token"], private["resources"], private["tags"]) == (
        "0d5f7a52-6b58-5f0e-9f56-3a7f8f1c0d22", {"CPU": 4.0}, {"rayctl-launch": "v1:4e07"},
    )  # fmt: skip
    assert launched.published(private, 1000).node == "demo-worker-1"


def test_a_lease_of_the_first_version_is_read_on_the_node(folder: Path) -> None:
    found = lease.read(str(folder)).lease
    assert found is not None
    assert (found["generation"], found["owner"]["host"]) == (7, "laptop")
