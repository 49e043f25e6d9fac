# SPDX-License-Identifier: Apache-2.0
"""`status`, `get-head-ip`, `get-worker-ips`: looking without touching."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli import looks
from rayctl.cli.common import ago, cluster_file, cluster_name, in_passing, output_format

if TYPE_CHECKING:
    from rich.table import Table

    from rayctl.operations.status import ClusterStatus, NodeStatus

NO_NODES = ("free", "taken", "silent", "unknown")  # states of declared hosts that are none
WIDEST = 1000  # characters that a table would take if nothing was cut
FRESH_S = 5.0  # what is younger was asked just now
SHOWN = ("CPU", "GPU", "memory")


@click.command()
@cluster_file
@cluster_name
@click.option("--probe", is_flag=True, help="As -v, ask every node itself: steps done, Ray's health, whose each host is.")
@output_format
@looks.options
def status(cluster_file: Path, cluster_name: str | None, probe: bool, form: str) -> None:
    """Show the nodes, and what Ray says of them.

    \b
    Example: rayctl status cluster.yaml --probe --format json
    """
    from rayctl import api

    probe = probe or looks.current().verbosity > 0
    seen = api.status(cluster_file, probe=probe, overrides=api.Overrides(cluster_name), on_event=in_passing())
    if form == "json":
        click.echo(json.dumps(seen.to_dict(), indent=2, sort_keys=True))
        return
    _print(seen, probe)


def _print(seen: ClusterStatus, probe: bool) -> None:
    ray = f"Ray {seen.ray_version} at {seen.address}" if seen.ray_version else seen.note
    joined = sum(node.ray not in ("not joined", "unknown") for node in seen.nodes)
    click.echo(f"{seen.cluster} ({seen.provider}): {ray}")
    if not seen.nodes:
        return
    plural = "" if seen.workers_wanted == 1 else "s"
    nodes = sum(node.state not in NO_NODES for node in seen.nodes)
    click.echo(f"{joined} of {nodes} nodes joined; the file asks for {seen.workers_wanted} worker{plural} at least")
    console, table = looks.current().console(sys.stdout), _table(seen.nodes, probe)
    if console.measure(table, options=console.options.update(max_width=WIDEST)).maximum <= console.width:
        console.print(table)
    else:
        _print_blocks(seen.nodes, probe)
    for demand in seen.pending:
        shape = ", ".join(f"{amount:g} {name}" for name, amount in demand["shape"].items())
        click.echo(f"waiting: {demand['count']} x {{{shape}}}")
    if unverified := [node.name for node in seen.nodes if node.host_key]:
        click.echo(f"host key believed at first contact, unverified: {', '.join(unverified)}")


def _print_blocks(nodes: tuple[NodeStatus, ...], probe: bool) -> None:
    """For narrow terminals: nothing is cut."""
    for node in nodes:
        click.echo(f"{node.name} ({node.type}, {node.address})")
        click.echo(f"  machine {_machine(node)}, Ray {node.ray}, used {_used(node)}")
        if probe:
            click.echo(f"  steps {_or_dash(node.steps_done)}, {_problem(node)}")


def _problem(node: NodeStatus) -> str:
    return "an earlier run is at work" if node.busy else node.problem or "no problem"


def _table(nodes: tuple[NodeStatus, ...], probe: bool) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", pad_edge=False)
    for title in ("NODE", "TYPE", "ADDRESS", "MACHINE", "RAY", "USED", *(["STEPS", "PROBLEM"] if probe else [])):
        table.add_column(title, no_wrap=title != "PROBLEM", overflow="fold")
    for node in nodes:
        extra = [_or_dash(node.steps_done), _problem(node).replace("no problem", "-")] if probe else []
        table.add_row(node.name, node.type, node.address, _machine(node), node.ray, _used(node), *extra)
    return table


def _machine(node: NodeStatus) -> str:
    """The machine's state, with who has it and since when that is known."""
    whose = f" by {node.claim['cluster']} ({node.claim['owner']})" if node.state == "taken" and node.claim else ""
    age = time.time() - node.asked_at if node.asked_at else 0.0
    return f"{node.state}{whose}" + (f", {ago(age)} ago" if age > FRESH_S else "")


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def _used(node: NodeStatus) -> str:
    parts = [f"{node.used[n]:g}/{node.resources[n]:g} {n}" for n in SHOWN[:2] if n in node.resources]
    if "memory" in node.resources:
        parts.append(f"{node.used['memory'] / 2**30:.1f}/{node.resources['memory'] / 2**30:.1f} GiB")
    return ", ".join(parts) or "-"


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
