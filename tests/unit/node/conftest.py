# SPDX-License-Identifier: Apache-2.0
"""A node of this machine for each test, with everything that it started ended afterwards."""

from __future__ import annotations

import json
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claim_bench import Host
from node_bench import Bench

from rayctl.node import claims
from rayctl.transport import shipping


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


@pytest.fixture
def host() -> Iterator[Host]:
    """A host for claims, in a place where other users can get to: pytest's own folders are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="rayctl-host-"))
    yield Host(folder)
    shutil.rmtree(folder)


@pytest.fixture
def shared_host(host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host whose claims the shipped node code takes for those of this machine."""
    sources = dict(json.loads(zlib.decompress(shipping.parcel().partition(b"\n")[2])))
    real = f'PLACE = "{claims.PLACE}"'
    assert real in sources["claims"]
    sources["claims"] = sources["claims"].replace(real, f'PLACE = "{host.place}"')
    body = zlib.compress(json.dumps(list(sources.items())).encode())
    monkeypatch.setattr(shipping, "parcel", lambda *_: b"%d\n%b" % (len(body), body))
    return host
