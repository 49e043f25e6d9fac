# SPDX-License-Identifier: Apache-2.0
"""A world in a file, so that it lasts from one command to the next and tests turn the clock between them.

Not rayctl's own state but a file of the user's choice: it is neither private nor checked for its owner.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError

from rayctl.errors import StateRefused
from rayctl.providers.simulated.world import World


class _Stored(BaseModel):
    version: Literal[1] = 1
    kind: Literal["simulated-world"] = "simulated-world"
    world: World


@contextmanager
def opened(path: Path, new: World | None = None) -> Iterator[World]:
    """The world in the file, or else `new`, while nobody else has it; written back at the end, whatever happened."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        world = load(path) or new or World()
        try:
            yield world
        finally:
            _save(world, path)


def load(path: Path) -> World | None:
    """The world in the file; None when there is no such file. Raises `StateRefused` for a file that holds something else."""
    try:
        return _Stored.model_validate_json(path.read_bytes()).world
    except FileNotFoundError:
        return None
    except ValidationError as problem:
        raise StateRefused(f"{path} holds no simulated world of version 1: {problem.errors()[0]['msg']}") from None


def _save(world: World, path: Path) -> None:
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    fresh.write_text(_Stored(world=world).model_dump_json())
    fresh.replace(path)
