# SPDX-License-Identifier: Apache-2.0
"""`exec` and `submit`: the remote exit code comes back; rayctl's own failures are 125, as docker's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rayctl.cli.common import cluster_file, cluster_name, operation

if TYPE_CHECKING:
    from rayctl.operations.session import Session

OWN_FAILURE = 125
TAKES_A_VALUE = ("-n", "--cluster-name")


class WrongUsage(click.UsageError):
    """A wrong command line of a command that returns another's exit code."""

    exit_code = OWN_FAILURE


class Remote(click.Command):
    """A command whose exit codes are the remote command's, so that a wrong command line here must not look like one."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """As click's, with our own exit code for usage errors."""
        try:
            return super().make_context(*args, **extra)
        except click.UsageError as e:
            raise WrongUsage(e.format_message(), e.ctx) from None


class Submit(Remote):
    """Takes options before the script only, wherever they stand there: all that follows it is the script's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move our options to the front; click then leaves the rest alone."""
        options: list[str] = []
        names: list[str] = []
        words = iter(args)
        while len(names) < 2 and (word := next(words, None)) is not None:
            (options if word.startswith("-") else names).append(word)
            if word.replace("_", "-") in TAKES_A_VALUE:
                options += [value for value in (next(words, None),) if value is not None]
        return super().parse_args(ctx, [*options, *names, *words])


@click.command("exec", cls=Remote, short_help="Run a shell command on the head.")
@cluster_file
@click.argument("command")
@cluster_name
def exec_(cluster_file: Path, command: str, cluster_name: str | None) -> int:
    """Run a shell command on the head, in a login shell where `ray.init()` and `ray status` find this cluster.

    \b
    Example: rayctl exec cluster.yaml 'ray status'
    """
    from rayctl.operations import exec as operations

    return _code(cluster_file, cluster_name, "exec", lambda session: operations.run(session, command))


@click.command(cls=Submit, context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@cluster_file
@click.argument("script", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@cluster_name
def submit(cluster_file: Path, script: Path, arguments: tuple[str, ...], cluster_name: str | None) -> int:
    """Copy a Python script to the head and run it there. Arguments arrive exactly as given.

    \b
    Example: rayctl submit cluster.yaml train.py --epochs 3 --name 'a b'
    """
    from rayctl.operations import exec as operations

    given = arguments[1:] if arguments[:1] == ("--",) else arguments
    return _code(cluster_file, cluster_name, "submit", lambda session: operations.submit(session, script, given))


def _code(path: Path, name: str | None, operation_name: str, act: Callable[[Session], int]) -> int:
    from rayctl.cli.report import explain

    try:
        with operation(operation_name, path, {"cluster_name": name}, quiet=True, head_only=True) as session:
            return act(session)
    except Exception as e:
        return 130 if explain(e) == 130 else OWN_FAILURE


COMMANDS = (exec_, submit)
