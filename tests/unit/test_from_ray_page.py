# SPDX-License-Identifier: Apache-2.0
"""docs/from-ray-up.md speaks of every command and key that the installed Ray's launcher has."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path
from typing import Any

import rays_commands

PAGE = (Path(__file__).parents[2] / "docs" / "from-ray-up.md").read_text()


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
    table = PAGE[: PAGE.index("## Options")]
    assert set(rays_commands.COMMANDS) - set(re.findall(r"`([a-z-]+)`", table)) == set()


def test_every_option_is_told_of() -> None:
    told = set(re.findall(r"--[a-z-]+", PAGE[PAGE.index("## Options") : PAGE.index("## Keys of the cluster file")]))
    named = {spelling for _, spelling, _ in rays_commands.options() if spelling.startswith("--")}
    assert {spelling for spelling in named - told if spelling.replace("--no-", "--") not in told} == {"--verbose"}, "it is -v"
