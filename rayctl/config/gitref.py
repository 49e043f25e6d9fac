# SPDX-License-Identifier: Apache-2.0
"""Git refs named by their paths, such as `repo/.git/refs/heads/main`, whether git keeps them in files of their own or packed.

A file mount of such a path gives nodes the commit to check out. Where git keeps a ref changes by itself (`git gc`), in
worktrees and submodules `.git` is a file, and what is shared between worktrees lies in the common folder: see
gitrepository-layout(5). Repositories in the reftable format are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_LINKS = 5  # as many symbolic refs in a row as git itself follows


def commit(path: Path) -> str | None:
    """The commit that the path stands for as a ref; None where it is none, or unknown there."""
    for git, name in _readings(path):
        found = _resolved(git, name)
        if found:
            return found
    return None


def _readings(path: Path) -> Iterator[tuple[Path, str]]:
    """Each way to read the path as a git folder and a ref's name."""
    for folder in path.parents:
        name = path.relative_to(folder).as_posix()
        if name.startswith("refs/") and (git := _git_folder(folder)):
            yield git, name


def _git_folder(place: Path) -> Path | None:
    """What `.git` is: a repository's folder, or a file with the way there."""
    pointer = _text(place)
    if pointer.startswith("gitdir: "):
        return place.parent / pointer.removeprefix("gitdir: ")
    return place if (place / "HEAD").exists() else None


def _resolved(git: Path, name: str) -> str | None:
    for _ in range(_LINKS):
        value = _value(git, name)
        if not value.startswith("ref: refs/"):
            return value if _COMMIT.fullmatch(value) else None
        name = value.removeprefix("ref: ")
    return None


def _value(git: Path, name: str) -> str:
    common = git / (_text(git / "commondir") or ".")
    return _text(git / name) or _text(common / name) or _packed(common, name)


def _packed(common: Path, name: str) -> str:
    """The ref's line in `packed-refs`; comments and the commits of annotated tags have no name behind the first blank."""
    lines = (line.partition(" ") for line in _text(common / "packed-refs").splitlines())
    return next((value for value, _, found in lines if found == name), "")


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
