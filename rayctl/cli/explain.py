# SPDX-License-Identifier: Apache-2.0
"""`explain`: what a scaler decides, and why."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rayctl.cli import looks
from rayctl.cli.common import cluster_file, cluster_name, in_passing, output_format


@click.command(short_help="Say what a scaler decides for a cluster, and why.")
@cluster_file
@cluster_name
@click.option("--save", type=click.Path(path_type=Path), metavar="FILE", help="Keep the snapshot that it was decided from.")
@output_format
@looks.options
def explain(cluster_file: Path, cluster_name: str | None, save: Path | None, form: str) -> None:
    """Say what is asked of a cluster, which nodes should come and go for it, and why; nothing is changed.

    CLUSTER_FILE is a cluster's file, for the cluster as it is now, or a snapshot that was saved.

    \b
    Example: rayctl explain cluster.yaml --save now.json
             rayctl explain now.json
    """
    from rayctl import api

    told = api.explain(cluster_file, overrides=api.Overrides(cluster_name), on_event=in_passing())
    if save:
        told.store(save)
    if form == "json":
        click.echo(json.dumps({"taken_at": told.saved.taken_at, **told.explanation.to_dict()}, indent=2))
        return
    click.echo(f"{told.saved.cluster}, {told.saved.taken_at}")
    for line in told.explanation.lines():
        click.echo(line)


COMMANDS = (explain,)
