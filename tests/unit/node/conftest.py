# SPDX-License-Identifier: Apache-2.0
"""A node of this machine for each test, with everything that it started ended afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from node_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.end()


@pytest.fixture
def bench_of(tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    """A node whose runner is carried out by a given interpreter."""
    made: list[Bench] = []

    def make(python: str) -> Bench:
        made.append(Bench(tmp_path, python))
        return made[-1]

    yield make
    for one in made:
        one.end()
