# SPDX-License-Identifier: Apache-2.0
"""An operation from its first word to its last: the file is read, events are heard and logged, its end is told."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from rayctl.config.load import Loaded, load
from rayctl.errors import Interrupted, RayctlError
from rayctl.events import Bus, EventKind, Sink
from rayctl.operations.history import file_of, require_known
from rayctl.operations.options import Listeners
from rayctl.operations.session import Session
from rayctl.operations.signals import sigterm_as_interrupt
from rayctl.state.paths import home, run_log
from rayctl.state.private import private_dir


@contextmanager
def opened(
    name: str, path: Path, overrides: Mapping[str, Any], listeners: Listeners, *, head_only: bool = False
) -> Iterator[Session]:
    """Open a session on a cluster file, or on the cluster of this name, and tell how the operation ended.

    `head_only`: of declared hosts, no other than the head is asked.
    """
    given = {key: value for key, value in overrides.items() if value is not None}
    bus = Bus(name, path.stem, listeners.sinks if listeners.eager else ())
    began = time.monotonic()
    try:
        with sigterm_as_interrupt() if listeners.logged else nullcontext():
            loaded = _load(path, given)
            bus = _begun(name, loaded.config.cluster_name, listeners)
            session = Session.of(name, loaded, given, bus, head_only=head_only)
            with closing(session):
                yield session
        _ended(bus, "failed" if session.exit_code else "ok", began, session.exit_code)
    except (Interrupted, KeyboardInterrupt) as e:
        _ended(bus, "interrupted", began, 130, str(e))
        raise
    except Exception as e:
        _ended(bus, "failed", began, listeners.failure or (e.exit_code if isinstance(e, RayctlError) else 1), str(e))
        raise
    finally:
        bus.close()


def _load(path: Path, given: dict[str, Any]) -> Loaded:
    """Read the cluster file; where there is none, the file of the cluster of this name, whose name is then `given` too."""
    file = None if path.exists() else file_of(home(os.environ), str(path))
    if file is None:
        require_known(path)
        return load(path, **given)
    loaded = load(file, **given)
    if loaded.config.cluster_name != str(path) and "cluster_name" not in given:
        given["cluster_name"] = str(path)
        loaded = load(file, **given)
    return loaded


def _begun(name: str, cluster: str, listeners: Listeners) -> Bus:
    """The operation's bus, its run's log among the sinks. Without a place for the log the operation goes on all the same."""
    problem, sinks = "", list(listeners.sinks)
    if not listeners.logged:
        return Bus(name, cluster, sinks)
    try:
        sinks.append(_log(name, cluster))
    except (RayctlError, OSError) as e:
        problem = str(e)
    bus = Bus(name, cluster, sinks)
    bus.emit(EventKind.OPERATION_STARTED, text=listeners.text)
    if problem:
        bus.emit(EventKind.NOTICE, text=f"no log of this run is kept: {problem}")
    return bus


def _log(name: str, cluster: str) -> Sink:
    from rayctl.events.sinks import LogFileSink  # here, since commands that keep no log start sooner without it

    path = run_log(home(os.environ), cluster, name, started=time.time(), pid=os.getpid())
    private_dir(path.parent)
    return LogFileSink(path)


def _ended(bus: Bus, status: str, began: float, code: int, text: str = "") -> None:
    seconds = round(time.monotonic() - began, 2)
    bus.emit(EventKind.OPERATION_ENDED, status=status, seconds=seconds, exit_code=code, text=text)
