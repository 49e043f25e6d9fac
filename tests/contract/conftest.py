# SPDX-License-Identifier: Apache-2.0
"""Every provider in turn, each on an empty system."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from provider_systems import Block, DeclaredSystem, FileSystem, SimulatedSystem, System

from rayctl.providers.embedded import scratch

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(params=["embedded", "simulated", "simulated-file", "external", "local"])
def system(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """Every provider in turn."""
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(scratch, "TMP", tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    records = tmp_path / "home" / "embedded"
    machines = tmp_path / "machines"
    external = Block("external", {"module": "external_provider.FolderProvider", "folder": str(machines)})
    systems: dict[str, Callable[[], System]] = {
        "embedded": lambda: FileSystem(Block("embedded"), scratch.base() / ".lock", records / "demo" / "nodes"),
        "local": lambda: DeclaredSystem(tmp_path),
        "external": lambda: FileSystem(external, machines / ".demo.lock", machines / "demo"),
        "simulated": lambda: SimulatedSystem(None),
        "simulated-file": lambda: SimulatedSystem(tmp_path / "world.json"),
    }
    return systems[request.param]()
