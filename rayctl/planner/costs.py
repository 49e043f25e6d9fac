# SPDX-License-Identifier: Apache-2.0
"""What a machine of each type costs per hour, its overhead included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import median

from rayctl.planner.model import NodeType, Policy

ACCELERATORS = ("GPU", "TPU", "HPU", "NPU", "neuron_cores", "RBLN")  # Ray's names of devices that are too dear for other work

# In the proportions of the clouds' price lists: a core, an accelerator, a GiB of memory, per hour.
_CORE, _DEVICE, _GIB = 0.034, 1.0, 0.0025
_LEAST = 1e-6


def accelerated(resources: Mapping[str, float]) -> bool:
    """Whether such a machine has accelerators, which work that needs none is kept off."""
    return any(resources.get(name, 0) > 0 for name in ACCELERATORS)


def prices(types: Iterable[NodeType]) -> dict[str, float]:
    """A price for each type: its own, else one by its resources at the rate of those that cost something."""
    types = list(types)
    rates = [node_type.price / by_resources(node_type.resources) for node_type in types if node_type.price]
    rate = median(rates) if rates else 1.0
    return {
        node_type.name: by_resources(node_type.resources) * rate if node_type.price is None else node_type.price
        for node_type in types
    }


def by_resources(resources: Mapping[str, float]) -> float:
    """What a machine with these resources is worth, when there is no price list: never nothing."""
    devices = sum(resources.get(name, 0) for name in ACCELERATORS)
    worth = _CORE * resources.get("CPU", 0) + _DEVICE * devices + _GIB * resources.get("memory", 0) / 2**30
    return worth or _CORE


def costs(policy: Policy) -> dict[str, float]:
    """Price and overhead of one machine more, by type; never nothing, so that fewer machines are always better."""
    return {name: max(price + policy.machine_overhead, _LEAST) for name, price in prices(policy.types).items()}
