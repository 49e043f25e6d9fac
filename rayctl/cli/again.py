# SPDX-License-Identifier: Apache-2.0
"""Showing something anew until Ctrl-C: in place on a terminal, one after the other elsewhere.

There is no alternate screen and the cursor stays visible, so that whatever ends it, SIGKILL included, leaves the terminal as it
was, below the last picture. When the first look fails, the command does; a later failure is told, and the next look comes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from rayctl.cli.report import text_of
from rayctl.errors import Interrupted, RayctlError


def printed(show: Callable[[], str], every_s: float) -> None:
    """Print what `show` says every so often; errors go to stderr."""
    for first in _looks(every_s):
        try:
            click.echo(show())
        except RayctlError as error:
            if first or isinstance(error, Interrupted):
                raise
            click.echo(text_of(error), err=True)
        sys.stdout.flush()


def drawn(console: Console, show: Callable[[int, int], list[Text]], every_s: float) -> None:
    """Draw what `show` gives for a window of this width and height, cut to the window."""
    picture = _Picture(console)
    lines: list[Text] = []
    try:
        for first in _looks(every_s):
            failure: list[Text] = []
            try:
                lines = show(*console.size)
            except RayctlError as error:
                if first or isinstance(error, Interrupted):
                    raise
                failure = [Text(text_of(error), style="red")]
            picture.draw([*failure, *lines])
    finally:
        picture.leave()


def _looks(every_s: float) -> Iterator[bool]:
    """One after the other, whether it is the first; what a look takes is part of its time."""
    first = True
    while True:
        began = time.monotonic()
        yield first
        first = False
        time.sleep(max(0.0, began + every_s - time.monotonic()))


class _Picture:
    """What stands on the terminal. In a window of another size a new one begins: what was drawn before is not where it was."""

    def __init__(self, console: Console) -> None:
        self._console, self._size = console, console.size
        self._live: Live | None = None

    def draw(self, lines: list[Text]) -> None:
        if self._size != self._console.size:
            self.leave()
        if self._live is None:
            self._size = self._console.size
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
            self._console.show_cursor(True)
        self._live.update(self._cut(lines), refresh=True)

    def leave(self) -> None:
        """The last picture stays."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _cut(self, lines: list[Text]) -> Text:
        width, height = self._size
        rows = [row for line in lines for row in line.wrap(self._console, width) or [line]]
        if (hidden := len(rows) - (height - 1)) > 0:
            rows = [*rows[: height - 2], Text(f"{hidden + 1} more lines than the window has", style="dim")]
        return Text("\n", no_wrap=True, overflow="crop").join(rows)
