# SPDX-License-Identifier: Apache-2.0
"""What the commands share: their common options, the sinks of their events, and asking before something is done."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rayctl.errors import Interrupted, RayctlError, Refused, UsageError

if TYPE_CHECKING:
    from rayctl.events import Bus
    from rayctl.operations.session import Session

F = TypeVar("F", bound=Callable[..., Any])

cluster_file = click.argument("cluster_file", type=click.Path(path_type=Path), metavar="CLUSTER_FILE")
cluster_name = click.option("-n", "--cluster-name", metavar="NAME", help="Another name for the cluster than the file's.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
lock_timeout = click.option(
    "--lock-timeout", type=float, default=60.0, show_default=True, metavar="SECONDS",
    help="How long to wait for another writer.",
)  # fmt: skip
verbose = click.option("-v", "--verbose", count=True, help="Show what the steps print.")
output_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="json: machine-readable, on stdout.",
)  # fmt: skip


@contextmanager
def operation(
    name: str, path: Path, overrides: dict[str, Any], *, form: str = "text", verbosity: int = 0, quiet: bool = False
) -> Iterator[Session]:
    """Open a session whose events are shown and logged; tells how the operation ended."""
    from rayctl.events import Bus, EventKind
    from rayctl.operations.session import Session

    bus = Bus(name, path.stem, () if quiet else _sinks(form, verbosity))
    began = time.monotonic()
    try:
        session = Session.open(name, path, overrides, bus)
        if not quiet:
            bus = session.bus = Bus(name, session.name, [*_sinks(form, verbosity), _log(session, name)])
        bus.emit(EventKind.OPERATION_STARTED, text=shlex.join(["rayctl", *sys.argv[1:]]))
        yield session
        _ended(bus, "ok", began, 0)
    except (Interrupted, KeyboardInterrupt) as e:
        _ended(bus, "interrupted", began, 130, str(e))
        raise
    except RayctlError as e:
        _ended(bus, "failed", began, e.exit_code, e.message)
        raise
    finally:
        bus.close()


def _ended(bus: Bus, status: str, began: float, code: int, text: str = "") -> None:
    from rayctl.events import EventKind

    seconds = round(time.monotonic() - began, 2)
    bus.emit(EventKind.OPERATION_ENDED, status=status, seconds=seconds, exit_code=code, text=text)


def _sinks(form: str, verbosity: int) -> list[Any]:
    from rayctl.events.sinks import JsonLinesSink, PlainSink

    if form == "json":
        return [JsonLinesSink(sys.stdout)]
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from rayctl.events.screen import ScreenSink

        return [ScreenSink(Console(stderr=True), verbosity=verbosity)]
    return [PlainSink(sys.stderr, verbosity=verbosity)]


def _log(session: Session, name: str) -> Any:
    from rayctl.events.sinks import LogFileSink
    from rayctl.state.paths import run_log
    from rayctl.state.private import private_dir

    path = run_log(session.root, session.name, name, started=time.time(), pid=os.getpid())
    private_dir(path.parent)
    return LogFileSink(path)


def asker(session: Session, yes: bool) -> Callable[[Sequence[str]], None]:
    """What asks a person whether to do what the lines say; without a terminal the answer must be in the flags."""

    def confirm(lines: Sequence[str]) -> None:
        if yes:
            return
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask at", hint="Say --yes to go on without a question.")
        click.echo(f"Cluster {session.name}:", err=True)
        for line in lines:
            click.echo(f"  {line}", err=True)
        if not click.confirm("Go on?", default=False, err=True):
            raise Refused("you said no; nothing was touched.")

    return confirm
