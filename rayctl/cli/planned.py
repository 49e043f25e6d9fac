# SPDX-License-Identifier: Apache-2.0
"""`plan`: what `up` would do, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rayctl.cli.cluster import OVERRIDES, wanted
from rayctl.cli.common import operation
from rayctl.cli.report import block
from rayctl.operations import planfile
from rayctl.operations.up import propose

CHANGES = 2


def show(cluster_file: Path, flags: dict[str, Any], out: Path | None, *, form: str, detailed: bool) -> int:
    """Print it, and keep it in `out`. The exit code is 1 where a node did not answer."""
    overrides = {key: flags[key] for key in OVERRIDES}
    with operation("plan", cluster_file, overrides, in_passing=True) as session:
        found = propose(session, wanted(flags))
    if out:
        planfile.store(out, found, flags)
    click.echo(json.dumps(found.to_dict(), indent=2) if form == "json" else "\n".join(found.lines()))
    for failure in found.unreachable:
        click.echo(block(failure), err=True)
    return 1 if found.unreachable else CHANGES if detailed and found.changes else 0
