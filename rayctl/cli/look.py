# SPDX-License-Identifier: Apache-2.0
"""`status`, `get-head-ip`, `get-worker-ips`: looking without touching."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli import looks
from rayctl.cli.common import cluster_file, cluster_name, in_passing, output_format

if TYPE_CHECKING:
    from rich.text import Text

    from rayctl.operations.status import ClusterStatus

EVERY_S = 2.0
LINES_PER_ENTRY = 8  # of a window, for each entry of a long list: so there is room for all lists


class Status(click.Command):
    """Knows that the file in `--watch cluster.yaml` is not the number of `--watch [SECONDS]`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the number out where there is none."""
        pairs = zip(args, [*args[1:], ""], strict=False)
        args = [f"--watch={EVERY_S:g}" if word == "--watch" and not _number(after) else word for word, after in pairs]
        return super().parse_args(ctx, args)


def _number(word: str) -> bool:
    return word.lstrip("-").replace(".", "", 1).isdecimal()


@click.command(cls=Status, short_help="Show the nodes, and what Ray says of them.")
@cluster_file
@cluster_name
@click.option("--probe", is_flag=True, help="As -v, ask every node itself: steps done, Ray's health, whose each host is.")
@click.option(
    "--watch", "every_s", type=click.FloatRange(min=0.1), metavar="[SECONDS]",
    help="Show it anew until Ctrl-C, every 2 seconds if not told otherwise.",
)  # fmt: skip
@output_format
@looks.options
def status(cluster_file: Path, cluster_name: str | None, probe: bool, every_s: float | None, form: str) -> None:
    """Show the nodes, what Ray says of them, what failed, and what waits and why.

    Of more than 20 nodes only those are named that need attention, unless -v is given.

    \b
    Example: rayctl status cluster.yaml --probe --format json
             rayctl status cluster.yaml --watch 5
    """
    from rayctl import api

    probe = probe or looks.current().verbosity > 0

    def look() -> ClusterStatus:
        return api.status(cluster_file, probe=probe, overrides=api.Overrides(cluster_name), on_event=in_passing())

    if form == "json":
        _tell(look, every_s)
    else:
        _show(look, every_s, probe)


def _tell(look: Callable[[], ClusterStatus], every_s: float | None) -> None:
    """For programs: a document, or one in each line."""
    if every_s is None:
        click.echo(json.dumps(look().to_dict(), indent=2, sort_keys=True))
        return
    from rayctl.cli.again import printed

    printed(lambda: json.dumps(look().to_dict(), sort_keys=True), every_s)


def _show(look: Callable[[], ClusterStatus], every_s: float | None, probe: bool) -> None:
    from rich.text import Text

    from rayctl.cli.overview import FEW, Page

    console, whole = looks.current().console(sys.stdout), looks.current().verbosity > 0

    def page(most: int = FEW, width: int = console.width) -> list[Text]:
        return Page(look(), width, probe=probe, whole=whole, most=most).lines()

    if every_s is None:
        console.print(Text("\n").join(page()), soft_wrap=True)
        return
    from rayctl.cli import again

    def dated(lines: list[Text]) -> list[Text]:
        return [Text(f"{time.strftime('%H:%M:%S')}, every {every_s:g} s until Ctrl-C", style="dim"), *lines]

    if console.is_terminal and not console.is_dumb_terminal:
        again.drawn(console, lambda width, height: dated(page(max(3, height // LINES_PER_ENTRY), width)), every_s)
    else:
        again.printed(lambda: f"{Text(chr(10)).join(dated(page())).plain}\n", every_s)


@click.command("get-head-ip")
@cluster_file
@cluster_name
def get_head_ip(cluster_file: Path, cluster_name: str | None) -> None:
    """Print the head's address.

    \b
    Example: ping $(rayctl get-head-ip cluster.yaml)
    """
    from rayctl import api

    click.echo(api.get_head_node_ip(cluster_file, overrides=api.Overrides(cluster_name), on_event=in_passing()))


@click.command("get-worker-ips")
@cluster_file
@cluster_name
def get_worker_ips(cluster_file: Path, cluster_name: str | None) -> None:
    """Print the workers' addresses, a line each.

    \b
    Example: rayctl get-worker-ips cluster.yaml | xargs -n 1 ping -c 1
    """
    from rayctl import api

    for address in api.get_worker_node_ips(cluster_file, overrides=api.Overrides(cluster_name), on_event=in_passing()):
        click.echo(address)


COMMANDS = (status, get_head_ip, get_worker_ips)
