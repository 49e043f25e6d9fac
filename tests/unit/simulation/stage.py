# SPDX-License-Identifier: Apache-2.0
"""Small scenes for simulations, with every plan checked."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import verifier

from rayctl.config.load import parse
from rayctl.gcs.view import Demand
from rayctl.planner.model import Plan
from rayctl.simulation.engine import Simulation
from rayctl.simulation.events import Event, Group, Load, Submit, Trace
from rayctl.simulation.report import Result
from rayctl.simulation.scaler import Turn
from rayctl.simulation.scene import Options, scene

CPU = {"CPU": 1.0}
GPU = {"GPU": 1.0}
ONE_TYPE = """
  head: {resources: {CPU: 0}, price: 0.36}
  cpu: {resources: {CPU: 4}, price: 3.6}
"""
TWO_TYPES = ONE_TYPE + "  gpu: {resources: {CPU: 4, GPU: 1}, price: 7.2}\n"


def file(types: str = ONE_TYPE, provider: str = "boot_s: [40, 40]", more: str = "") -> str:
    """A cluster file: no worker at least, eight at most, gone when idle for a minute."""
    return f"""\
cluster_name: demo
provider: {{type: simulated, {provider}}}
max_workers: 8
idle_timeout_minutes: 1
available_node_types:{types}{more}
"""


def tasks(
    count: int = 1, at: float = 0.0, runs_s: tuple[float, float] = (100.0, 100.0), shape: dict[str, float] = CPU
) -> Submit:
    return Submit(at, Demand(shape, count), runs_s)


def group(strategy: str, count: int, at: float = 0.0, runs_s: float = 100.0, shape: dict[str, float] = CPU) -> Group:
    return Group(at, strategy, (Demand(shape, count),), (runs_s, runs_s))


def load(at: float, count: int) -> Load:
    return Load(at, (Demand(CPU, count),) if count else ())


class Play(Simulation):
    """A simulation that keeps its turns; `then` is called at each, and may do harm to the world."""

    def __init__(self, text: str, *events: Event, then: Callable[[Play, Turn], None] = lambda *_: None, **options: Any) -> None:
        self.kept: list[Turn] = []
        self.then = then
        ordered = tuple(sorted(events, key=lambda event: event.at))
        super().__init__(scene(parse(text, "c.yaml").config, Options(**{"setup_s": 20.0, "until_s": inf, **options})),
                         Trace("trace.jsonl", ordered), self._keep)  # fmt: skip

    def _keep(self, turn: Turn) -> None:
        verifier.check(turn.snapshot, turn.plan)
        self.kept.append(turn)
        self.then(self, turn)

    @property
    def acts(self) -> dict[float, Plan]:
        """The plans that did something, by time."""
        return {turn.at: turn.plan for turn in self.kept if turn.plan}

    def launched(self) -> dict[float, dict[str, int]]:
        return {at: {one.type: one.count for one in plan.launches} for at, plan in self.acts.items() if plan.launches}

    def removed(self) -> dict[float, list[str]]:
        return {at: [one.node for one in plan.removals] for at, plan in self.acts.items() if plan.removals}


def played(text: str, *events: Event, **options: Any) -> tuple[Play, Result]:
    """A simulation from its beginning to its end, and what came of it."""
    play = Play(text, *events, **options)
    return play, play.run()
