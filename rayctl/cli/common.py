# SPDX-License-Identifier: Apache-2.0
"""What the commands share: their common options, the sinks of their events, and asking before something is done."""

from __future__ import annotations

import glob
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rayctl.cli import looks
from rayctl.errors import Interrupted, Refused, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from rayctl.operations.options import Listeners
    from rayctl.operations.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class ClusterFile(click.Path):
    """A cluster file, its address on the web, or the name of a cluster that was met from here (see `opened`)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """A file from the web is kept here, so that plays and the next command find it too."""
        given = str(value).lower().startswith(("http://", "https://"))
        if given and not (ctx and ctx.resilient_parsing):  # as when a shell completes a line
            from rayctl.cli.web import fetched

            value = fetched(value)
        return super().convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of clusters, beside files."""
        from click.shell_completion import CompletionItem

        from rayctl.state.paths import home

        names = sorted(folder.name for folder in (home(os.environ) / "clusters").glob(f"{glob.escape(incomplete)}*"))
        return [*map(CompletionItem, names), *super().shell_complete(ctx, param, incomplete)]


cluster_file = click.argument("cluster_file", type=ClusterFile(path_type=Path), metavar="CLUSTER_FILE")
cluster_name = click.option("-n", "--cluster-name", metavar="NAME", help="Another name for the cluster than the file's.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
    help="How long to wait for another writer.",
)  # fmt: skip
accept_other = click.option(
    "--accept-other-cluster", is_flag=True,
    help="Go on though the provider's cluster of this name is another one than the one known here.",
)  # fmt: skip
no_config_cache = click.option(
    "--no-config-cache", is_flag=True, expose_value=False, help="As Ray's, without effect: rayctl keeps no such cache."
)
no_usage_stats = click.option(
    "--disable-usage-stats", is_flag=True, expose_value=False, help="As Ray's, without effect: rayctl switches them off always."
)
output_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="json: machine-readable, on stdout.",
)  # fmt: skip


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one, in this order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


def telling(form: str = "text", *, failure: int | None = None) -> Listeners:
    """Who is told of an operation: a person, or a program that reads stdout. `failure`: see `Listeners`."""
    from rayctl.operations.options import Listeners

    text = shlex.join(["rayctl", *sys.argv[1:]])
    return Listeners(looks.current().sinks(form), eager=form == "json", text=text, failure=failure)


def in_passing() -> Listeners:
    """The same for what only looks: nothing is said, but whom we met for the first time, and no log is kept."""
    from rayctl.events.sinks import FirstContactSink
    from rayctl.operations.options import Listeners

    return Listeners([FirstContactSink(sys.stderr)], logged=False)


@contextmanager
def looking(name: str, path: Path, cluster_name: str | None, *, head_only: bool = False) -> Iterator[Session]:
    """Open a session for what only looks. `head_only`: of declared hosts, no other than the head is asked."""
    from rayctl.operations.opened import opened

    with opened(name, path, {"cluster_name": cluster_name}, in_passing(), head_only=head_only) as session:
        yield session


def ago(seconds: float) -> str:
    """A time that has passed, in round words."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def asker(*, yes: bool) -> Callable[[Sequence[str]], None]:
    """What asks a person whether to do what the lines say; without a terminal the answer must be in the flags."""

    def confirm(lines: Sequence[str]) -> None:
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at", hint="Say --yes to go on without a question.")
        for line in lines:
            click.echo(line, err=True)
        try:
            agreed = click.confirm("Go on?", default=False, err=True)
        except click.Abort:
            raise Interrupted("interrupted before anything was touched") from None
        if not agreed:
            raise Refused("you said no; nothing was touched.")

    return confirm
