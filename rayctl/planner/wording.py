# SPDX-License-Identifier: Apache-2.0
"""Demand and amounts in words, as people write them: `{CPU: 2, memory: 4 GiB} x 40`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rayctl.gcs.view import Demand, Gang, Selector

_BYTES = ("memory", "object_store_memory")


def amount(name: str, value: float) -> str:
    """One amount: memory in GiB, the rest as it is."""
    if name not in _BYTES:
        return f"{value:g}"
    return f"{value / 2**30:.4g} GiB" if value >= 2**27 else f"{value / 2**20:.4g} MiB"


def shape(resources: Mapping[str, float]) -> str:
    """Resources in braces."""
    return "{" + ", ".join(f"{name}: {amount(name, value)}" for name, value in resources.items()) + "}"


def selector(rules: Selector) -> str:
    """What labels must be."""
    return " and ".join(f"{r.key} {'not in' if r.negated else 'in'} ({', '.join(r.values)})" for r in rules) or "any node"


def demand(asked: Demand, count: int | None = None) -> str:
    """A demand, `count` of it."""
    n = asked.count if count is None else count
    where = f" on {', else '.join(map(selector, asked.selectors))}" if any(asked.selectors) else ""
    return f"{shape(asked.shape)}{f' x {n}' if n != 1 else ''}{where}"


def gang(asked: Gang) -> str:
    """A placement group."""
    return f"{asked.strategy} of {listed(map(demand, asked.bundles))}"


def listed(parts: Iterable[str], most: int = 4) -> str:
    """Some of them, and how many more there are."""
    all_of = list(parts)
    more = len(all_of) - most
    return ", ".join(all_of[:most]) + (f" and {more} more" if more > 0 else "")
