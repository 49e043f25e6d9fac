# SPDX-License-Identifier: Apache-2.0
"""What the commands of Ray's launcher take ours take, compared with those of the Ray that is installed here."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from rayctl.cli.main import cli

COMMANDS = [
    "up", "down", "exec", "attach", "submit", "rsync-up", "rsync-down", "get-head-ip", "get-worker-ips", "dashboard", "monitor",
    "kill-random-node", "cluster-dump", "status",
]  # fmt: skip
TELL = """
import click, warnings
warnings.simplefilter("ignore")
from ray.scripts.scripts import cli
commands = {name.replace("_", "-"): command for name, command in cli.commands.items()}
for name in %r:
    for param in commands[name].params:
        flag = isinstance(param, click.Option) and (param.is_flag or param.count)
        for spelling in (*param.opts, *param.secondary_opts):
            print(name, type(param).__name__, spelling.replace("_", "-"), int(flag))
"""


@pytest.fixture(scope="module")
def rays() -> set[tuple[str, str, bool]]:
    """Each command's options, and whether they are flags. Ray's arguments have the order that ours have."""
    done = subprocess.run([sys.executable, "-c", TELL % (COMMANDS,)], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    return {(name, spelling, flag == "1") for name, kind, spelling, flag in found if kind == "Option"}


def ours(name: str) -> dict[str, click.Option]:
    options = [param for param in cli.commands[name].params if isinstance(param, click.Option)]
    return {spelling: option for option in options for spelling in (*option.opts, *option.secondary_opts)}


def test_every_option_of_ray_s_is_one_of_ours(rays: set[tuple[str, str, bool]]) -> None:
    assert len(rays) > 80, "Ray's commands were found"
    missing = {(name, spelling) for name, spelling, _ in rays if spelling not in ours(name)}
    assert missing == {("status", "--address")}


def test_and_takes_a_value_where_ray_s_does(rays: set[tuple[str, str, bool]]) -> None:
    known = [(name, spelling, flag) for name, spelling, flag in rays if spelling in ours(name)]
    other = {
        (name, spelling) for name, spelling, flag in known
        if flag != (ours(name)[spelling].is_flag or ours(name)[spelling].count)
    }  # fmt: skip
    assert other == set()
