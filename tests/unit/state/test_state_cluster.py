# SPDX-License-Identifier: Apache-2.0
"""What a controller remembers of a cluster, and when it believes the provider instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.errors import Refused, StateRefused
from rayctl.state import cluster, files
from rayctl.state.cluster import ClusterRecord, recognise

DEMO = ClusterRecord("demo", "id-1", "/home/anna/demo.yaml", created=1e9, sequences={"gpu": 3})


def test_record_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "clusters" / "demo" / "cluster.json"
    assert cluster.load(path) is None
    cluster.save(path, DEMO)
    assert cluster.load(path) == DEMO


def test_path_that_is_no_utf8_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cluster.json"
    odd = replace(DEMO, config_path="/home/\udcffanna/demo.yaml")
    cluster.save(path, odd)
    assert cluster.load(path) == odd


def test_record_of_another_shape_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state" / "cluster.json"
    files.write(path, "cluster", 1, {"name": "demo"})
    with pytest.raises(StateRefused, match="cluster_id: Field required"):
        cluster.load(path)


@pytest.mark.parametrize(
    ("node_type", "seen", "expected"),
    [("gpu", [], 4), ("cpu", [], 1), ("gpu", [1, 2], 4), ("gpu", [9, 5], 10), ("cpu", [2], 3)],
)
def test_next_number_follows_all_that_were_ever_seen(node_type: str, seen: list[int], expected: int) -> None:
    number, record = DEMO.next_sequence(node_type, seen)
    assert number == record.sequences[node_type] == expected
    assert DEMO.sequences == {"gpu": 3}


@given(st.lists(st.tuples(st.sampled_from(["cpu", "gpu"]), st.lists(st.integers(1, 50)))))
def test_no_number_is_given_twice(launches: list[tuple[str, list[int]]]) -> None:
    record, given_out = DEMO, set()
    for node_type, seen in launches:
        number, record = record.next_sequence(node_type, seen)
        assert number not in seen
        assert (node_type, number) not in given_out
        given_out.add((node_type, number))


def test_first_contact_remembers_what_the_provider_says() -> None:
    assert recognise(None, DEMO) == DEMO


def test_known_cluster_keeps_its_numbers_under_a_moved_file() -> None:
    moved = replace(DEMO, config_path="/srv/demo.yaml", sequences={}, created=2e9)
    assert recognise(DEMO, moved) == replace(DEMO, config_path="/srv/demo.yaml")


def test_another_cluster_of_the_same_name_is_refused() -> None:
    with pytest.raises(Refused, match=r"another cluster of the same name: .*id-2.* id-1 .*/home/anna/demo.yaml") as caught:
        recognise(DEMO, replace(DEMO, cluster_id="id-2"))
    assert caught.value.exit_code == 3
    assert "another cluster_name" in caught.value.hint


def test_another_cluster_is_taken_when_told_to_and_starts_afresh() -> None:
    other = replace(DEMO, cluster_id="id-2", sequences={})
    assert recognise(DEMO, other, accept_other=True) == other
