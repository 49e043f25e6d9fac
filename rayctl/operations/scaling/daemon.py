# SPDX-License-Identifier: Apache-2.0
"""`scaler`: one process per cluster that turns until it is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rayctl.errors import Busy, Interrupted, RayctlError, Refused
from rayctl.events import EventKind
from rayctl.operations import lifetime, machines
from rayctl.operations.scaling.counted import Counted
from rayctl.operations.scaling.handover import scaler_lock
from rayctl.operations.scaling.outside import RealOutside
from rayctl.operations.scaling.sole import Sole
from rayctl.operations.session import Session
from rayctl.reconcile.metrics import Metrics, Served
from rayctl.reconcile.seam import Outside, seam
from rayctl.scaler import Scaler
from rayctl.state import holder, lock, paths

PATIENCE = 5  # failures in a row for which nobody knows a reason; a scaler that is started anew may do better
LONGEST_S = 15.0  # less than that after which another scaler takes this one for gone
TRY_AGAIN_S = (0.0, 10.0, 60.0)
OVER_S = 5.0  # how often it is looked whether a command is over that the cluster was for


def run(session: Session) -> None:
    """Watch the cluster and scale it until SIGTERM or Ctrl-C.

    Raises `Busy` where another scaler has it, `Refused` for a Ray that is too old, RayctlError for a cluster that is not up.
    """
    session.refuse_what_is_not_built()
    machines.the_head(session)
    cluster_id = session.deployment.cluster_id or ""
    session.remember(session.record(cluster_id))
    with _only_one_here(session), _until_told() as told:
        if _scale(session, cluster_id, told):
            _take_down(session, told)


def _scale(session: Session, cluster_id: str, told: threading.Event) -> bool:
    """Until told to end; whether it ended because the work is over that the cluster was for."""
    outside = RealOutside(session, _log(session))
    metrics = Metrics()
    with _served(session, metrics):
        outside.start()
        sole = Sole(outside.head, _myself(session))
        try:
            sole.begin()
            session.bus.emit(EventKind.NOTICE, text=f"scaling {session.name}")
            scaler = Scaler(_seen(outside, metrics), cluster_id, process=(sole.me.pid, sole.me.started))
            return _Loop(session, outside, scaler, sole, metrics).run(told)
        finally:
            sole.end()
            outside.close()


def _take_down(session: Session, told: threading.Event) -> None:
    """Take the cluster down, by another process: on the head this one is the last of what ends. It is tried some times.

    Raises RayctlError where that cannot be done.
    """
    session.bus.emit(EventKind.NOTICE, text="the command is over that the cluster was for: it is taken down")
    lifetime.forget(session)
    down = [sys.executable, "-m", "rayctl", "down", "--yes", "-n", session.name, str(session.loaded.path)]
    for pause in TRY_AGAIN_S:
        if told.wait(pause):
            return
        child = subprocess.Popen(down, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
        while child.poll() is None:
            if told.wait(0.1):
                return  # it goes on
        if not child.returncode:
            return
    raise RayctlError(f"{session.name} could not be taken down.", hint=session.command("down"))


def _seen(outside: RealOutside, metrics: Metrics) -> Outside:
    """The outside as the scaler sees it."""
    counted: Any = Counted(outside, metrics)
    return seam(counted)


@dataclass
class _Loop:
    """Turn after turn. One that fails is told and counted, and the next one tries again, some times in a row."""

    session: Session
    outside: RealOutside
    scaler: Scaler
    sole: Sole
    metrics: Metrics
    _look_at: float = 0.0
    _failures: int = 0  # in a row

    def run(self, told: threading.Event) -> bool:
        """Until told to end, or until there is nothing to scale any more; whether because the cluster's work is over."""
        pause = 0.0
        while not told.wait(pause):
            if self.outside.cluster_is_gone():
                self.session.bus.emit(EventKind.NOTICE, text=f"{self.session.name} is no more")
                return False
            if self._work_is_over():
                return True
            self.sole.renew()
            pause = self._turn()
            self.session.bus.tick()
        return False

    def _turn(self) -> float:
        began = time.monotonic()
        try:
            pause = self.scaler.turn()
            self._failures = 0
        except (Refused, Busy, Interrupted):
            raise
        # such as a full disk: nothing is begun that could not be written down, and what is written is gone on with
        except Exception as problem:
            pause = self._failed(problem)
        self._count(time.monotonic() - began)
        return pause

    def _failed(self, problem: Exception) -> float:
        self._failures += 1
        self.metrics.update_loop_exceptions.inc()
        known = isinstance(problem, (RayctlError, OSError))
        if not known and self._failures > PATIENCE:
            raise problem
        text = problem if known else _described(problem)
        self.session.bus.emit(EventKind.ERROR, text=f"a turn failed, and is tried again: {text}")
        return min(LONGEST_S, 2.0**self._failures)

    def _work_is_over(self) -> bool:
        """Whether a command was to end the cluster, and is over."""
        if time.monotonic() < self._look_at:
            return False
        self._look_at = time.monotonic() + OVER_S
        try:
            return lifetime.is_over(self.session)
        except RayctlError:
            return False

    def _count(self, seconds: float) -> None:
        self.metrics.turn_seconds.observe(seconds)
        self.metrics.update_time.observe(seconds)
        self.metrics.turns_total.inc()
        self.metrics.last_turn_timestamp_seconds.set(time.time())


def _myself(session: Session) -> holder.Holder:
    controller = holder.controller_id(paths.controller_file(session.root))
    return holder.myself(f"rayctl scaler {session.name}", controller=controller)


@contextmanager
def _served(session: Session, metrics: Metrics) -> Iterator[None]:
    """Serve the metrics; where the port is taken, say so and go on."""
    keys = session.config.scaler
    try:
        served = Served(metrics, keys.metrics_host, keys.metrics_port)
    except RayctlError as problem:
        session.bus.emit(EventKind.WARNING, text=problem.message, hint=problem.hint)
        yield
        return
    with served:
        yield


def _log(session: Session) -> Path | None:
    """The file with the events of this run."""
    found = paths.runs_dir(session.root, session.name, session.operation).glob(f"*-{os.getpid()}.jsonl")
    return max(found, default=None)


def _described(problem: Exception) -> str:
    """One line: what it is, and where it came from."""
    *_, place = traceback.extract_tb(problem.__traceback__)
    said = " | ".join(str(problem).split("\n"))
    return f"{type(problem).__name__}: {said} ({place.filename}:{place.lineno})"


@contextmanager
def _only_one_here(session: Session) -> Iterator[None]:
    """Be the only scaler of this cluster on this controller. Raises `Busy`."""
    try:
        with lock.hold(scaler_lock(session.root, session.name), owner_text=f"rayctl scaler {session.name}", timeout_s=0):
            yield
    except Busy as busy:
        raise Busy(f"another scaler has {session.name}: {busy.message}", hint="There is one per cluster.") from None


@contextmanager
def _until_told() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # a program's; who runs it there ends it there
        yield told
        return
    before = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
