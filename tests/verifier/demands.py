# SPDX-License-Identifier: Apache-2.0
"""What demand asks of a machine: amounts, in whole ten-thousandths, and labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from rayctl.gcs.view import Demand, LabelRule, Selector

SCALE = 10_000
SLACK = 1
IMPLICIT_RESOURCE = "node:__internal_implicit_resource_"  # 1.0 of each is on every node

Amounts = dict[str, int]
Held = tuple[tuple[Demand, int], ...]


def units(amount: float) -> int:
    """The amount in ten-thousandths; exact for any number of bytes, which a product of floats is not."""
    whole = int(amount)
    return whole * SCALE + round((amount - whole) * SCALE)


def amounts(resources: Mapping[str, float]) -> Amounts:
    return {name: units(amount) for name, amount in resources.items()}


def room(capacity: Amounts, name: str) -> int:
    """How much of a resource there is."""
    return capacity.get(name, SCALE if name.startswith(IMPLICIT_RESOURCE) else 0)


def fits(need: Amounts, capacity: Amounts) -> bool:
    return all(amount <= 0 or amount <= room(capacity, name) for name, amount in need.items())


def times(need: Amounts, capacity: Amounts, anyway: int) -> int:
    """How often the need fits at most; `anyway` if nothing is needed."""
    often = (max(0, room(capacity, name) + SLACK) // amount for name, amount in need.items() if amount > 0)
    return min(often, default=anyway)


def summed(held: Iterable[tuple[Demand, int]]) -> Amounts:
    load: Amounts = defaultdict(int)
    for demand, count in held:
        for name, amount in amounts(demand.shape).items():
            load[name] += amount * count
    return load


def obeys(rule: LabelRule, labels: Mapping[str, str]) -> bool:
    return (labels.get(rule.key) in rule.values) is not rule.negated


def accepts(selector: Selector, labels: Mapping[str, str]) -> bool:
    return all(obeys(rule, labels) for rule in selector)


def likes(demand: Demand, labels: Mapping[str, str]) -> bool:
    """Whether one of the demand's selectors takes a node with these labels."""
    return not demand.selectors or any(accepts(selector, labels) for selector in demand.selectors)


def amount_of(units: int) -> str:
    return f"{units / SCALE:.15g}"


def shown(resources: Mapping[str, float]) -> str:
    return "{" + ", ".join(f"{name}: {amount:.15g}" for name, amount in resources.items()) + "}"
