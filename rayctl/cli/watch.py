# SPDX-License-Identifier: Apache-2.0
"""`dashboard`, `monitor`, `token`, `logs`: seeing what a cluster does, and what it did."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayctl.cli import looks
from rayctl.cli.common import F, cluster_file, cluster_name, looking, no_config_cache, together
from rayctl.cli.run import OWN_FAILURE
from rayctl.errors import UsageError

if TYPE_CHECKING:
    from rayctl.operations.dashboard import Dashboard

PORT = click.IntRange(min=1, max=65535)


@click.command(short_help="Open the cluster's dashboard here.")
@cluster_file
@click.option("-p", "--port", type=PORT, metavar="PORT", help="The port of this machine, instead of 8265 or any that is free.")
@click.option("--remote-port", type=PORT, metavar="PORT", help="The dashboard's own, instead of the one that the head tells.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@cluster_name
@no_config_cache
def dashboard(
    cluster_file: Path, port: int | None, remote_port: int | None, no_browser: bool, cluster_name: str | None
) -> None:
    """Lead a port of this machine to the cluster's dashboard until Ctrl-C, and open it.

    \b
    Example: rayctl dashboard cluster.yaml
    """
    from rayctl.operations.dashboard import dashboard as lead

    with looking("dashboard", cluster_file, cluster_name, head_only=True) as session:

        def ready(shown: Dashboard) -> None:
            click.echo(f"{shown.url}  (until Ctrl-C)")
            if shown.wants_token:
                click.echo(f"It asks for the cluster's token: {session.command('token')}", err=True)
            sys.stdout.flush()
            if not no_browser and (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
                click.launch(shown.url)

        lead(session, port, remote_port, ready)


@click.command(short_help="Follow the logs of Ray's monitor on the head.")
@cluster_file
@click.option("--lines", type=click.IntRange(min=0), default=100, show_default=True, help="How many lines of the past.")
@cluster_name
@looks.options
def monitor(cluster_file: Path, lines: int, cluster_name: str | None) -> int:
    """Follow the logs of the monitor that runs beside the head's Ray, until Ctrl-C.

    \b
    Example: rayctl monitor cluster.yaml --lines 20
    """
    from rayctl.cli.report import explain
    from rayctl.operations.monitor import monitor as follow

    try:
        with looking("monitor", cluster_file, cluster_name, head_only=True) as session:
            return follow(session, lines)
    except Exception as e:
        return 130 if explain(e) == 130 else OWN_FAILURE


@click.command(short_help="Print the token that Ray asks for.")
@cluster_file
@cluster_name
def token(cluster_file: Path, cluster_name: str | None) -> None:
    """Print the token that this cluster's Ray asks for, such as its dashboard does. It is a secret.

    \b
    Example: rayctl token cluster.yaml
    """
    from rayctl.operations.tokens import told

    with looking("token", cluster_file, cluster_name, head_only=True) as session:
        click.echo(told(session))


def _not_here(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(f"--{(param.name or '').replace('_', '-')}: the cluster file says how nodes are reached", ctx)


def _apart(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[str, ...]:
    del ctx, param
    return tuple(filter(None, (value or "").split(",")))


def _refused(*names: str, instead: str) -> Callable[[F], F]:
    return click.option(
        *names, expose_value=False, callback=_not_here, metavar="...", help=f"Refused: see `{instead}` in the file."
    )


as_rays = together(
    click.option("-L", "--local", is_flag=True, expose_value=False, help="As Ray's, without effect: what ran here is in it."),
    click.option("-T", "--tempfile", metavar="FILE", expose_value=False, help="As Ray's, without effect: there is none."),
    _refused("-U", "--ssh-user", instead="auth"),
    _refused("-K", "--ssh-key", instead="auth"),
    _refused("-d", "--docker", instead="docker"),
)


@click.command(
    "cluster-dump", short_help="Collect logs and the like of all nodes in one archive.",
    context_settings={"help_option_names": ["--help"]},  # -h is Ray's for a host
)  # fmt: skip
@cluster_file
@click.option("-h", "--host", "hosts", metavar="NODE,...", callback=_apart, help="Only these nodes, by address or name.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="The archive, yet to be made."
)
@click.option("--logs/--no-logs", default=True, show_default=True, help="Ray's logs.")
@click.option("--debug-state/--no-debug-state", default=True, show_default=True, help="Among them, what Ray says of its state.")
@click.option("--pip/--no-pip", default=True, show_default=True, help="The Python packages.")
@click.option("--processes/--no-processes", default=True, show_default=True, help="What runs.")
@click.option("--processes-verbose/--no-processes-verbose", default=True, show_default=True, help="With whole command lines.")
@click.option("--limit", metavar="PATTERN", help="Only these nodes: names, globs, ray_head, ray_worker, !name.")
@as_rays
@cluster_name
def cluster_dump(cluster_file: Path, output: Path | None, cluster_name: str | None, **flags: Any) -> int:
    """Collect what may tell why something went wrong: Ray's logs, the output of set-up steps, packages, processes of all nodes.

    \b
    Example: rayctl cluster-dump cluster.yaml --limit demo-worker-1
    """
    from rayctl.cli.report import block
    from rayctl.operations.dump import DumpOptions, dump

    if flags["hosts"] and flags["limit"]:
        raise UsageError("--host and --limit contradict each other")
    with looking("cluster-dump", cluster_file, cluster_name) as session:
        target = output or Path(f"{session.name}-{time.strftime('%Y%m%dT%H%M%S')}.tar.gz")
        failures = dump(session, target, DumpOptions(**flags))
    for failure in failures:
        click.echo(block(failure), err=True)
    click.echo(target)
    return 1 if failures else 0


COMMANDS = (dashboard, monitor, token, cluster_dump)
