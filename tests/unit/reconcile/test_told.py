# SPDX-License-Identifier: Apache-2.0
"""What a scaler tells of itself is read as it was written, also what version 1 ever wrote."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import StateRefused
from rayctl.reconcile import told
from rayctl.reconcile.told import FailureTold, NodeTold, ScalerStatus
from rayctl.state import paths, private

STORED = Path(__file__).parents[2] / "fixtures" / "v1" / "scaler-status.json"
STATUS = ScalerStatus(
    at=1767182587.25, pid=812, started=4711, turn=1204,
    nodes=(
        NodeTold("demo-gpu-1", "i-0abc", "gpu", "up", 1767182000.0),
        NodeTold("demo-gpu-2", "i-0abd", "gpu", "setting up", 1767182500.5, "step 3/5 pip install torch"),
    ),
    launching={"gpu": 2},
    failures=(FailureTold("gpu", "demo-gpu-0", "no capacity", 1767182300.0, 1767182600.0, "/var/log/x.log"),),
    infeasible=("{TPU: 4}: no node type has TPU",), waiting=("3 x gpu has its max_workers (4)",),
    breaker="3 of 9 workers are unwell", quarantined=(("10.0.0.9", "its disk is full", 1767184000.0),),
    problem="the provider refuses us",
)  # fmt: skip


def test_it_is_read_as_it_was_written_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    path = paths.scaler_status(tmp_path, "demo")
    told.write(path, STATUS)
    assert path == tmp_path / "clusters" / "demo" / "status.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert told.read(path) == STATUS


def test_what_it_is_dumped_to_is_json_and_loads_again(tmp_path: Path) -> None:
    assert told.load(json.loads(json.dumps(told.dump(STATUS))), tmp_path) == STATUS
    bare = ScalerStatus(1.0, 2, 3, 4)
    assert told.load(told.dump(bare), tmp_path) == bare


def test_dumping_leaves_the_status_as_it_is() -> None:
    told.dump(STATUS)["launching"]["gpu"] = 9
    assert STATUS.launching == {"gpu": 2}


def test_nothing_was_told_yet(tmp_path: Path) -> None:
    assert told.read(paths.scaler_status(tmp_path, "demo")) is None


def test_what_version_1_wrote_still_reads(tmp_path: Path) -> None:
    private.store(tmp_path / "x" / "status.json", STORED.read_bytes())
    assert told.read(tmp_path / "x" / "status.json") == STATUS


@pytest.mark.parametrize("change", [{"turn": "many"}, {"nodes": [{"name": "x"}]}, {"quarantined": [["h"]]}])
def test_data_that_is_none_is_refused_with_its_place(change: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(StateRefused, match=f"{tmp_path} is damaged: {next(iter(change))}"):
        told.load({**told.dump(STATUS), **change}, tmp_path)


def test_what_a_later_rayctl_adds_is_passed_over(tmp_path: Path) -> None:
    assert told.load({**told.dump(STATUS), "later": 1}, tmp_path) == STATUS


def test_a_turn_replaces_what_the_turn_before_told(tmp_path: Path) -> None:
    path = paths.scaler_status(tmp_path, "demo")
    for turn in (1, 2):
        told.write(path, replace(STATUS, turn=turn))
    assert told.read(path) == replace(STATUS, turn=2)
    assert [file.name for file in path.parent.iterdir()] == ["status.json"]
