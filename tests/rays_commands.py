# SPDX-License-Identifier: Apache-2.0
"""The commands of the installed Ray's launcher, as its own command line tells them."""

from __future__ import annotations

import functools
import subprocess
import sys

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


@functools.cache
def options() -> frozenset[tuple[str, str, bool]]:
    """Of each command each option in each spelling, and whether it is a flag."""
    done = subprocess.run([sys.executable, "-c", TELL % (COMMANDS,)], capture_output=True, text=True, check=True)
    found = [line.split() for line in done.stdout.splitlines()]
    return frozenset((name, spelling, flag == "1") for name, kind, spelling, flag in found if kind == "Option")
