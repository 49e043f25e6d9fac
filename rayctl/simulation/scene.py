# SPDX-License-Identifier: Apache-2.0
"""What a simulation needs beside the trace: the cluster file's types and limits, prices, and how slow the world is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf

from rayctl.config.model import ClusterConfig
from rayctl.config.provider import SimulatedProvider
from rayctl.errors import UsageError
from rayctl.planner import costs
from rayctl.planner.model import NodeType, Policy
from rayctl.planner.policy import policy
from rayctl.providers.simulated import Physics

INTERVAL_S = 5.0
SETUP_S = 30.0
BOOT_S = 60.0  # where the file does not say how slow machines are


@dataclass(frozen=True)
class Options:
    """What a command line says. `boot_s` and `seed` None: as the file says, where its provider is a simulated one."""

    interval_s: float = INTERVAL_S
    setup_s: float = SETUP_S
    boot_s: float | None = None
    until_s: float = inf
    seed: int | None = None


@dataclass(frozen=True)
class Scene:
    """A cluster and its surroundings before anything happens.

    `start`: how many machines of each type run from the beginning, the head among them. `prices` are per hour and type;
    those in `guessed` nobody knows, and they are made up from resources.
    """

    cluster: str
    policy: Policy
    head: NodeType
    physics: Physics
    start: Mapping[str, int]
    prices: Mapping[str, float]
    guessed: frozenset[str] = frozenset()
    interval_s: float = INTERVAL_S
    setup_s: float = SETUP_S
    until_s: float = inf
    seed: int = 0
    types: Mapping[str, NodeType] = field(init=False)

    def __post_init__(self) -> None:
        types = {node_type.name: node_type for node_type in (self.head, *self.policy.types)}
        object.__setattr__(self, "types", types)


def scene(config: ClusterConfig, options: Options) -> Scene:
    """The scene of a cluster file. Raises `UsageError` for worker types that do not say what they have."""
    block = config.provider if isinstance(config.provider, SimulatedProvider) else None
    known = dict(block.prices) if block else {}
    rules = policy(config, known)
    _require_resources(rules)
    own = config.available_node_types[config.head_type]
    price = known.get(config.head_type) if own.price is None else own.price
    head = NodeType(config.head_type, own.resources, 0, labels=own.labels, price=price)
    every = (head, *rules.types)
    return Scene(
        cluster=config.cluster_name,
        policy=rules,
        head=head,
        physics=_physics(block, options),
        start={head.name: 1, **{name: n for name, n in (block.nodes if block else {}).items() if name != head.name and n}},
        prices=costs.prices(every),
        guessed=frozenset(node_type.name for node_type in every if node_type.price is None),
        interval_s=options.interval_s,
        setup_s=options.setup_s,
        until_s=options.until_s,
        seed=(block.seed if block else 0) if options.seed is None else options.seed,
    )


def _physics(block: SimulatedProvider | None, options: Options) -> Physics:
    boot = BOOT_S if options.boot_s is None else options.boot_s
    if block is None:
        return Physics(boot_s=(boot, boot))
    return Physics(
        listing_lag_s=block.listing_lag_s,
        boot_s=block.boot_s if options.boot_s is None else (boot, boot),
        stop_s=block.stop_s,
        capacity=dict(block.capacity),
        prices=dict(block.prices),
    )


def _require_resources(rules: Policy) -> None:
    if silent := [node_type.name for node_type in rules.types if not node_type.resources]:
        raise UsageError(
            f"the cluster file does not say what a node of the type {silent[0]} has, and here is no machine to look at",
            hint=f"Give it resources: available_node_types: {{{silent[0]}: {{resources: {{CPU: 4}}}}}}",
        )
