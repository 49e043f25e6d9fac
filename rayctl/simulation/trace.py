# SPDX-License-Identifier: Apache-2.0
"""A demand trace: JSON lines -> `Trace`, or every problem the file has, each with its line.

The first line is `{"version": 1, "kind": "rayctl-demand-trace"}`; each other line is one event: `at`, in seconds from the
beginning, and one of `submit`, `gang`, `request`, `load` (see `lines`). Blank lines and lines that start with `#` say nothing.
What comes out goes to `engine`, sorted by time. A file is read line by line, and work is kept as counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from pydantic import ValidationError

from rayctl.config import places
from rayctl.config.problems import Locator, findings
from rayctl.config.words import seen
from rayctl.errors import ConfigError, Problem
from rayctl.simulation.events import Event, Group, Load, Submit, Trace
from rayctl.simulation.lines import EVENTS, MOST_UNITS, EventLine

VERSION = 1
KIND = "rayctl-demand-trace"
HEADER = json.dumps({"version": VERSION, "kind": KIND})

MOST_EVENTS = 1_000_000
MOST_BYTES = 1 << 20  # of a line
MOST_PROBLEMS = 20


def read(path: str | Path) -> Trace:
    """The trace that a file holds. Raises `ConfigError` with its problems, the first ones where there are many."""
    try:
        with Path(path).open("rb") as file:
            return _Reader(str(path)).trace(file)
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror or error}", hint="give the path of a demand trace")
        raise ConfigError(str(path), (problem,)) from None


class _Reader:
    """One file, line by line, with what is wrong in it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.events: list[Event] = []
        self.problems: list[Problem] = []
        self.units = 0

    def trace(self, file: BinaryIO) -> Trace:
        """All of it."""
        read: Callable[[int, str], None] = self._header
        for number, text in self._lines(file):
            read(number, text)
            read = self._event
            if len(self.problems) >= MOST_PROBLEMS:
                break
        if read == self._header:
            self._fail(Problem("", f"is empty; a demand trace begins with the line {HEADER}"))
        if self.problems:
            raise ConfigError(self.source, tuple(self.problems))
        return Trace(self.source, tuple(sorted(self.events, key=lambda event: event.at)))

    def _lines(self, file: BinaryIO) -> Iterator[tuple[int, str]]:
        number = 0
        while raw := file.readline(MOST_BYTES + 1):
            number += 1
            if len(raw) > MOST_BYTES:
                self._fail(Problem("", f"the line is longer than {MOST_BYTES >> 20} MiB", number, 1))
            try:
                text = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                self._fail(Problem("", f"is no UTF-8 text (byte {error.start} of the line)", number, 1, "save it as UTF-8"))
            if text and not text.startswith("#"):
                yield number, text

    def _header(self, number: int, text: str) -> None:
        data = self._parsed(number, text)
        if not isinstance(data, dict) or data.get("kind") != KIND:
            self._fail(Problem("", "is no demand trace", number, 1, f"let it begin with the line {HEADER}"))
        version = data.get("version")
        if isinstance(version, int) and version > VERSION:
            message = f"is a demand trace of version {version}, and this rayctl reads version {VERSION}"
            self._fail(Problem("version", message, number, 1, "use a newer rayctl"))
        if version != VERSION:
            self._fail(Problem("version", f"`version` must be {VERSION}, not {seen(version)}", number, 1))

    def _event(self, number: int, text: str) -> None:
        data = self._parsed(number, text)
        if data is None:
            return
        try:
            event = EventLine.model_validate(data).event()
        except ValidationError as error:
            self.problems += self._found(number, text, error)
            return
        if event is None:
            message = f"an event has `at` and exactly one of {', '.join(f'`{name}`' for name in EVENTS)}"
            self.problems.append(Problem("", message, number, 1, "write a line for each"))
            return
        self.events.append(event)
        self.units += _units(event)
        if len(self.events) > MOST_EVENTS or self.units > MOST_UNITS:
            most = f"{MOST_EVENTS:,} events and {MOST_UNITS:,} tasks"
            self._fail(Problem("", f"asks for more than a simulation can hold: {most}", number, 1, "cut the trace into parts"))

    def _parsed(self, number: int, text: str) -> Any:
        """The line's data; None where it is no JSON object, which is a problem then."""
        try:
            data = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            why, column = (error.msg, error.colno) if isinstance(error, json.JSONDecodeError) else (str(error), 1)
            self.problems.append(Problem("", f"the line is no JSON: {why}", number, column))
            return None
        if isinstance(data, dict):
            return data
        self.problems.append(Problem("", f"the line must be a JSON object, not {seen(data)}", number, 1))
        return None

    def _found(self, number: int, text: str, error: ValidationError) -> list[Problem]:
        """What pydantic found, in the words that cluster files get: JSON is YAML, so the same places can be looked up."""
        try:
            locator = Locator(places.read(text, self.source), {})
        except ConfigError:
            return [Problem(places.shown(one["loc"]), one["msg"], number, 1) for one in error.errors()]
        return [replace(locator.problem(one), line=number) for one in findings(error.errors(), EventLine, locator)]

    def _fail(self, problem: Problem) -> NoReturn:
        raise ConfigError(self.source, (*self.problems, problem))


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number that can be counted with")


def _units(event: Event) -> int:
    match event:
        case Submit():
            return event.demand.count
        case Group():
            return sum(bundle.count for bundle in event.bundles)
        case Load():
            return max((demand.count for demand in event.demands), default=0)
    return 0
