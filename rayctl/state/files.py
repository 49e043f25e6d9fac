# SPDX-License-Identifier: Apache-2.0
"""Stored documents: JSON with a version and a kind, written atomically, checked before they are believed.

Every document is `{"version": n, "kind": "...", ...}`. A newer version is refused, because what this rayctl does not
know it would lose on the next write; an older one is migrated while it is read, one version at a time, and stays as it is
on the disk until it is next written. `tests/fixtures/v1/` keeps one document of each kind for ever.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rayctl.errors import StateRefused
from rayctl.state import private
from rayctl.state.private import private_dir

__all__ = ["Migrations", "create", "encoded", "parse", "private_dir", "read", "write"]

T = TypeVar("T")
Data = dict[str, Any]
Migrations = Mapping[int, Callable[[Data], Data]]
"""For each older version, how its data becomes the next version's."""


def write(path: Path, kind: str, version: int, data: Mapping[str, Any]) -> None:
    """Store a document (0600, its folder 0700). When it cannot, what was there before is whole."""
    private.store(path, encoded(kind, version, data))


def create(path: Path, kind: str, version: int, data: Mapping[str, Any]) -> bool:
    """As `write`, but only if there is no such document yet; whether it was this call that made it."""
    return private.create(path, encoded(kind, version, data))


def read(path: Path, kind: str, version: int, migrate: Migrations | None = None) -> Data | None:
    """The document's data as of `version`, without `version` and `kind`; None when there is no such file.

    Raises `StateRefused` for a file that others could have written, of another kind, damaged, or newer than `version`.
    """
    content = private.load(path)
    return None if content is None else decode(path, content, kind, version, migrate)


def decode(path: Path, content: bytes, kind: str, version: int, migrate: Migrations | None = None) -> Data:
    """The data in a document's bytes, as `read` gives it; `path` is where they are from. Raises `StateRefused`."""
    document = _decoded(path, content)
    found, kind_found = document.pop("version", None), document.pop("kind", None)
    if kind_found != kind:
        raise _damaged(path, f"it should hold a document of kind {kind!r} and holds {kind_found!r}")
    if type(found) is not int or found < 1:
        raise _damaged(path, f"its version is {found!r}")
    if found > version:
        raise StateRefused(
            f"{path} was written by a newer rayctl (version {found}, this one reads up to {version})",
            hint="Update this rayctl to the one that wrote it.",
        )
    return _migrated(path, document, found, version, migrate or {})


def parse(path: Path, cls: type[T], data: Data) -> T:
    """The data of `path` as a `cls`, with every field's type checked. Raises `StateRefused` when it is none."""
    from pydantic import ValidationError  # noqa: PLC0415  costs most of a start, and few commands need it

    try:
        parsed: T = _checker(cls).validate_python(data)  # type: ignore[arg-type]  # mypy: no class can be hashed
        return parsed
    except ValidationError as problem:
        first = problem.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise _damaged(path, f"{where}: {first['msg']}") from None


@functools.cache
def _checker(cls: type) -> Any:
    """Made once: to make it takes a hundred times as long as to use it."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    return TypeAdapter(cls)


def encoded(kind: str, version: int, data: Mapping[str, Any]) -> bytes:
    """The document as bytes, as `write` stores them."""
    if "version" in data or "kind" in data:
        raise ValueError("data may not have the keys 'version' and 'kind'")
    document = {"version": version, "kind": kind, **data}
    return (json.dumps(document, indent=2, allow_nan=False) + "\n").encode()


def _decoded(path: Path, content: bytes) -> Data:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as problem:
        raise _damaged(path, f"it is no JSON ({problem})") from problem
    if not isinstance(document, dict):
        raise _damaged(path, "it is JSON, but no object")
    return document


def _migrated(path: Path, data: Data, found: int, version: int, migrate: Migrations) -> Data:
    for step in range(found, version):
        if step not in migrate:
            raise StateRefused(
                f"{path} was written by a much older rayctl (version {step}, this one reads from {step + 1} on)",
                hint="Run a rayctl of the time between once, or move the file away.",
            )
        try:
            data = migrate[step](data)
        except (LookupError, TypeError, ValueError) as problem:
            raise _damaged(path, f"it could not be brought from version {step} to {step + 1} ({problem!r})") from problem
    return data


def _damaged(path: Path, what: str) -> StateRefused:
    return StateRefused(
        f"{path} is damaged: {what}",
        hint="Move it away and run the command again: rayctl rebuilds it from what the provider knows.",
    )
