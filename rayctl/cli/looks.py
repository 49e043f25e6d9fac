# SPDX-License-Identifier: Apache-2.0
"""How much a command says, and how it looks: `-v`, `-q`, Ray's `--log-style` and `--log-color`, NO_COLOR, narrow terminals."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

import click

if TYPE_CHECKING:
    from rich.console import Console

    from rayctl.events import Sink

F = TypeVar("F", bound=Callable[..., Any])
WIDTH = 160  # of tables that go to a file or a pipe
AUTO, PRETTY, RECORD = "auto", "pretty", "record"


@dataclass
class Looks:
    """What the command line says of it. `color` is None where it depends on where the words go."""

    verbose: int = 0
    quiet: bool = False
    style: str = AUTO
    color: bool | None = None

    @property
    def verbosity(self) -> int:
        """-1: notices, warnings and errors alone; 1: what the steps print, too."""
        return -1 if self.quiet else self.verbose

    def sinks(self, form: str) -> list[Sink]:
        """Who tells people, or a program, what happens."""
        from rayctl.events.sinks import JsonLinesSink, PlainSink

        if form == "json":
            return [JsonLinesSink(sys.stdout)]
        if self.verbosity >= 0 and self.drawn:
            from rayctl.events.screen import ScreenSink

            return [ScreenSink(self.console(sys.stderr), verbosity=self.verbosity)]
        return [PlainSink(sys.stderr, verbosity=self.verbosity)]

    @property
    def drawn(self) -> bool:
        """Whether there is a terminal to draw on, or it is to be taken as one."""
        there = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        return self.style == PRETTY or (self.style == AUTO and there)

    def summary(self, text: str, form: str) -> None:
        """Say on stdout how something went that was told of on its way."""
        if form == "text" and not self.quiet:
            click.echo(text)

    def console(self, stream: TextIO) -> Console:
        """For tables and pictures. A file or a pipe is wide, and has no colors unless they are asked for."""
        from rich.console import Console

        colorless = not self.color if self.color is not None else bool(os.environ.get("NO_COLOR"))
        terminal = True if self.color or (self.style == PRETTY and stream is sys.stderr) else None
        width = None if stream.isatty() or "COLUMNS" in os.environ else WIDTH
        return Console(file=stream, no_color=colorless, force_terminal=terminal, width=width, highlight=False)


def current() -> Looks:
    """Those of the command that runs."""
    context = click.get_current_context(silent=True)
    return (context.find_object(Looks) if context else None) or Looks()


def heed_no_color(ctx: click.Context) -> None:
    """What https://no-color.org asks for; a command's own `--log-color` comes later."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def options(function: F) -> F:
    """The options; the command finds what they say by `current`."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def _set(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    found = ctx.ensure_object(Looks)
    setattr(found, {"log_style": "style"}.get(param.name or "", param.name or ""), value)
    if found.quiet and found.verbose:
        raise click.UsageError("--quiet and --verbose contradict each other", ctx)


def _set_color(ctx: click.Context, param: click.Parameter, value: str) -> None:
    del param
    if value != AUTO:
        ctx.color = ctx.ensure_object(Looks).color = value == "true"


_OPTIONS = (
    click.option("-v", "--verbose", count=True, expose_value=False, callback=_set, help="Say more, such as what steps print."),
    click.option(
        "-q", "--quiet", is_flag=True, expose_value=False, callback=_set, help="Say nothing but notices, warnings and errors."
    ),
    click.option(
        "--log-style", type=click.Choice([AUTO, RECORD, PRETTY]), default=AUTO, metavar="STYLE", expose_value=False,
        callback=_set, help="record (plain lines), pretty (a live picture), or auto.",
    ),
    click.option(
        "--log-color", type=click.Choice([AUTO, "false", "true"]), default=AUTO, metavar="WHEN", expose_value=False,
        callback=_set_color, help="Colors: true, false, or auto, which heeds NO_COLOR.",
    ),
)  # fmt: skip
