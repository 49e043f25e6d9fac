# SPDX-License-Identifier: Apache-2.0
"""`list`, `logs`, `ssh-config`, `completion`: what this machine knows of its clusters, and the shell's life with them."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rayctl.cli import looks
from rayctl.cli.common import ago, cluster_file, cluster_name, looking, output_format
from rayctl.errors import RayctlError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rayctl.operations.history import KnownCluster, LastRun

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_RAYCTL_COMPLETE"
WIDTHS = (8, 24)  # at least, so that a list looks the same from one minute to the next
PLACES = {
    "bash": 'eval "$(rayctl completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(rayctl completion zsh)" in ~/.zshrc',
    "fish": "rayctl completion fish | source in ~/.config/fish/config.fish",
}


@click.command("list", short_help="List the clusters that this machine knows.")
@output_format
def list_(form: str) -> None:
    """List the clusters that this machine has had to do with. Their names can be used instead of their files.

    \b
    Example: rayctl list
    """
    from dataclasses import asdict

    from rayctl.operations import history
    from rayctl.state import paths

    found = history.clusters(paths.home(os.environ))
    if form == "json":
        click.echo(json.dumps([{"v": 1, **asdict(known)} for known in found], indent=2, default=str))
    elif not found:
        click.echo("no clusters yet: bring one up by rayctl up")
    else:
        _table(found)


def _table(found: Sequence[KnownCluster]) -> None:
    rows = [("NAME", "LAST", "FILE"), *((known.name, _last(known.last), _file(known.file)) for known in found)]
    widths = [max(least, *(len(row[column]) for row in rows)) for column, least in enumerate(WIDTHS)]
    for name, last, file in rows:
        click.echo(f"{name:<{widths[0]}}  {last:<{widths[1]}}  {file}")


def _last(run: LastRun | None) -> str:
    return f"{run.operation} {ago(time.time() - run.at)} ago, {run.status}" if run else "-"


def _file(path: Path) -> str:
    return str(path) if path.exists() else f"{path} (is gone)"


@click.command(short_help="Show what the last run did, or a step's whole output.")
@cluster_file
@click.argument("node", default="")
@click.option("--step", metavar="N", help="The whole output of this set-up step of the node, or of `start-1`, as kept there.")
@click.option("--operation", "operation_name", metavar="NAME", help="The last run of this operation, such as up.")
@cluster_name
@output_format
@looks.options
def logs(
    cluster_file: Path, node: str, step: str | None, operation_name: str | None, cluster_name: str | None, form: str
) -> int:
    """Show the log of a cluster's last run that this machine has kept, of one node or of all.

    Of what steps printed the last lines are shown, with -v all that the run has told.
    With --step, the output of the step's last run comes from the node itself, whole.

    \b
    Example: rayctl logs cluster.yaml
    Example: rayctl logs cluster.yaml demo-worker-1 --step 3
    """
    from rayctl.operations import logs as kept

    with looking("logs", cluster_file, cluster_name) as session:
        if step:
            return kept.step_output(session, node, step)
        events = kept.of_last_run(session, operation_name, node)
    if form == "json":
        for event in events:
            click.echo(event.to_json())
    else:
        from rayctl.events.sinks import PlainSink

        sink = PlainSink(sys.stdout, clock=lambda: 0.0, verbosity=1)
        for event in events if looks.current().verbosity > 0 else kept.shortened(events):
            sink.write(event)
    return 0


@click.command("ssh-config", short_help="Print ssh's configuration for a cluster's hosts.")
@cluster_file
@cluster_name
def ssh_config(cluster_file: Path, cluster_name: str | None) -> None:
    """Print blocks for ~/.ssh/config: `ssh CLUSTER` goes to the head, `ssh CLUSTER-NODE` to a node, host keys checked.

    rsync, scp and editors know these names then too.

    \b
    Example: rayctl ssh-config cluster.yaml >> ~/.ssh/config
    """
    from rayctl.operations.people import ssh_blocks

    with looking("ssh-config", cluster_file, cluster_name, head_only=True) as session:
        click.echo(ssh_blocks(session), nl=False)


@click.command(short_help="Print what completes rayctl's words in a shell.")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print the code by which a shell completes commands, options, clusters and files.

    \b
    Example: eval "$(rayctl completion bash)"
    """
    from click.shell_completion import get_completion_class

    from rayctl.cli.main import cli

    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in SHELLS else None
    if found is None:
        raise RayctlError(f"nothing is known of the shell {name or '(none)'}", hint=f"Name one of {', '.join(SHELLS)}.")
    click.echo(found(cli, {}, "rayctl", VARIABLE).source())
    if sys.stdout.isatty():
        click.echo(f"# to have it in every shell: {PLACES[name]}", err=True)


COMMANDS = (list_, logs, ssh_config, completion)
