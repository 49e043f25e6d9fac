# SPDX-License-Identifier: Apache-2.0
"""Labs for tests. Each process that runs tests has its own; one that was killed is removed by whoever makes the next."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rayctl.transport import masters

from .clusters import Cluster
from .rig import Lab


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder need a lab."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("lab")


def _lab(name: str, size: int) -> Iterator[Lab]:
    lab = Lab.up(size, name=f"{name}{os.getpid()}")
    yield lab
    lab.destroy()


@pytest.fixture(scope="session")
def lab4() -> Iterator[Lab]:
    """Hosts h1 to h4. Tests that take this one leave them as they were."""
    yield from _lab("s", 4)


@pytest.fixture
def hosts(lab4: Lab) -> Iterator[Lab]:
    """Hosts h1 to h4 for one test, which may do to them whatever it likes: afterwards they are made anew."""
    yield lab4
    lab4.reset()


@pytest.fixture(scope="module")
def lab8() -> Iterator[Lab]:
    """Hosts h1 to h8, for a head and seven workers."""
    yield from _lab("m", 8)


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder where this test's ssh masters listen; none of them is left."""
    folder = Path(f"/tmp/rclab-{os.getpid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "rayctl"
    masters.close("*")
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(hosts: Lab, tmp_path: Path, sockets: Path) -> Iterator[Cluster]:
    """A cluster of h1 (the head) to h4, of which nothing runs yet."""
    del sockets
    made = Cluster(hosts, tmp_path / "laptop")
    yield made
    made.end()
