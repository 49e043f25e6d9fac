# SPDX-License-Identifier: Apache-2.0
"""Snapshots as text, to be looked at later: JSON with a version. What has its usual value is left out.

`tests/fixtures/v1/snapshot.json` is one of version 1, kept for ever. Reading and writing files is left to others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from rayctl.planner.model import Snapshot

VERSION = 1
KIND = "rayctl-snapshot"


class NoSnapshot(ValueError):
    """The text holds no snapshot that this rayctl can read; its own text says why. `newer`: a later rayctl could."""

    def __init__(self, why: str, *, newer: bool = False) -> None:
        super().__init__(why)
        self.newer = newer


@dataclass(frozen=True)
class Saved:
    """A snapshot, the name of its cluster, and when it was taken (ISO 8601)."""

    snapshot: Snapshot
    cluster: str
    taken_at: str


def dump(snapshot: Snapshot, cluster: str, taken_at: str) -> str:
    """The text of a snapshot: equal snapshots give equal texts."""
    document = {"version": VERSION, "kind": KIND, "cluster": cluster, "taken_at": taken_at, "snapshot": _plain(snapshot)}
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def load(text: str | bytes) -> Saved:
    """The snapshot in a text. Raises `NoSnapshot`."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise NoSnapshot(f"it is no JSON: {error}") from None
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise NoSnapshot(f'it is no document of the kind "{KIND}"')
    version = document.get("version")
    if type(version) is not int or version < 1:
        raise NoSnapshot(f"its version is {version!r}")
    if version > VERSION:
        raise NoSnapshot(f"it has version {version}, and this rayctl reads versions up to {VERSION}", newer=True)
    try:
        snapshot = TypeAdapter(Snapshot).validate_python(document.get("snapshot"), strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        raise NoSnapshot(f"{'.'.join(map(str, first['loc'])) or 'it'}: {first['msg']}") from None
    return Saved(snapshot, str(document.get("cluster", "")), str(document.get("taken_at", "")))


def _plain(value: Any) -> Any:
    """Data that JSON knows."""
    if is_dataclass(value):
        given = ((field.name, getattr(value, field.name)) for field in fields(value) if not _usual(field, value))
        return {name: _plain(own) for name, own in given}
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in sorted(value.items())}
    if isinstance(value, frozenset):
        return sorted(value)
    return [_plain(own) for own in value] if isinstance(value, tuple | list) else value


def _usual(field: Field[Any], of: Any) -> bool:
    """Whether a field has the value that it gets when it is not given."""
    if field.default is not MISSING:
        return bool(getattr(of, field.name) == field.default)
    return field.default_factory is not MISSING and bool(getattr(of, field.name) == field.default_factory())
