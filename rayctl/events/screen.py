# SPDX-License-Identifier: Apache-2.0
"""The sink for a terminal: a line per node that shows what it is at and for how long, and above it what is worth keeping."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rayctl.events import Event, EventKind, Sink
from rayctl.events.wording import elapsed, lines, shorten, step_name

ENDED = {"ok": ("✓", "green"), "unchanged": ("=", "dim"), "failed": ("✗", "red"), "unreachable": ("✗", "red")}
# what the table shows, or the command line says after it
NOT_PRINTED = {
    EventKind.OPERATION_STARTED,
    EventKind.OPERATION_ENDED,
    EventKind.STEP_STARTED,
    EventKind.STEP_ENDED,
    EventKind.NODE_STARTED,
    EventKind.NODE_ENDED,
    EventKind.HEAD_ANSWERED,
    EventKind.NODE_LAUNCHED,
}
STYLES = {EventKind.FIRST_CONTACT: "cyan", EventKind.WARNING: "yellow", EventKind.ERROR: "red", EventKind.NOTICE: "cyan"}
MOST_ROWS = 20  # more nodes than this are counted, not listed; those at work come first

Cells = tuple[RenderableType, Text, Text, str]
"""Sign, name, what it is at, for how long."""


@dataclass
class _Row:
    """One node: what it is at since when, or how it ended."""

    what: str = "waiting"
    since: float = 0.0
    ended: str = ""
    seconds: float = 0.0


class ScreenSink(Sink):
    """Draws while the operation runs; `close` leaves the last picture. With `verbosity` 1 the steps' output scrolls by.

    Drawing begins with the first node: until then a question may stand on the screen. `clock` tells seconds since the epoch.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.time, *, verbosity: int = 0) -> None:
        self._rows: dict[str, _Row] = {}
        self._whole = _Row("")  # what the operation as a whole is at, after its nodes are done
        self._clock = clock
        self._verbosity = verbosity
        self._console = console
        self._spinner = Spinner("dots")
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=5, transient=False)

    def write(self, event: Event) -> None:
        """Take one event."""
        if event.node:
            self._follow(event)
        elif event.kind == EventKind.HEARTBEAT:
            self._whole = _Row(str(event.data.get("text", "")), self._whole.since or event.ts)
        elif event.kind == EventKind.OPERATION_ENDED:
            self._whole = _Row("")
        if self._rows and not self._live.is_started:
            self._live.start()
        if event.kind == EventKind.STEP_OUTPUT and self._verbosity:
            self._print(event.node, (f"| {event.data.get('text', '')}",), "dim")
        elif event.kind not in NOT_PRINTED:
            self._print(event.node, lines(event), STYLES.get(EventKind(event.kind), "") if event.kind in STYLES else "")

    def close(self) -> None:
        """Stop drawing."""
        if self._live.is_started:
            self._live.stop()

    def _follow(self, event: Event) -> None:
        if event.kind == EventKind.NODE_TERMINATED:
            self._rows.pop(event.node, None)
            return
        row = self._rows.setdefault(event.node, _Row(since=event.ts))
        if event.kind == EventKind.STEP_STARTED:
            command = shorten(str(event.data.get("text", "")), 48)
            row.what, row.since, row.ended = f"{step_name(event)}  {command}", event.ts, ""
        elif event.kind == EventKind.NODE_LAUNCHED:
            row.what, row.since = "launched", event.ts
        elif event.kind == EventKind.HEAD_ANSWERED:
            row.what = f"answers at {event.data.get('address')}"
        elif event.kind == EventKind.NODE_ENDED:
            row.ended, row.seconds = str(event.data.get("status", "ok")), float(event.data.get("seconds") or 0)
            row.what = str(event.data.get("text") or {"ok": "ready"}.get(row.ended, row.ended))

    def _print(self, node: str, said: tuple[str, ...], style: str) -> None:
        for line in said:
            text = Text(f"{node}  " if node else "", style="bold")
            text.append(line, style=style)
            self._console.print(text, soft_wrap=True)

    def _table(self) -> RenderableType:
        shown = sorted(self._rows.items(), key=lambda item: bool(item[1].ended))[:MOST_ROWS]
        names = {name for name, _ in shown}
        cells = [self._cells(name, row) for name, row in self._rows.items() if name in names]
        if hidden := len(self._rows) - len(shown):
            cells.append(("", Text(), Text(f"and {hidden} more", style="dim"), ""))
        if self._whole.what:
            cells.append(self._cells("", self._whole))
        table = self._grid(cells)
        for row in cells:
            table.add_row(*row)
        return table

    def _grid(self, cells: Sequence[Cells]) -> Table:
        """In a narrow terminal the commands give way, and very long names, but never the times."""
        longest = max((len(name) for _, name, _, _ in cells), default=0)
        widest_time = max((len(time) for _, _, _, time in cells), default=0)
        grid = Table.grid(padding=(0, 2), expand=False)
        grid.add_column(width=1)
        grid.add_column(no_wrap=True, style="bold", width=min(longest, max(13, self._console.width // 2)))
        grid.add_column()  # the only one that may shrink; its texts are cut rather than wrapped
        grid.add_column(no_wrap=True, justify="right", width=widest_time)
        return grid

    def _cells(self, name: str, row: _Row) -> Cells:
        what = Text(row.what, no_wrap=True, overflow="ellipsis")  # a command is no markup: `[[ -f x ]]` stays as it is
        if row.ended:
            sign, style = ENDED.get(row.ended, ("?", ""))
            what.stylize(style)
            return Text(sign, style=style), Text(name), what, elapsed(row.seconds)
        return self._spinner, Text(name), what, elapsed(self._clock() - row.since)
