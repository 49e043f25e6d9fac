# SPDX-License-Identifier: Apache-2.0
"""Stored documents: versions, kinds, migrations, damage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayctl.errors import StateRefused
from rayctl.state import files, private

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
MIGRATE = {
    1: lambda data: {"names": [data["name"]]},
    2: lambda data: {"names": data["names"], "count": len(data["names"])},
}


@dataclass(frozen=True)
class Thing:
    name: str
    size: float


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "thing.json"


@settings(max_examples=40)  # each one is synced to the disk
@given(st.dictionaries(st.text().filter(lambda key: key not in ("version", "kind")), JSON))
def test_what_is_written_is_read(data: dict[str, object]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "thing.json"
        files.write(path, "thing", 1, data)
        assert files.read(path, "thing", 1) == data


def test_document_is_json_that_tells_its_version_and_kind(path: Path) -> None:
    files.write(path, "thing", 4, {"name": "a"})
    assert json.loads(path.read_text()) == {"version": 4, "kind": "thing", "name": "a"}


def test_version_and_kind_are_not_the_datas_to_give(path: Path) -> None:
    with pytest.raises(ValueError, match="version"):
        files.write(path, "thing", 1, {"version": 2})


def test_no_file_is_no_document(path: Path) -> None:
    assert files.read(path, "thing", 1) is None


def test_document_of_a_newer_rayctl_is_refused(path: Path) -> None:
    files.write(path, "thing", 3, {"name": "a"})
    with pytest.raises(StateRefused) as caught:
        files.read(path, "thing", 2)
    assert caught.value.message == f"{path} was written by a newer rayctl (version 3, this one reads up to 2)"
    assert "Update" in caught.value.hint


def test_older_document_is_migrated_version_by_version(path: Path) -> None:
    files.write(path, "thing", 1, {"name": "a"})
    assert files.read(path, "thing", 3, MIGRATE) == {"names": ["a"], "count": 1}


def test_migration_starts_where_the_document_is(path: Path) -> None:
    files.write(path, "thing", 2, {"names": ["a", "b"]})
    assert files.read(path, "thing", 3, MIGRATE) == {"names": ["a", "b"], "count": 2}


def test_reading_an_older_document_leaves_it_as_it_is(path: Path) -> None:
    files.write(path, "thing", 1, {"name": "a"})
    before = path.read_bytes()
    files.read(path, "thing", 3, MIGRATE)
    assert path.read_bytes() == before


def test_document_too_old_to_migrate_is_refused(path: Path) -> None:
    files.write(path, "thing", 1, {"name": "a"})
    with pytest.raises(StateRefused, match=r"much older rayctl \(version 1, this one reads from 2 on\)"):
        files.read(path, "thing", 3, {2: MIGRATE[2]})


def test_document_that_does_not_migrate_is_damaged(path: Path) -> None:
    files.write(path, "thing", 1, {"nome": "a"})
    with pytest.raises(StateRefused, match=r"could not be brought from version 1 to 2 \(KeyError\('name'\)\)"):
        files.read(path, "thing", 3, MIGRATE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no JSON"),
        (b'{"version": 1, "kind": "th', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[1]", "no object"),
        (b'{"kind": "thing"}', "its version is None"),
        (b'{"version": true, "kind": "thing"}', "its version is True"),
        (b'{"version": 0, "kind": "thing"}', "its version is 0"),
        (b'{"version": "1", "kind": "thing"}', "its version is '1'"),
        (b'{"version": 1, "kind": "lease"}', "of kind 'thing' and holds 'lease'"),
    ],
)
def test_damaged_file_is_named_with_what_to_do(path: Path, content: bytes, why: str) -> None:
    private.store(path, content)
    with pytest.raises(StateRefused, match=why) as caught:
        files.read(path, "thing", 1)
    assert caught.value.message.startswith(f"{path} is damaged: ")
    assert "Move it away" in caught.value.hint


def test_planted_document_is_refused_before_it_is_parsed(path: Path, give_away: Callable[[Path], None]) -> None:
    private.store(path, b"no JSON at all")
    give_away(path)
    with pytest.raises(StateRefused, match="belongs to"):
        files.read(path, "thing", 1)


def test_document_is_created_once(path: Path) -> None:
    assert files.create(path, "thing", 1, {"name": "a"}) is True
    assert files.create(path, "thing", 1, {"name": "b"}) is False
    assert files.read(path, "thing", 1) == {"name": "a"}


def test_data_becomes_the_record_it_stands_for(path: Path) -> None:
    assert files.parse(path, Thing, {"name": "a", "size": 2, "later": "unknown here"}) == Thing("a", 2.0)


@pytest.mark.parametrize(
    ("data", "why"), [({"name": "a"}, "size: Field required"), ({"name": 1, "size": 1.0}, "name: .*valid string")]
)
def test_data_of_another_shape_is_damage(path: Path, data: dict[str, object], why: str) -> None:
    with pytest.raises(StateRefused, match=f"{path} is damaged: {why}"):
        files.parse(path, Thing, data)
