# SPDX-License-Identifier: Apache-2.0
"""`rsync-up` and `rsync-down`: files to the nodes and from the head."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli.common import cluster_file, cluster_name, operation, verbose

if TYPE_CHECKING:
    from rayctl.operations.sync import Synced

UNITS = ("B", "kB", "MB", "GB", "TB")
source = click.argument("source", default="")
target = click.argument("target", default="")


@click.command("rsync-up", short_help="Copy files to the head, or to all nodes.")
@cluster_file
@source
@target
@click.option("-A", "--all-nodes", is_flag=True, help="To all nodes, not only to the head.")
@cluster_name
@verbose
def rsync_up(cluster_file: Path, source: str, target: str, all_nodes: bool, cluster_name: str | None, verbose: int) -> None:
    """Copy files to the head by rsync: what differs, leaving out what the cluster file excludes, deleting nothing.

    Without SOURCE and TARGET all file_mounts are copied. `dir` copies the folder, `dir/` what is in it.

    \b
    Example: rayctl rsync-up cluster.yaml ./project/ '~/project/'
    """
    from rayctl.operations import sync

    with operation("rsync-up", cluster_file, {"cluster_name": cluster_name}, quiet=True, head_only=not all_nodes) as session:
        _tell(sync.up(session, source, target, all_nodes=all_nodes), verbose)


@click.command("rsync-down", short_help="Copy files from the head.")
@cluster_file
@source
@target
@cluster_name
@verbose
def rsync_down(cluster_file: Path, source: str, target: str, cluster_name: str | None, verbose: int) -> None:
    """Copy files from the head by rsync: what differs, deleting nothing.

    Without SOURCE and TARGET all file_mounts are copied back to where they come from.

    \b
    Example: rayctl rsync-down cluster.yaml '~/results/' ./results/
    """
    from rayctl.operations import sync

    with operation("rsync-down", cluster_file, {"cluster_name": cluster_name}, quiet=True, head_only=True) as session:
        _tell(sync.down(session, source, target), verbose)


def _tell(done: Sequence[Synced], verbosity: int) -> None:
    for each in done:
        if verbosity:
            click.echo("".join(f"{line}\n" for line in each.copied.listing), nl=False)
        files = each.copied.files
        click.echo(f"{each.node}: {files} file{'' if files == 1 else 's'} copied, {_size(each.copied.size)}")


def _size(size: float) -> str:
    """Bytes with three digits or so."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"


COMMANDS = (rsync_up, rsync_down)
