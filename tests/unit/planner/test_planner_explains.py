# SPDX-License-Identifier: Apache-2.0
"""What people read about a decision, and the snapshots it is told from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings

from rayctl.gcs.view import LabelRule
from rayctl.planner import Snapshot
from rayctl.planner.explain import explain
from rayctl.planner.model import NodeType, Policy, Setback
from rayctl.planner.snapshot import NoSnapshot, Saved, dump, load
from tests import golden
from tests.unit.planner.checked import plan
from tests.unit.planner.tables import GIB, GPU, HEAD, busy, gang, idle, labelled, pending, want
from tests.unit.planner.worlds import snapshots

FIXTURE = Path(__file__).parents[2] / "fixtures" / "v1" / "snapshot.json"
CPU16 = NodeType("cpu16", {"CPU": 16.0, "memory": 58.0 * GIB}, 8, price=0.68)
CPU64 = NodeType("cpu64", {"CPU": 64.0, "memory": 240.0 * GIB}, 2, price=2.72)
SPOT = NodeType("spot", {"CPU": 16.0, "memory": 58.0 * GIB}, 4, price=0.2, labels={"market": "spot"})
OLD = NodeType("old", {"CPU": 64.0, "memory": 240.0 * GIB}, 4, priority=-1)
BUSY_DAY = Snapshot(
    Policy((CPU16, CPU64, replace(GPU, max_workers=4), SPOT, OLD), max_workers=6),
    (HEAD, busy("i-1", CPU16, free=3, outdated="image: ubuntu-22 -> ubuntu-24"), idle("i-2", GPU, 400), pending("i-3", CPU16)),
    pending=(
        want(40, CPU=1),
        want(1, CPU=1, GPU=1),
        want(2, CPU=2, GPU=4),
        want(10, labelled(market="spot"), (LabelRule("zone", ("a", "b"), negated=True),), CPU=4, memory=4 * GIB),
        want(3, labelled(market="spot"), CPU=4),
    ),
    gangs=tuple(gang("STRICT_SPREAD", 9, f"{n:032x}", CPU=1) for n in range(40)),
    requested=(want(1, CPU=32),),
    setbacks={"spot": Setback("no capacity in zone a", 42.0)},
)


def test_a_decision_in_words() -> None:
    told = explain(BUSY_DAY, plan(BUSY_DAY))
    golden.compare("explain", "\n".join(told.lines()) + "\n")


def test_a_decision_as_data_says_the_same() -> None:
    told = json.loads(json.dumps(explain(BUSY_DAY, plan(BUSY_DAY)).to_dict()))
    assert told["version"] == 1
    assert told["asked"][0]["answer"]["count"] == 40
    assert {"type": "gpu", "chosen": False, "why": "is kept for work that needs its accelerators"} in told["asked"][0][
        "verdicts"
    ]
    assert told["waits"][1].startswith("spot waits 42 s")


@settings(max_examples=100)
@given(snapshots())
def test_every_decision_can_be_told(snapshot: Snapshot) -> None:
    found = plan(snapshot)
    told = explain(snapshot, found)
    lines = list(told.lines())
    assert json.loads(json.dumps(told.to_dict()))["launches"] is not None
    for launch in found.launches:
        assert any(line.strip().startswith(f"{launch.count} {launch.type}: ") for line in lines)
    for explained in told.asked:
        for verdict in explained.verdicts:
            assert verdict.why


@settings(max_examples=100)
@given(snapshots())
def test_a_snapshot_survives_being_written_down(snapshot: Snapshot) -> None:
    text = dump(snapshot, "demo", "2026-01-02T03:04:05Z")
    assert load(text) == Saved(snapshot, "demo", "2026-01-02T03:04:05Z")
    assert dump(load(text).snapshot, "demo", "2026-01-02T03:04:05Z") == text


def test_the_first_version_is_read_for_ever() -> None:
    assert load(FIXTURE.read_bytes()) == Saved(BUSY_DAY, "demo", "2026-11-21T20:00:00Z")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[]", 'it is no document of the kind "rayctl-snapshot"'),
        ('{"kind": "rayctl-snapshot"}', "its version is None"),
        ('{"kind": "rayctl-snapshot", "version": 2}', "it has version 2, and this rayctl reads versions up to 1"),
        ('{"kind": "rayctl-snapshot", "version": 1, "snapshot": {}}', "policy: Field required"),
    ],
)
def test_what_is_no_snapshot_says_why(text: str, why: str) -> None:
    with pytest.raises(NoSnapshot) as refused:
        load(text)
    assert str(refused.value) == why
