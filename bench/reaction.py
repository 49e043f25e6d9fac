# SPDX-License-Identifier: Apache-2.0
"""How soon something happens: from what is asked for to the launch call, from there to a node, and from idleness to its end.

rayctl's scaler and Ray's own autoscaler take turns, each with a cluster of its own on this machine, by the clock of this
machine.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles

from bench.report import Goal, table
from bench.scaling.scaled import WORK, WORKER, Scaled, alive_workers
from bench.scaling.sides import IDLE_S, ours, ours_on_hosts, theirs
from bench.scaling.stamps import SLOT

SEED = 1
PHASES_S = 6.0  # a little more than Ray's interval
TASK, MINIMUM, REQUEST, GROUP = (
    "a task is submitted > launch call", "`min_workers` is raised > launch call",
    "`request_resources()` is visible > launch call", "a placement group is visible > launch call",
)  # fmt: skip
NODE_TASK, IN_ALL, JOINED, GONE = (
    "a task for a real node is submitted > launch call", "a task for a real node is submitted > the node has joined",
    "launch call > the node has joined",
    f"the node's last task ends > it is gone ({IDLE_S:g} s are the idle time-out)",
)  # fmt: skip
TASK_S, VISIBLE_S, AS_RAY = 2.5, 1.0, 1.0  # goals


@dataclass
class Measured:
    """Seconds by what was measured, for each side one per round."""

    seconds: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def note(self, what: str, side: str, seconds: float) -> None:
        """One more."""
        self.seconds.setdefault(what, {}).setdefault(side, []).append(seconds)
        print(f"{what}, {side}: {seconds:.3f} s", file=sys.stderr, flush=True)

    def ratio(self, what: str) -> float:
        """How the first side compares with the second, in the median pair."""
        first, second = self.seconds[what].values()
        return median(a / b for a, b in zip(first, second, strict=True))

    def table(self) -> str:
        """A row for each figure: both sides, and how the pairs compare."""
        rows, names = [], list(next(iter(self.seconds.values())))
        for what, sides in self.seconds.items():
            first, second = (sides[name] for name in names)
            times = [f"{seconds:.2f} s" for found in (first, second) for seconds in _three(found)]
            rows.append([what, str(len(first)), *times, f"{self.ratio(what):.2f}"])
        heads = [f"{name}: {word}" for name in names for word in ("median", "95 of 100", "longest")]
        return table(["", "runs", *heads, "median pair ratio"], rows)


def _three(found: Sequence[float]) -> tuple[float, float, float]:
    return median(found), percentile_95(found), max(found)


def percentile_95(found: Sequence[float]) -> float:
    """What at most one in twenty is above, between the two nearest."""
    return quantiles(found, n=20, method="inclusive")[-1] if len(found) > 1 else found[0]


def reaction(rounds: int) -> str:
    """So many tasks, and a quarter as often each other kind of demand, and whole lives of a node."""
    few = max(1, rounds // 4)
    kinds = [(_task, rounds), (_minimum, few), (_request, few), (_group, few)]
    slots = [f"{SLOT}-{number}" for number in range(sum(count for _, count in kinds))]
    measured, phase = Measured(), _phases()
    with ours(slots) as scaler, theirs(slots) as autoscaler:
        left = iter(slots)
        for ask, count in kinds:
            for number in range(count):
                slot = next(left)
                _both(scaler, autoscaler, number, phase, partial(ask, slot=slot, measured=measured))
        for number in range(few):
            _both(scaler, autoscaler, number, phase, partial(_life, measured=measured))
    mine = {what: sides[scaler.name] for what, sides in measured.seconds.items()}
    slowest = max(max(mine[what]) for what in (MINIMUM, REQUEST, GROUP))
    goals = [
        Goal("from a task to the launch call in 2.5 s, 95 times of 100", percentile_95(mine[TASK]), TASK_S),
        Goal("from any other demand's being visible to the launch call in 1 s, at the slowest", slowest, VISIBLE_S),
        Goal(
            "from a task to its node's having joined not slower than Ray's, in the median pair", measured.ratio(IN_ALL), AS_RAY
        ),
    ]
    return "\n\n".join([measured.table(), *map(str, goals)])


def reaction_hosts(rounds: int) -> str:
    """Whole lives of nodes: hosts of the lab beside Ray's nodes on this machine."""
    measured, phase = Measured(), _phases()
    with ours_on_hosts(1) as scaler, theirs([]) as autoscaler:
        for number in range(rounds):
            _both(scaler, autoscaler, number, phase, partial(_life, measured=measured))
    return measured.table()


def _phases() -> Callable[[], float]:
    dice = random.Random(SEED)
    return lambda: dice.uniform(0.0, PHASES_S)


def _both(first: Scaled, second: Scaled, number: int, phase: Callable[[], float], run: Callable[[Scaled], None]) -> None:
    """One round: each side in turn, at a moment that none of them can know."""
    for side in (second, first) if number % 2 else (first, second):
        time.sleep(phase())
        run(side)


def _task(side: Scaled, *, slot: str, measured: Measured) -> None:
    since = side.driver.ask("task", slot)
    measured.note(TASK, side.name, side.launched(slot, since) - since)
    side.driver.ask("drop")


def _minimum(side: Scaled, *, slot: str, measured: Measured) -> None:
    since = side.set_minimum(slot, 1)
    measured.note(MINIMUM, side.name, side.launched(slot, since) - since)
    side.set_minimum(slot, 0)


def _request(side: Scaled, *, slot: str, measured: Measured) -> None:
    asked = side.driver.ask("request", slot)
    visible = side.until(lambda view: any(slot in demand.shape for demand in view.requested))
    measured.note(REQUEST, side.name, max(0.0, side.launched(slot, asked) - visible))
    side.driver.ask("request")


def _group(side: Scaled, *, slot: str, measured: Measured) -> None:
    asked = side.driver.ask("group", slot)
    visible = side.until(lambda view: any(slot in bundle.shape for gang in view.gangs for bundle in gang.bundles))
    measured.note(GROUP, side.name, max(0.0, side.launched(slot, asked) - visible))
    side.driver.ask("drop")
    side.until(lambda view: not view.gangs)


def _life(side: Scaled, *, measured: Measured) -> None:
    since = side.driver.ask("task", WORK)
    launched = side.launched(WORKER, since)
    joined = side.until(lambda view: alive_workers(view) > 0)
    ended = side.driver.ask("end")
    gone = side.until(lambda view: alive_workers(view) == 0)
    found = {NODE_TASK: launched - since, JOINED: joined - launched, IN_ALL: joined - since, GONE: gone - ended}
    for what, seconds in found.items():
        measured.note(what, side.name, seconds)
