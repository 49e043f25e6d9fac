# SPDX-License-Identifier: Apache-2.0
"""`explain`: why the scaler decides as it does."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rayctl.cli import looks
from rayctl.cli.common import output_format


@click.command(short_help="Say what the scaler decides from a snapshot, and why.")
@click.argument("snapshot", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="SNAPSHOT")
@output_format
@looks.options
def explain(snapshot: Path, form: str) -> None:
    """Say what was asked of a cluster, what is chosen and rejected for it, and why, from a saved snapshot.

    \b
    Example: rayctl explain snapshot.json
    """
    from rayctl.operations.explain import explain as tell

    told = tell(snapshot)
    if form == "json":
        click.echo(json.dumps({"taken_at": told.saved.taken_at, **told.explanation.to_dict()}, indent=2))
        return
    click.echo(f"{told.saved.cluster}, {told.saved.taken_at}")
    for line in told.explanation.lines():
        click.echo(line)


COMMANDS = (explain,)
