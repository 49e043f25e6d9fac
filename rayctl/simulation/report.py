# SPDX-License-Identifier: Apache-2.0
"""What came of a simulation, as data: a time series, totals, waits by kind of work, and what found no place."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from typing import Any

from rayctl.planner.model import Answer
from rayctl.simulation.machines import Machines, Tally
from rayctl.simulation.meter import Meter, Point
from rayctl.simulation.scaler import Turn
from rayctl.simulation.scene import Scene
from rayctl.simulation.work import Work
from rayctl.simulation.workload import Workload

VERSION = 1


class Ending(StrEnum):
    """Why a simulation is over."""

    DONE = "all work is done, and nothing more would happen"
    UNTIL = "the end that was asked for"
    STUCK = "what is left would wait for ever"


@dataclass(frozen=True)
class Waits:
    """How long work waited for its start, in seconds. `starts` counts them; work that lost its node starts again."""

    starts: int = 0
    p50: float = 0.0
    p95: float = 0.0
    longest: float = 0.0

    @classmethod
    def of(cls, counts: Mapping[float, int]) -> Waits:
        """From how often each wait was met."""
        starts = sum(counts.values())
        if not starts:
            return cls()
        return cls(starts, _quantile(counts, 0.5), _quantile(counts, 0.95), max(counts))


def _quantile(counts: Mapping[float, int], share: float) -> float:
    """The least wait that so large a share of all waits does not exceed."""
    below, rank = 0, math.ceil(share * sum(counts.values()))
    for wait in sorted(counts):
        below += counts[wait]
        if below >= rank:
            return wait
    return 0.0


@dataclass(frozen=True)
class Kind:
    """Equal work: how much came, and what became of it. `withdrawn`: a level fell before it had started."""

    title: str
    submitted: int
    done: int
    withdrawn: int
    running: int
    waiting: int
    waits: Waits


@dataclass(frozen=True)
class Left:
    """Work that waits at the end, and why, in the words of a last plan."""

    title: str
    count: int
    why: str


@dataclass(frozen=True)
class Totals:
    """The whole in numbers. `costs` and `machine_hours` are by type, from launch to gone; `utilisation` by resource."""

    seconds: float
    cost: float
    costs: Mapping[str, float]
    machine_hours: Mapping[str, float]
    most_nodes: int
    machines: Tally
    utilisation: Mapping[str, float]
    waits: Waits


@dataclass(frozen=True)
class Result:
    """What came of a trace on a cluster. `types` are all node types, the head's first; `skipped` events came too late."""

    cluster: str
    trace: str
    ending: Ending
    types: tuple[str, ...]
    head: str
    prices: Mapping[str, float]
    guessed: frozenset[str]
    interval_s: float
    setup_s: float
    boot_s: tuple[float, float]
    seed: int
    turns: int
    skipped: int
    points: tuple[Point, ...]
    totals: Totals
    kinds: tuple[Kind, ...]
    left: tuple[Left, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON knows it, with a version."""
        return {"version": VERSION, "kind": "rayctl-simulation", **_plain(self)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(own) for key, own in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    return round(value, 6) if isinstance(value, float) else value


@dataclass(frozen=True)
class Course:
    """How it went, apart from what the parts have counted themselves. `last`: what would be decided at the end."""

    trace: str
    seconds: float
    ending: Ending
    turns: int
    skipped: int
    last: Turn | None


def result(scene: Scene, course: Course, meter: Meter, workload: Workload, machines: Machines) -> Result:
    """All that was counted, put together."""
    works = list(workload.works.values())
    every = sum((work.waits for work in works), Counter[float]())
    return Result(
        cluster=scene.cluster,
        trace=course.trace,
        ending=course.ending,
        types=tuple(scene.types),
        head=scene.head.name,
        prices=scene.prices,
        guessed=scene.guessed,
        interval_s=scene.interval_s,
        setup_s=scene.setup_s,
        boot_s=scene.physics.boot_s,
        seed=scene.seed,
        turns=course.turns,
        skipped=course.skipped,
        points=tuple(meter.points),
        totals=Totals(
            seconds=course.seconds,
            cost=meter.cost,
            costs=dict(meter.costs),
            machine_hours=dict(meter.hours),
            most_nodes=meter.most_nodes,
            machines=machines.tally,
            utilisation={name: meter.used[name] / whole for name, whole in sorted(meter.provided.items()) if whole > 0},
            waits=Waits.of(every),
        ),
        kinds=tuple(_kind(work) for work in works),
        left=tuple(_left(works, course.last)),
    )


def _kind(work: Work) -> Kind:
    return Kind(work.title, work.submitted, work.done, work.withdrawn, work.running, work.waiting, Waits.of(work.waits))


def _left(works: Iterable[Work], last: Turn | None) -> Iterable[Left]:
    return [Left(work.title, work.waiting, _why(work, last)) for work in works if work.waiting]


def _why(work: Work, last: Turn | None) -> str:
    """What the plan says of it."""
    if last is None:
        return "the provider did not answer"
    snapshot, plan = last.snapshot, last.plan
    if work.strategy:
        gangs = zip(snapshot.gangs, plan.gangs, strict=True)
        answers = [answer for gang, answer in gangs if (gang.strategy, gang.bundles) == (work.strategy, work.demands)]
    else:
        asked = work.demands[0].shape, work.demands[0].selectors
        answers = [
            answer for one, answer in zip(snapshot.pending, plan.pending, strict=True) if (one.shape, one.selectors) == asked
        ]
    return _told(answers[0]) if answers else "nothing is known of it"


def _told(answer: Answer) -> str:
    if answer.why:
        return answer.why
    return (
        "machines for it were on their way" if answer.coming or answer.launched or answer.held_back else "it was about to start"
    )
