# SPDX-License-Identifier: Apache-2.0
"""docs/from-ray-up.md speaks of every command and key that the installed Ray's launcher has."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

PAGE = (Path(__file__).parents[2] / "docs" / "from-ray-up.md").read_text()
COMMANDS = (
    "up", "down", "exec", "attach", "submit", "rsync-up", "rsync-down", "dashboard", "monitor", "get-head-ip", "get-worker-ips",
    "kill-random-node", "cluster-dump", "status", "get-auth-token",
)  # fmt: skip


def rays_schema() -> dict[str, Any]:
    ray = importlib.metadata.distribution("ray")
    schema: dict[str, Any] = json.loads(Path(str(ray.locate_file("ray/autoscaler/ray-schema.json"))).read_text())
    return schema


def test_every_key_is_in_the_table() -> None:
    keys = set(rays_schema()["properties"])
    assert len(keys) > 20
    table = PAGE[PAGE.index("## Keys of the cluster file") : PAGE.index("## From Python")]
    assert keys - set(re.findall(r"`([a-z_]+)`", table)) == set()


def test_every_command_is_in_the_table() -> None:
    assert set(COMMANDS) - set(re.findall(r"`([a-z-]+)`", PAGE)) == set()
