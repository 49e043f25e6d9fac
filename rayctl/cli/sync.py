# SPDX-License-Identifier: Apache-2.0
"""`rsync-up` and `rsync-down`: files to the nodes and from the head."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli import looks
from rayctl.cli.common import cluster_file, cluster_name, in_passing
from rayctl.events.wording import named

if TYPE_CHECKING:
    from rich.status import Status

    from rayctl.operations.sync import Synced
    from rayctl.provision.copying import Progress

UNITS = ("B", "kB", "MB", "GB", "TB")
source = click.argument("source", default="")
target = click.argument("target", default="")


@click.command("rsync-up", short_help="Copy files to the head, or to all nodes.")
@cluster_file
@source
@target
@click.option("-A", "--all-nodes", is_flag=True, help="To all nodes, not only to the head.")
@cluster_name
@looks.options
def rsync_up(cluster_file: Path, source: str, target: str, all_nodes: bool, cluster_name: str | None) -> None:
    """Copy files to the head by rsync: what differs, leaving out what the cluster file excludes, deleting nothing.

    Without SOURCE and TARGET all file_mounts are copied. `dir` copies the folder, `dir/` what is in it.

    \b
    Example: rayctl rsync-up cluster.yaml ./project/ '~/project/'
    """
    from rayctl import api

    with _watched() as on_progress:
        done = api.rsync_up(
            cluster_file, source, target, all_nodes=all_nodes, overrides=api.Overrides(cluster_name), on_progress=on_progress,
            on_event=in_passing(),
        )  # fmt: skip
    _tell(done)


@click.command("rsync-down", short_help="Copy files from the head.")
@cluster_file
@source
@target
@cluster_name
@looks.options
def rsync_down(cluster_file: Path, source: str, target: str, cluster_name: str | None) -> None:
    """Copy files from the head by rsync: what differs, deleting nothing.

    Without SOURCE and TARGET all file_mounts are copied back to where they come from.

    \b
    Example: rayctl rsync-down cluster.yaml '~/results/' ./results/
    """
    from rayctl import api

    overrides = api.Overrides(cluster_name)
    with _watched() as on_progress:
        done = api.rsync_down(
            cluster_file, source, target, overrides=overrides, on_progress=on_progress, on_event=in_passing()
        )  # fmt: skip
    _tell(done)


def _tell(done: Sequence[Synced]) -> None:
    shown = looks.current()
    for each in done:
        click.echo("".join(f"{line}\n" for line in each.copied.listing if shown.verbosity > 0), nl=False)
        files = each.copied.files
        shown.summary(f"{each.node}: {files} file{'' if files == 1 else 's'} copied, {_size(each.copied.size)}", "text")


class _Picture:
    """A line on the terminal that tells how far copies are, from the first word of one of them on."""

    def __init__(self, shown: looks.Looks) -> None:
        self._shown, self._lock = shown, threading.Lock()
        self._copies: dict[str, Progress] = {}
        self._status: Status | None = None

    def __call__(self, node: str, progress: Progress) -> None:
        from rich.status import Status  # takes as long as a small copy does

        with self._lock:
            self._copies[node] = progress
            copies = self._copies.values()
            size, percent = sum(each.size for each in copies), min(each.percent for each in copies)
            text = f"{named(sorted(self._copies))}: {_size(size)}, {percent} %, {progress.speed}"
            if self._status is None:
                self._status = Status(text, console=self._shown.console(sys.stderr))
                self._status.start()
            self._status.update(text)

    def close(self) -> None:
        if self._status:
            self._status.stop()


@contextmanager
def _watched() -> Iterator[_Picture | None]:
    """None where files are listed, or nobody looks."""
    shown = looks.current()
    picture = _Picture(shown) if shown.drawn and not shown.verbosity else None
    try:
        yield picture
    finally:
        if picture:
            picture.close()


def _size(size: float) -> str:
    """Bytes with three digits or so."""
    for unit in UNITS:
        if size < 1000 or unit == UNITS[-1]:
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.3g} {unit}"


COMMANDS = (rsync_up, rsync_down)
