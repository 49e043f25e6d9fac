# SPDX-License-Identifier: Apache-2.0
"""Errors in words: one paragraph, what, where, the last output, what to do; one block per node that failed."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import click

from rayctl.errors import ConfigError, Interrupted, NodeFailure, NodesFailed, RayctlError
from rayctl.events.wording import named

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)  # of what we write, files have a name


def explain(error: BaseException) -> int:
    """Print an error to stderr, with `--debug` its traceback too; the exit code it stands for."""
    if os.environ.get("RAYCTL_DEBUG"):
        import traceback

        traceback.print_exception(error)
    if isinstance(error, (KeyboardInterrupt, click.Abort)):  # click makes the one of the other
        click.echo("interrupted", err=True)
        return 130
    if isinstance(error, OSError) and error.errno in FULL and not error.filename:
        click.echo(f"error: cannot write to stdout: {error.strerror}", err=True)
        return 1
    if not isinstance(error, RayctlError):
        click.echo(
            f"rayctl failed in a way it should not: {type(error).__name__}: {error}\n"
            "  fix: run the command again as `rayctl --debug ...` and report what it shows",
            err=True,
        )
        return 1
    click.echo(text_of(error), err=True)
    return error.exit_code


def text_of(error: RayctlError) -> str:
    """The words of an error."""
    if isinstance(error, ConfigError):
        from rayctl.operations.validate import Report, render

        return render(Report(error.source, problems=error.problems))
    if isinstance(error, NodesFailed):
        blocks = [block(failure) for failure in _first_causes(error.failures)]
        return "\n\n".join([*blocks, _with_command(error)])
    if isinstance(error, Interrupted):
        return _with_command(error)
    return f"error: {error.message}" + (f"\n  fix: {error.hint}" if error.hint else "")


def _with_command(error: RayctlError) -> str:
    """The hint of these errors is the command that resumes."""
    return f"{error.message}; to go on from there:\n  {error.hint}" if error.hint else error.message


def _first_causes(failures: tuple[NodeFailure, ...]) -> list[NodeFailure]:
    """Nodes that failed for the same reason, with the same last words, are told once."""
    groups: dict[object, list[NodeFailure]] = {}
    for failure in failures:
        groups.setdefault((failure.reason, failure.step, failure.tail), []).append(failure)
    return [_merged(group) for group in groups.values()]


def _merged(group: list[NodeFailure]) -> NodeFailure:
    first = group[0]
    if len(group) == 1:
        return first
    return replace(first, node=named([failure.node for failure in group]), log=f"{first.node}:{first.log}" if first.log else "")


def block(failure: NodeFailure) -> str:
    """A node's failure: the step, how it ended, what it printed last, where all of it is."""
    lines = [f"✗ {failure.node}: {failure.reason}"]
    if failure.step:
        lines.append(f"  step   {failure.step}")
    if failure.exit_code is not None:
        lines.append(f"  exit   {failure.exit_code}")
    lines += [f"  | {line}" for line in failure.tail]
    if failure.log:
        lines.append(f"  log    {failure.log}")
    return "\n".join(lines)
