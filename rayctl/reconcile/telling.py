# SPDX-License-Identifier: Apache-2.0
"""Says what is going on: to Ray's head, to drivers' terminals, to people; each thing when it is new, not each turn."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace

from rayctl.config.model import ClusterConfig
from rayctl.events import EventKind
from rayctl.gcs.autoscaler import Report
from rayctl.gcs.errors import GcsError
from rayctl.planner.model import Plan, Snapshot
from rayctl.reconcile import report
from rayctl.reconcile.books import Books
from rayctl.reconcile.breaker import Breaker
from rayctl.reconcile.lives import Lives
from rayctl.reconcile.seam import Outside
from rayctl.reconcile.told import ScalerStatus

AMOUNT = re.compile(r"\d+")
AGAIN_S = 5.0  # so often the same is said again: a head that was restarted has forgotten it


class Teller:
    """Tells. `turns` counts the scaler's turns."""

    def __init__(self, world: Outside, books: Books, process: tuple[int, int]) -> None:
        self._world, self._books, self._process = world, books, process
        self.turns = 0
        self._described: ClusterConfig | None = None
        self._learnt: Mapping[str, Mapping[str, float]] = {}
        self._told: Report | None = None
        self._told_at = self._published_at = 0.0
        self._published: ScalerStatus | None = None
        self._never: set[str] = set()
        self._waiting: set[str] = set()
        self._problem = ""

    def forget(self) -> None:
        """The head is another one, or what it was told of, or the time: all is to be told anew."""
        self._described = self._told = self._published = None

    def describe(self, config: ClusterConfig) -> None:
        """Tell the head which nodes there could be."""
        learnt = self._books.journal.learnt
        if self._described is config and self._learnt == learnt:
            return
        self._described, self._learnt = config, learnt
        try:
            self._world.describe(report.groups(config, learnt))
        except GcsError as problem:  # Ray before 2.44 does not know the call
            self._world.tell(EventKind.NOTICE, text=f"the head was not told which nodes there could be: {problem}")

    def report(self, lives: Lives, snapshot: Snapshot, plan: Plan, breaker: Breaker, *, now: float) -> None:
        """Tell all."""
        if self._problem:
            self._problem = ""
            self._world.tell(EventKind.NOTICE, text="the picture is whole again")
        never = report.infeasible(snapshot, plan)
        said = report.for_ray(lives, self._books.journal, [demand.shape for demand, _ in never])
        if said != self._told or now - self._told_at >= AGAIN_S:
            self._told, self._told_at = said, now
            try:
                self._world.report(said)
            except GcsError:
                self._told = None  # that it does not answer is told by whoever asks it next
        self._tell_never({_shape(demand.shape): why for demand, why in never})
        self._tell_waiting(report.reasons(plan))
        self._publish(lives, plan, never=[f"{_shape(demand.shape)}: {why}" for demand, why in never], breaker=breaker, now=now)

    def _tell_never(self, never: Mapping[str, str]) -> None:
        for shape, why in never.items():
            if shape not in self._never:
                self._world.tell(EventKind.WARNING, text=f"{shape} can never be: {why}")
                self._world.tell_drivers(
                    [
                        f"Error: No available node types can fulfill resource request {shape}. "
                        "Add suitable node types to this cluster to resolve this issue."
                    ]
                )
        self._never = set(never)

    def _tell_waiting(self, waiting: list[str]) -> None:
        lines = {AMOUNT.sub("", line.partition(" x ")[2] or line): line for line in waiting}  # how many, how long is no news
        for reason, line in lines.items():
            if reason not in self._waiting:
                self._world.tell(EventKind.NOTICE, text=f"waits: {line}")
        self._waiting = set(lines)

    def trouble(self, problem: str, now: float, lives: Lives, breaker: Breaker) -> None:
        """Tell why nothing is decided."""
        if problem != self._problem:
            self._world.tell(EventKind.WARNING, text=f"nothing is decided: {problem}")
        self._problem = problem
        self._publish(lives, None, never=(), breaker=breaker, now=now)

    def _publish(self, lives: Lives, plan: Plan | None, *, never: Iterable[str], breaker: Breaker, now: float) -> None:
        words = "open: none is ended for its health" if breaker.open else ""
        status = report.for_people(
            lives, self._books.journal, now=now, turn=self.turns, process=self._process, plan=plan, never=never,
            breaker=words, problem=self._problem,
        )  # fmt: skip
        if self._published is None or now - self._published_at >= AGAIN_S or _differ(status, self._published):
            self._published, self._published_at = status, now
            self._world.publish(status)


def _differ(status: ScalerStatus, before: ScalerStatus) -> bool:
    return replace(status, at=0.0, turn=0) != replace(before, at=0.0, turn=0)


def _shape(shape: Mapping[str, float]) -> str:
    """As Ray writes a request: {'CPU': 2.0}."""
    return str(dict(shape))
