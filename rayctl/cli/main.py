# SPDX-License-Identifier: Apache-2.0
"""The command line's entry: the group of commands, and where errors turn into words and exit codes.

Imported by every `rayctl` call, so nothing heavy is imported here or at the top of a command's module.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any

import click

from rayctl import __version__
from rayctl.cli import cluster, explain, files, known, look, looks, run, scaler, simulate, sync, watch
from rayctl.operations.signals import sigterm_as_interrupt


class ReaderGone(Exception):
    """Seen when whoever read our output has seen enough; what was to be done was done before it was told."""


class Commands(click.Group):
    """The commands in the order in which one needs them; `_` and `-` are the same in names of commands and options."""

    def invoke(self, ctx: click.Context) -> Any:
        """As click's, which would make a failure of a reader that is gone."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise ReaderGone from None

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Not by alphabet."""
        del ctx
        return list(self.commands)


@click.group(
    cls=Commands,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda name: name.replace("_", "-"),
        "auto_envvar_prefix": "RAYCTL",
    },
)
@click.version_option(__version__, message="rayctl %(version)s", allow_from_autoenv=False)
@click.option("--debug", is_flag=True, help="Show tracebacks.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Ray clusters on machines of your own.

    \b
    rayctl up cluster.yaml                  bring a cluster up, or to what its file says now
    rayctl exec cluster.yaml 'ray status'   run a command on its head
    rayctl down cluster.yaml                end it

    Exit codes: 0 done; 1 failed on some node; 2 bad usage or file; 3 not supported or refused, nothing touched;
    4 nothing reachable; 5 another writer holds the cluster; 130 interrupted. exec and submit return the command's own
    code, and 125 when rayctl itself failed.

    An option's default can be set in the environment: RAYCTL_UP_MAX_WORKERS=8 is `up --max-workers 8`.
    """
    looks.heed_no_color(ctx)
    if debug:
        os.environ["RAYCTL_DEBUG"] = "1"


for family in (cluster, run, sync, look, watch, known, files, scaler, explain, simulate):
    for command in family.COMMANDS:
        cli.add_command(command)


def main() -> None:
    """Run a command; every way it can end has an exit code and words for people."""
    try:
        code = _run()
        if sys.stdout:  # none where it was closed by whoever called
            sys.stdout.flush()
    except (BrokenPipeError, ReaderGone):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as e:
        sys.stderr.write(f"error: cannot write to stdout: {e.strerror}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    gc.freeze()  # the interpreter's end would look through all that was imported, for nothing
    sys.exit(code)


def _run() -> int:
    try:
        with sigterm_as_interrupt():
            code = cli(standalone_mode=False)
    except click.ClickException as e:
        e.show()
        return e.exit_code
    except ReaderGone:
        raise
    except (Exception, KeyboardInterrupt) as e:
        from rayctl.cli.report import explain

        return explain(e)
    return code if isinstance(code, int) else 0


if __name__ == "__main__":
    main()
