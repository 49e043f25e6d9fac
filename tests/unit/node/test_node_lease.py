# SPDX-License-Identifier: Apache-2.0
"""The lease on the head: the node and a rayctl on that very machine read and respect each other's."""

from __future__ import annotations

import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from claim_bench import killed_at, start_as

from rayctl.node import lease, processes, state
from rayctl.state.holder import Holder
from rayctl.state.lease import FileLeaseStore, Lease

GRANTED = Lease(Holder("rayctl up demo", 7, 8, "place", "anna", "laptop", 1.5, "c"), 1, 100.0, "b", "token")


@pytest.fixture
def folder(tmp_path: Path) -> str:
    state.make_private(str(tmp_path / "node"))
    return str(tmp_path / "node")


def test_there_is_none_at_first_but_the_time_is_told(folder: str) -> None:
    found = lease.read(folder)
    assert (found.lease, found.boot_id) == (None, processes.boot_id())
    assert found.now == pytest.approx(processes.uptime(), abs=5)


def test_what_the_node_stores_a_local_store_reads(folder: str) -> None:
    assert lease.compare_and_set(folder, 0, asdict(GRANTED))
    assert FileLeaseStore(Path(folder) / lease.FILE).read().lease == GRANTED


def test_what_a_local_store_stores_the_node_reads(folder: str) -> None:
    assert FileLeaseStore(Path(folder) / lease.FILE).compare_and_set(0, GRANTED)
    assert lease.read(folder).lease == asdict(GRANTED)


def test_who_did_not_see_the_last_one_does_not_store(folder: str) -> None:
    store = FileLeaseStore(Path(folder) / lease.FILE)
    assert lease.compare_and_set(folder, 0, asdict(GRANTED))
    assert not lease.compare_and_set(folder, 0, asdict(GRANTED))
    assert not store.compare_and_set(0, GRANTED)
    assert store.compare_and_set(1, replace(GRANTED, generation=2))
    assert not lease.compare_and_set(folder, 1, asdict(GRANTED))
    assert lease.compare_and_set(folder, 2, asdict(GRANTED))


def test_of_several_that_race_exactly_one_stores(folder: str) -> None:
    for turn in range(1, 11):
        stores = [lambda turn=turn: lease.compare_and_set(folder, turn - 1, {**asdict(GRANTED), "generation": turn})] * 3
        waiting = [start_as(os.geteuid(), store) for store in stores]
        assert sorted(result() for result in waiting) == [False, False, True]


def test_a_kill_at_any_moment_leaves_the_old_or_the_new(folder: str) -> None:
    lease.compare_and_set(folder, 0, asdict(GRANTED))
    call, new = 1, asdict(replace(GRANTED, generation=2))
    while killed_at(call, lambda: lease.compare_and_set(folder, 1, new)):
        assert lease.read(folder).lease in (asdict(GRANTED), new)
        call += 1
    assert call > 4
    assert lease.read(folder).lease == new


@pytest.mark.parametrize(
    "text", ["", "{", '{"version": 1, "kind": "lease"}', '{"version": 1, "kind": "claim", "generation": 1}']
)
def test_a_damaged_one_is_not_taken_for_none(folder: str, text: str) -> None:
    (Path(folder) / lease.FILE).write_text(text)
    for use in (lambda: lease.read(folder), lambda: lease.compare_and_set(folder, 0, asdict(GRANTED))):
        with pytest.raises(state.NodeError, match=r"lease.json is damaged; move it away"):
            use()


def test_one_of_a_newer_rayctl_is_refused(folder: str) -> None:
    (Path(folder) / lease.FILE).write_text('{"version": 2, "kind": "lease", "generation": 1}')
    with pytest.raises(state.NodeError, match="written by a newer rayctl"):
        lease.read(folder)


def test_one_that_others_could_have_written_is_refused(folder: str) -> None:
    lease.compare_and_set(folder, 0, asdict(GRANTED))
    (Path(folder) / lease.FILE).chmod(0o666)
    with pytest.raises(state.NodeError, match="can be written by others"):
        lease.read(folder)


def test_a_lock_that_cannot_be_is_a_sentence(folder: str) -> None:
    os.mkdir(Path(folder) / "lease.json.lock")
    changes: dict[str, Any] = asdict(GRANTED)
    with pytest.raises(state.NodeError, match=r"cannot open .*/lease.json.lock: Is a directory"):
        lease.compare_and_set(folder, 0, changes)
