# SPDX-License-Identifier: Apache-2.0
"""`plan`: what `up` would do, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rayctl import api
from rayctl.cli.cluster import overridden, wanted
from rayctl.cli.common import in_passing
from rayctl.cli.report import block
from rayctl.operations import planfile

CHANGES = 2


def show(cluster_file: Path, flags: dict[str, Any], out: Path | None, *, form: str, detailed: bool) -> int:
    """Print it, and keep it in `out`. The exit code is 1 where a node did not answer."""
    found = api.plan(cluster_file, wanted(flags), overrides=overridden(flags), on_event=in_passing())
    if out:
        planfile.store(out, found, flags)
    click.echo(json.dumps(found.to_dict(), indent=2) if form == "json" else "\n".join(found.lines()))
    for failure in found.unreachable:
        click.echo(block(failure), err=True)
    return 1 if found.unreachable else CHANGES if detailed and found.touches else 0
