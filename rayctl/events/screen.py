# SPDX-License-Identifier: Apache-2.0
"""The sink for a terminal: a line per node that shows what it is at and for how long, and above it what is worth keeping."""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.console import Console, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from rayctl.events import Event, EventKind, Sink
from rayctl.events.wording import elapsed, lines, shorten, step_name

ENDED = {"ok": ("✓", "green"), "unchanged": ("=", "dim"), "failed": ("✗", "red"), "unreachable": ("✗", "red")}
IN_TABLE = {
    EventKind.STEP_STARTED,
    EventKind.NODE_STARTED,
    EventKind.NODE_ENDED,
    EventKind.HEAD_ANSWERED,
    EventKind.NODE_LAUNCHED,
}
STYLES = {EventKind.WARNING: "yellow", EventKind.ERROR: "red", EventKind.STEP_ENDED: "red", EventKind.NOTICE: "cyan"}
MOST_ROWS = 20  # more nodes than this are counted, not listed; those at work come first


@dataclass
class _Row:
    """One node: what it is at since when, or how it ended."""

    what: str = "waiting"
    since: float = 0.0
    ended: str = ""
    seconds: float = 0.0


class ScreenSink(Sink):
    """Draws while the operation runs; `close` leaves the last picture. With `verbosity` 1 the steps' output scrolls by."""

    def __init__(self, console: Console, *, verbosity: int = 0) -> None:
        self._rows: dict[str, _Row] = {}
        self._verbosity = verbosity
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=5, transient=False)
        self._spinner = Spinner("dots")

    def write(self, event: Event) -> None:
        """Take one event."""
        if not self._live.is_started:
            self._live.start()
        if event.node:
            self._follow(event)
        if event.kind == EventKind.STEP_OUTPUT and self._verbosity:
            self._print(event.node, (f"| {event.data.get('text', '')}",), "dim")
        elif event.kind not in IN_TABLE and event.kind != EventKind.OPERATION_STARTED:
            self._print(event.node, lines(event), STYLES.get(EventKind(event.kind), "") if event.kind in STYLES else "")

    def close(self) -> None:
        """Stop drawing."""
        if self._live.is_started:
            self._live.stop()

    def _follow(self, event: Event) -> None:
        row = self._rows.setdefault(event.node, _Row(since=event.ts))
        if event.kind == EventKind.STEP_STARTED:
            place = "starting Ray" if event.data.get("name") else step_name(event)
            row.what, row.since, row.ended = f"{place}  {shorten(str(event.data.get('text', '')), 48)}", event.ts, ""
        elif event.kind == EventKind.NODE_LAUNCHED:
            row.what, row.since = "launched", event.ts
        elif event.kind == EventKind.HEAD_ANSWERED:
            row.what = f"answers at {event.data.get('address')}"
        elif event.kind == EventKind.NODE_ENDED:
            row.ended, row.seconds = str(event.data.get("status", "ok")), float(event.data.get("seconds") or 0)
            row.what = str(event.data.get("text") or {"ok": "ready", "unchanged": "unchanged"}.get(row.ended, row.ended))
        elif event.kind == EventKind.NODE_TERMINATED:
            del self._rows[event.node]

    def _print(self, node: str, said: tuple[str, ...], style: str) -> None:
        for line in said:
            text = Text(f"{node}  " if node else "", style="bold")
            text.append(line, style=style)
            self._live.console.print(text, soft_wrap=True)

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 2), expand=False)
        table.add_column(width=1)
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        shown = sorted(self._rows.items(), key=lambda item: bool(item[1].ended))[:MOST_ROWS]
        names = {name for name, _ in shown}
        for name, row in self._rows.items():
            if name in names:
                table.add_row(*self._cells(name, row))
        if len(self._rows) > len(shown):
            table.add_row("", "", Text(f"and {len(self._rows) - len(shown)} more", style="dim"), "")
        return table

    def _cells(self, name: str, row: _Row) -> tuple[RenderableType, ...]:
        if row.ended:
            sign, style = ENDED.get(row.ended, ("?", ""))
            return Text(sign, style=style), name, Text(row.what, style=style), elapsed(row.seconds)
        return self._spinner, name, row.what, elapsed(time.time() - row.since)
