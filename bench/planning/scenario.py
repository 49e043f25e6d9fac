# SPDX-License-Identifier: Apache-2.0
"""A cluster and what it is asked for, generated: plain data, the same for the same arguments.

Resource amounts are in Ray's units (cores, devices, bytes). Prices are invented, in the proportions of common clouds.
"""

from __future__ import annotations

import random
from typing import TypedDict

Amounts = dict[str, float]


class TypeSpec(TypedDict):
    """A kind of machine that can be launched, and its price per hour."""

    resources: Amounts
    price: float
    labels: dict[str, str]
    min: int
    max: int


class NodeSpec(TypedDict):
    """One node and what is free on it."""

    id: str
    type: str
    total: Amounts
    avail: Amounts
    idle_ms: int
    head: bool


class DemandSpec(TypedDict):
    """So many equal requests."""

    shape: Amounts
    count: int
    selector: None


class GangSpec(TypedDict):
    """One placement group that waits for its place."""

    strategy: str
    bundles: list[Amounts]


class Scenario(TypedDict):
    """All that a planner needs to know. `params` are the arguments it was generated from."""

    node_types: dict[str, TypeSpec]
    nodes: list[NodeSpec]
    demands: list[DemandSpec]
    gangs: list[GangSpec]
    constraints: list[DemandSpec]
    max_workers: int
    upscaling_speed: float
    idle_timeout_s: float | None
    machine_overhead: float
    params: dict[str, float]


GIB = 1 << 30
HEAD_MARK = "node:__internal_head__"
HEAD_TYPE = "cpu4"
UNLIMITED = 10**6
MACHINE_OVERHEAD = 0.02
IDLE_MS = 600_000
USUAL_FREE = 0.2
PRESENT = ("cpu4", "cpu16", "cpu64", "gpu1")
FREE_SHARES = (0.1, 0.25, 0.5, 1.0)
STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
BUNDLES = (2, 4, 8)


def _type(price: float, cpus: int, memory_gib: int, gpus: int = 0) -> TypeSpec:
    resources: Amounts = {"CPU": cpus, "memory": memory_gib * GIB}
    if gpus:
        resources["GPU"] = gpus
    return TypeSpec(resources=resources, price=price, labels={}, min=0, max=UNLIMITED)


NODE_TYPES = {
    "cpu4": _type(0.17, 4, 14),
    "cpu16": _type(0.68, 16, 58),
    "cpu64": _type(2.72, 64, 240),
    "mem16": _type(1.01, 16, 118),
    "gpu1": _type(1.20, 8, 58, 1),
    "gpu8": _type(12.2, 96, 700, 8),
}
SHAPES: tuple[Amounts, ...] = (
    {"CPU": 1}, {"CPU": 2, "memory": 4 * GIB}, {"CPU": 4}, {"CPU": 1, "GPU": 1}, {"CPU": 1, "memory": 8 * GIB},
    {"CPU": 0.5}, {"CPU": 8, "memory": 16 * GIB}, {"CPU": 2, "GPU": 0.5}, {"CPU": 3, "memory": 2 * GIB}, {"CPU": 12, "GPU": 2},
)  # fmt: skip


def scenario(
    nodes: int, shapes: int, demands: int, gangs: int = 0, *, free: float = USUAL_FREE, seed: int = 1, jitter: int = 0
) -> Scenario:
    """A share `free` of the nodes has room; with `jitter`, no two nodes are alike.

    Whoever changes the order in which the dice are thrown makes other scenarios.
    """
    dice = random.Random(seed)
    return Scenario(
        node_types=NODE_TYPES,
        nodes=[_head(), *(_worker(number, free, bool(jitter), dice) for number in range(nodes - 1))],
        demands=_demands(shapes, demands, dice),
        gangs=[_gang(dice) for _ in range(gangs)],
        constraints=[],
        max_workers=UNLIMITED,
        upscaling_speed=1e9,
        idle_timeout_s=None,
        machine_overhead=MACHINE_OVERHEAD,
        params={
            "nodes": nodes, "shapes": shapes, "demands": demands, "gangs": gangs, "free": free, "seed": seed, "jitter": jitter,
        },
    )  # fmt: skip


def _head() -> NodeSpec:
    total = {**NODE_TYPES[HEAD_TYPE]["resources"], HEAD_MARK: 1}
    return NodeSpec(id="head", type=HEAD_TYPE, total=total, avail={**total, "CPU": 0, "memory": 10 * GIB}, idle_ms=0, head=True)


def _worker(number: int, free: float, jitter: bool, dice: random.Random) -> NodeSpec:
    kind = dice.choice(PRESENT)
    total = dict(NODE_TYPES[kind]["resources"])
    available = _available(total, free, dice)
    if jitter:
        available["memory"] = int(available["memory"] * dice.random())
    idle_ms = IDLE_MS if available == total else 0
    return NodeSpec(id=f"i-{number:05d}", type=kind, total=total, avail=available, idle_ms=idle_ms, head=False)


def _available(total: Amounts, free: float, dice: random.Random) -> Amounts:
    """What is left on a node: a share of everything, or a tenth of the memory and nothing else."""
    if dice.random() >= free:
        return {name: int(amount * 0.1) if name == "memory" else 0 for name, amount in total.items()}
    share = dice.choice(FREE_SHARES)
    return {name: round(amount * share, 1) if name == "CPU" else int(amount * share) for name, amount in total.items()}


def _demands(shapes: int, demands: int, dice: random.Random) -> list[DemandSpec]:
    """Counts in random proportions that add up. Shapes beyond the known ones repeat them with memory of their own."""
    weights = [dice.random() + 0.2 for _ in range(shapes)]
    whole = sum(weights)
    counts = [int(demands * weight / whole) for weight in weights[:-1]]
    counts.append(demands - sum(counts))
    return [DemandSpec(shape=_shape(number, dice), count=count, selector=None) for number, count in enumerate(counts)]


def _shape(number: int, dice: random.Random) -> Amounts:
    shape = dict(SHAPES[number % len(SHAPES)])
    if number >= len(SHAPES):
        shape["memory"] = int(dice.uniform(0.1, 12) * GIB)
    return shape


def _gang(dice: random.Random) -> GangSpec:
    strategy = dice.choice(STRATEGIES)
    return GangSpec(strategy=strategy, bundles=[{"CPU": 2} for _ in range(dice.choice(BUNDLES))])
