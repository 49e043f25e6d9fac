# SPDX-License-Identifier: Apache-2.0
"""A session on a cluster file of the test's own, over a provider that the test can look into."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from listed_machines import Machines

from rayctl.config.load import load
from rayctl.events import Bus, Event, Sink
from rayctl.operations.session import Session

FILE = """\
cluster_name: demo
provider: {type: embedded}
max_workers: 4
available_node_types:
  head: {}
  worker: {min_workers: 2}
"""


class Kept(Sink):
    """Keeps events for the test."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def write(self, event: Event) -> None:
        self.events.append(event)


class Desk:
    """What a test works with: a home folder, a cluster file, machines, and the events of its sessions."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.file = folder, folder / "home", folder / "c.yaml"
        self.machines, self.kept = Machines(folder / "nodes"), Kept()
        self.file.write_text(FILE)

    def session(self, operation: str = "up", **overrides: Any) -> Session:
        loaded = load(self.file, **overrides)
        return Session(operation, overrides, loaded, self.machines, Bus(operation, "demo", [self.kept]), self.home)

    def said(self, kind: str) -> list[Event]:
        return [event for event in self.kept.events if event.kind == kind]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = Desk(tmp_path)
    monkeypatch.setenv("RAYCTL_HOME", str(made.home))
    return made
