# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run playbooks by hand."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playbook_bench import CLUSTER, Bench, clean_environment


@pytest.fixture
def bench(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A cluster file named after the test; whatever came up goes down afterwards."""
    out, source = tmp_path / "out", tmp_path / "source"
    out.mkdir()
    source.mkdir()
    (source / "data.txt").write_text("one\n")
    file = tmp_path / "cluster.yaml"
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}"
    file.write_text(CLUSTER.format(name=name, target=tmp_path / "target", source=source, out=out))
    made = Bench(tmp_path, file, out, clean_environment(tmp_path / "home"))
    yield made
    made.rayctl("down", "-y", str(file))


@pytest.fixture
def until() -> Callable[[Callable[[], Any], float], Any]:
    """Wait until something is true."""

    def wait(condition: Callable[[], Any], patience_s: float = 20.0) -> Any:
        end = time.monotonic() + patience_s
        while not (value := condition()):
            assert time.monotonic() < end, "it did not become true in time"
            time.sleep(0.05)
        return value

    return wait
