# SPDX-License-Identifier: Apache-2.0
"""`scaler`: keep a cluster as large as its work needs."""

from __future__ import annotations

from pathlib import Path

import click

from rayctl.cli import looks
from rayctl.cli.common import cluster_file, cluster_name, output_format, telling


@click.command(short_help="Keep a cluster as large as its work needs, until Ctrl-C.")
@cluster_file
@click.option("--min-workers", type=click.IntRange(min=0), metavar="N", help="Instead of the file's.")
@click.option("--max-workers", type=click.IntRange(min=0), metavar="N", help="Instead of the file's.")
@cluster_name
@looks.options
@output_format
def scaler(
    cluster_file: Path, min_workers: int | None, max_workers: int | None, cluster_name: str | None, form: str
) -> None:  # fmt: skip
    """Watch a cluster that is up: launch and set up workers for what waits, end idle ones, start anew or replace failed ones.

    There is one scaler per cluster. It may be killed and started again at any time, and a changed file is heeded at once.

    \b
    Example: rayctl scaler cluster.yaml
    """
    from rayctl import api

    overrides = api.Overrides(cluster_name, min_workers, max_workers)
    api.scaler(cluster_file, overrides=overrides, on_event=telling(form))


COMMANDS = (scaler,)
