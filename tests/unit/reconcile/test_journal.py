# SPDX-License-Identifier: Apache-2.0
"""What the scaler must not forget reads as it was written, by every later rayctl too."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, fields, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.errors import StateRefused
from rayctl.gcs.view import Demand, LabelRule
from rayctl.providers.base import Kind, LaunchRequest, Slot
from rayctl.reconcile import journal as journals
from rayctl.reconcile.backoff import Backoff
from rayctl.reconcile.journal import Asked, Drain, Ending, Failure, Journal, Trouble
from rayctl.state import private
from tests.unit.reconcile.desk import asked

STORED = Path(__file__).parents[2] / "fixtures" / "v1" / "scaler-journal.json"
OF_VERSION_1 = Journal(
    cluster_id="0f0c1f2e-9a52-4d0e-8a1b-7b6c5d4e3f21",
    ray="session_2026-01-05_09-30-00_123456_812",
    quiet_until=1767605520.5,
    doubt_until=1767605430.0,
    sequences={"small": 12},
    workers=7,
    asked={
        "0b0e": Asked(
            LaunchRequest(
                Kind.WORKER, "small", (Slot("demo-small-11", "0b0e"), Slot("demo-small-12", "0b0f")), "v1:ab12",
                {"image": "ubuntu", "disks": [{"size": 100}]}, {"CPU": 4.0}, {"zone": "a"},
                {"ray-node-status": "uninitialized"},
            ), 1767605500.25, {"0b0e": "i-11"}, 1767605504.25, 2,
        )
    },
    ending={"i-3": Ending(1767605400.0, "idle", 1767605430.0)},
    draining={"i-4": Drain(1767605410.0, "max_workers", "there may be 7 workers at most", accepted=True)},
    troubles={"i-5": Trouble(1, 1767605300.0, "no route to host", 1767605302.0, silent=True)},
    setbacks={"gpu": Backoff("no capacity (capacity)", 1767605200.0, 1767605320.0, 2)},
    quarantine={"10.0.0.9": Backoff("does not answer", 1767605210.0, 1767605240.0)},
    failures=(Failure("small", "pip install: exit code 1", 1767605000.0, 1767605100.0, "demo-small-2", 1, "/var/log/2"),),
    learnt={"any": {"CPU": 2.0, "memory": 4e9}},
    requested=(Demand({"CPU": 1.0}, 4, ((LabelRule("zone", ("a", "b"), negated=True),),)),),
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "journal.json"


def change(path: Path, **values: object) -> None:
    private.store(path, json.dumps({**json.loads(path.read_text()), **values}).encode())


def test_all_times_can_be_made_earlier_and_nothing_else_changes() -> None:
    def times_of(journal: Journal) -> list[str]:
        return re.findall(r"\b17676\d{5}\.\d+", json.dumps(asdict(journal)))

    def rest_of(journal: Journal) -> str:
        return re.sub(r"\b17676\d{5}\.\d+", "", json.dumps(asdict(journal)))

    earlier = OF_VERSION_1.earlier(100.0)
    assert [float(time) for time in times_of(earlier)] == [float(time) - 100 for time in times_of(OF_VERSION_1)]
    assert rest_of(earlier) == rest_of(OF_VERSION_1)
    assert len(times_of(earlier)) == 15


def test_a_journal_of_version_1_reads_and_says_the_same(path: Path) -> None:
    private.store(path, STORED.read_bytes())
    assert journals.load(path) == OF_VERSION_1


def test_the_stored_one_has_something_in_every_place() -> None:
    assert not [field.name for field in fields(Journal) if not getattr(OF_VERSION_1, field.name)]


def test_where_there_is_none_nothing_is_told(path: Path) -> None:
    assert journals.load(path) is None


def test_one_of_a_newer_rayctl_is_refused(path: Path) -> None:
    journals.store(path, OF_VERSION_1)
    change(path, version=2)
    with pytest.raises(StateRefused, match="newer rayctl"):
        journals.load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 1, "kind": "lease"}'])
def test_a_damaged_one_is_refused(path: Path, content: bytes) -> None:
    private.store(path, content)
    with pytest.raises(StateRefused, match="damaged"):
        journals.load(path)


@pytest.mark.parametrize("values", [{"workers": "many"}, {"asked": {"t": {"at": 1}}}, {"ending": 5}])
def test_one_that_says_what_cannot_be_is_refused(path: Path, values: dict[str, object]) -> None:
    journals.store(path, OF_VERSION_1)
    change(path, **values)
    with pytest.raises(StateRefused, match="damaged"):
        journals.load(path)


words, moments = st.text(max_size=8), st.floats(0, 4e9)
amounts = st.dictionaries(words, st.floats(0, 1e12), max_size=3)
configs = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=8,
)  # fmt: skip
requests = st.builds(
    LaunchRequest, st.sampled_from(Kind), words,
    st.lists(st.builds(Slot, words, words), min_size=1, max_size=3).map(tuple), words,
    st.dictionaries(words, configs, max_size=3), amounts, st.dictionaries(words, words), st.dictionaries(words, words),
)  # fmt: skip
rules = st.builds(LabelRule, words, st.lists(words, max_size=2).map(tuple), st.booleans())
demands = st.builds(Demand, amounts, st.integers(0, 9), st.lists(st.lists(rules, max_size=2).map(tuple), max_size=2).map(tuple))


def table(values: st.SearchStrategy[object]) -> st.SearchStrategy[dict[str, object]]:
    return st.dictionaries(words, values, max_size=2)


@given(
    st.builds(
        Journal, words, moments, moments, table(st.integers(0)), st.integers(0),
        table(st.builds(Asked, requests, moments, st.dictionaries(words, words), moments, st.integers(1))),
        table(st.builds(Ending, moments, words, moments)), table(st.builds(Drain, moments, words, words, st.booleans())),
        table(st.builds(Trouble, st.integers(0), moments, words, moments, st.booleans())),
        table(st.builds(Backoff, words, moments, moments, st.integers(1))),
        table(st.builds(Backoff, words, moments, moments, st.integers(1))),
        st.lists(st.builds(Failure, words, words, moments, moments, words, st.integers(), words), max_size=2).map(tuple),
        table(amounts), st.lists(demands, max_size=2).map(tuple),
    )
)  # fmt: skip
def test_what_is_stored_is_read_again(tmp_path_factory: pytest.TempPathFactory, journal: Journal) -> None:
    path = tmp_path_factory.getbasetemp() / "roundtrip" / "journal.json"
    journals.store(path, journal)
    assert journals.load(path) == journal


def test_a_launch_is_answered_when_it_is_known_of_each_machine_what_came_of_it() -> None:
    one = asked("a", "b")
    assert not one.answered
    assert not replace(one, ids={"a": "i-1"}).answered
    assert replace(one, ids={"a": "i-1", "b": "i-2"}).answered


def test_what_is_left_of_a_launch_has_the_key_of_its_first_machine() -> None:
    left = asked("a", "b", "c").without(["a", "c"])
    assert left is not None
    assert (left.key, len(left.request.slots)) == ("b", 1)
    assert left.without(["b"]) is None


def test_tables_are_changed_by_copies() -> None:
    before = {"a": 1, "b": 2}
    assert journals.put(before, "a", None) == journals.without(before, ["a", "c"]) == {"b": 2}
    assert journals.put(before, "c", 3) == {"a": 1, "b": 2, "c": 3}
    assert before == {"a": 1, "b": 2}
