# SPDX-License-Identifier: Apache-2.0
"""What the commands share: their common options, the sinks of their events, and asking before something is done."""

from __future__ import annotations

import glob
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rayctl.errors import Interrupted, RayctlError, Refused, UsageError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from rayctl.config.load import Loaded
    from rayctl.events import Bus, Sink
    from rayctl.operations.session import Session

F = TypeVar("F", bound=Callable[..., Any])


class ClusterFile(click.Path):
    """A cluster file, or the name of a cluster that was met from here (see `operation`)."""

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Names of clusters, beside files."""
        from click.shell_completion import CompletionItem

        from rayctl.state.paths import home

        names = sorted(folder.name for folder in (home(os.environ) / "clusters").glob(f"{glob.escape(incomplete)}*"))
        return [*map(CompletionItem, names), *super().shell_complete(ctx, param, incomplete)]


cluster_file = click.argument("cluster_file", type=ClusterFile(path_type=Path), metavar="CLUSTER_FILE")
cluster_name = click.option("-n", "--cluster-name", metavar="NAME", help="Another name for the cluster than the file's.")
yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
lock_timeout = click.option(
    "--lock-timeout", type=click.FloatRange(min=0), default=60.0, show_default=True, metavar="SECONDS",
    help="How long to wait for another writer.",
)  # fmt: skip
accept_other = click.option(
    "--accept-other-cluster", is_flag=True,
    help="Go on though the provider's cluster of this name is another one than the one known here.",
)  # fmt: skip
verbose = click.option("-v", "--verbose", count=True, help="Show what the steps print.")
no_config_cache = click.option(
    "--no-config-cache", is_flag=True, expose_value=False, help="As Ray's, without effect: rayctl keeps no such cache."
)
no_usage_stats = click.option(
    "--disable-usage-stats", is_flag=True, expose_value=False, help="As Ray's, without effect: rayctl switches them off always."
)
output_format = click.option(
    "--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="json: machine-readable, on stdout.",
)  # fmt: skip


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one, in this order."""

    def add(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return add


@contextmanager
def operation(
    name: str, path: Path, overrides: dict[str, Any], *, form: str = "text", verbosity: int = 0, quiet: bool = False,
    head_only: bool = False, failure: int | None = None,
) -> Iterator[Session]:  # fmt: skip
    """Open a session whose events are shown and logged, and tell how the operation ended.

    `quiet`: neither shown nor logged. `head_only`: of declared hosts, no other than the head is asked. `failure` is the
    exit code of rayctl's own failures, where it is not the error's.
    """
    from rayctl.events import Bus
    from rayctl.operations.session import Session

    given = {key: value for key, value in overrides.items() if value is not None}
    sinks = [] if quiet else _sinks(form, verbosity)
    # a file that cannot be read is told by its error alone; only a program waits for an event in any case
    bus, began = Bus(name, path.stem, sinks if form == "json" else ()), time.monotonic()
    try:
        with nullcontext() if quiet else sigterm_as_interrupt():
            loaded = _load(path, given)
            if not quiet:
                bus = _begun(name, loaded.config.cluster_name, sinks)
            session = Session.of(name, loaded, given, bus, head_only=head_only)
            with closing(session):
                yield session
            if quiet:  # nobody else has shown them
                _show_first_contacts(session)
        _ended(bus, "failed" if session.exit_code else "ok", began, session.exit_code)
    except (Interrupted, KeyboardInterrupt) as e:
        _ended(bus, "interrupted", began, 130, str(e))
        raise
    except Exception as e:
        _ended(bus, "failed", began, failure or (e.exit_code if isinstance(e, RayctlError) else 1), str(e))
        raise
    finally:
        bus.close()


def _load(path: Path, given: dict[str, Any]) -> Loaded:
    """Read the cluster file; where there is none, the file of the cluster of this name, whose name is then `given` too."""
    from rayctl.config.load import load
    from rayctl.operations.history import file_of
    from rayctl.state import paths

    file = None if path.exists() else file_of(paths.home(os.environ), str(path))
    if file is None:
        return load(path, **given)
    loaded = load(file, **given)
    if loaded.config.cluster_name != str(path) and "cluster_name" not in given:
        given["cluster_name"] = str(path)
        loaded = load(file, **given)
    return loaded


def _show_first_contacts(session: Session) -> None:
    for host, key in session.first_contacts.items():
        click.echo(f"{host}: first contact, its host key {key} is believed unverified", err=True)


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """While it lasts, SIGTERM ends an operation as Ctrl-C does: in order, with exit code 130."""

    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted by SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _begun(name: str, cluster: str, sinks: Sequence[Sink]) -> Bus:
    """The operation's bus, its run's log among the sinks. Without a place for the log the operation goes on all the same."""
    from rayctl.events import Bus, EventKind

    problem = ""
    try:
        sinks = [*sinks, _log(name, cluster)]
    except (RayctlError, OSError) as e:
        problem = str(e)
    bus = Bus(name, cluster, sinks)
    bus.emit(EventKind.OPERATION_STARTED, text=shlex.join(["rayctl", *sys.argv[1:]]))
    if problem:
        bus.emit(EventKind.NOTICE, text=f"no log of this run is kept: {problem}")
    return bus


def _log(name: str, cluster: str) -> Sink:
    from rayctl.events.sinks import LogFileSink
    from rayctl.state.paths import home, run_log
    from rayctl.state.private import private_dir

    path = run_log(home(os.environ), cluster, name, started=time.time(), pid=os.getpid())
    private_dir(path.parent)
    return LogFileSink(path)


def _ended(bus: Bus, status: str, began: float, code: int, text: str = "") -> None:
    from rayctl.events import EventKind

    seconds = round(time.monotonic() - began, 2)
    bus.emit(EventKind.OPERATION_ENDED, status=status, seconds=seconds, exit_code=code, text=text)


def _sinks(form: str, verbosity: int) -> list[Sink]:
    from rayctl.events.sinks import JsonLinesSink, PlainSink

    if form == "json":
        return [JsonLinesSink(sys.stdout)]
    if sys.stderr.isatty() and os.environ.get("TERM") != "dumb":
        from rich.console import Console

        from rayctl.events.screen import ScreenSink

        return [ScreenSink(Console(stderr=True), verbosity=verbosity)]
    return [PlainSink(sys.stderr, verbosity=verbosity)]


def ago(seconds: float) -> str:
    """A time that has passed, in round words."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


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
        try:
            agreed = click.confirm("Go on?", default=False, err=True)
        except click.Abort:
            raise Interrupted("interrupted before anything was touched") from None
        if not agreed:
            raise Refused("you said no; nothing was touched.")

    return confirm
