# SPDX-License-Identifier: Apache-2.0
"""What several nodes answered to a command: each different answer once, under the names of those who gave it."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import BinaryIO

import click

from rayctl.cli.report import block
from rayctl.events import Bus, EventKind
from rayctl.events.wording import named
from rayctl.operations.everywhere import Answer, Answers

TAIL = 65536  # bytes


def show(found: Answers) -> None:
    """Print answers to stdout, what came on stderr to stderr, and who did not answer."""
    for answer in found.answers:
        click.secho(_heading(answer), bold=True)
        sys.stdout.flush()
        _pour(answer.stdout, sys.stdout.buffer)
        _pour(answer.stderr, sys.stderr.buffer)
    for failure in found.failures:
        click.echo(block(failure), err=True)


def emit(found: Answers, bus: Bus, *, whole: bool) -> None:
    """An event for each node. Of output that is not wanted whole, the end is told."""
    for answer in found.answers:
        status = "failed" if answer.exit_code else "ok"
        out, err = (_text(path, None if whole else TAIL) for path in (answer.stdout, answer.stderr))
        for node in answer.nodes:
            bus.emit(EventKind.COMMAND_ENDED, node, status=status, exit_code=answer.exit_code, stdout=out, stderr=err)
    for failure in found.failures:
        status = "unreachable" if failure.unreachable else "failed"
        bus.emit(EventKind.COMMAND_ENDED, failure.node, status=status, exit_code=None, text=failure.reason)


def _text(path: Path, last: int | None) -> str:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - last) if last is not None else 0)
        return file.read().decode("utf-8", "backslashreplace")


def _heading(answer: Answer) -> str:
    count = f" ({len(answer.nodes)} nodes)" if len(answer.nodes) > 1 else ""
    return f"== {named(answer.nodes)}{count}{f': exit code {answer.exit_code}' if answer.exit_code else ''}"


def _pour(source: Path, target: BinaryIO) -> None:
    """Bytes as they came, and a line's end where there is none, or the next heading would stand beside them."""
    with source.open("rb") as file:
        shutil.copyfileobj(file, target)
        if file.tell():
            file.seek(-1, 2)
            target.write(b"" if file.read() == b"\n" else b"\n")
    target.flush()
