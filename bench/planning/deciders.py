# SPDX-License-Identifier: Apache-2.0
"""What a planner is asked here, and what is kept of its answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, TypedDict

from bench.planning.scenario import Scenario

OURS, RAY_V1, RAY_V2 = "rayctl", "ray_v1", "ray_v2"
RAYS = (RAY_V1, RAY_V2)
MODULES = {OURS: "bench.planning.ours", RAY_V1: "bench.planning.ray_v1", RAY_V2: "bench.planning.ray_v2"}


class Place(TypedDict):
    """Machines that hold alike: one node, or `machines` new ones that are numbered from `first` within their type.

    `holds` are pairs: the index of a demand, and how many of it each machine holds.
    """

    node: str | None
    type: str
    machines: int
    first: int | None
    holds: list[list[int]]


@dataclass(frozen=True)
class Decision:
    """What a planner decided. Ray's do not tell where things go, so `placement` and `gangs` are ours alone.

    `unplaced` are requests, `unplaced_bundles` are those of the `unplaced_gangs`. Ray's first autoscaler does not tell the
    bundles without a place from the requests: there, `unplaced` counts both.
    """

    launch: dict[str, int]
    unplaced: int
    unplaced_gangs: int = 0
    unplaced_bundles: int = 0
    ended: int = 0
    placement: list[Place] = field(default_factory=list)
    gangs: list[list[str] | None] = field(default_factory=list)

    @property
    def left_over(self) -> int:
        """All that has no place."""
        return self.unplaced + self.unplaced_bundles


def nothing_wrong(_: Any) -> list[str]:
    """What can be said against an answer that does not tell where things go."""
    return []


@dataclass(frozen=True)
class Question:
    """A planner with its input objects in hand. `ask` is what is timed; `read` and `check` are for its answer."""

    ask: Callable[[], Any]
    read: Callable[[Any], Decision]
    check: Callable[[Any], list[str]] = nothing_wrong


def prepare(decider: str, scenario: Scenario) -> Question:
    """Only the planner that is asked gets loaded."""
    question: Question = import_module(MODULES[decider]).prepare(scenario)
    return question
