# SPDX-License-Identifier: Apache-2.0
"""Every file that version 1 ever stored still reads, and still means the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayctl.events import Event
from rayctl.state import cluster, files, holder, lock, private, settled, token
from rayctl.state.cluster import ClusterRecord
from rayctl.state.holder import Holder
from rayctl.state.lease import FileLeaseStore, Lease

STORED = Path(__file__).parents[2] / "fixtures" / "v1"
PLACE = "2a3e2b9e-6b58-4f0e-9f56-3a7f8f1c0d22/pid:[4026531836]"
ANNA = Holder("rayctl up demo", pid=812, started=4711, place=PLACE, user="anna", host="laptop", since=1767182587.25)
CONTROLLER = "0c0a3b0e-4f0e-4a39-8a8f-6f5b5e1f7d01"
TOKEN = "000102030405060708090a0b0c0d0e0f"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """The stored files as rayctl would have left them: a checkout may have any mode and owner."""
    for stored in STORED.iterdir():
        private.store(tmp_path / "home" / stored.name, stored.read_bytes())
    return tmp_path / "home"


def test_cluster_of_version_1(home: Path) -> None:
    assert cluster.load(home / "cluster.json") == ClusterRecord(
        name="demo",
        cluster_id="6f1de0bb-6f0b-4c35-9d0b-0a3d8f3a2c11",
        config_path="/home/anna/demo.yaml",
        created=1767182587.25,
        sequences={"gpu": 12, "cpu": 3},
    )


def test_settled_of_version_1(home: Path) -> None:
    read = files.read(home / "settled.json", settled.KIND, settled.VERSION)
    assert read == {"stamp": "5f2b7c1d9e8a4b60112233445566778a"}


def test_controller_of_version_1(home: Path) -> None:
    assert holder.controller_id(home / "controller.json") == CONTROLLER


def test_holder_of_version_1(home: Path) -> None:
    (home / "holder.json").rename(home / "lock.holder.json")
    note = lock._read_note(home / "lock")
    assert (note.holder, note.token) == (ANNA, TOKEN)


def test_lease_of_version_1(home: Path) -> None:
    owner = Holder(**{**ANNA.__dict__, "controller": CONTROLLER})
    expected = Lease(owner, 7, 90061.5, "9d1c7a52-0f2b-4d7e-8f4e-1b2c3d4e5f60", TOKEN)
    assert FileLeaseStore(home / "lease.json").read().lease == expected


def test_token_of_version_1(home: Path) -> None:
    assert token.read(home / "token") == bytes(range(32)).hex()


def test_run_log_of_version_1_reads_and_is_written_the_same(home: Path) -> None:
    lines = (home / "run.jsonl").read_text().splitlines()
    events = [Event.from_json(line) for line in lines]
    assert [event.to_json() for event in events] == lines
    assert [str(event.kind) for event in events] == ["operation_started", "step_ended", "operation_ended"]
