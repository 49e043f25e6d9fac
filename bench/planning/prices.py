# SPDX-License-Identifier: Apache-2.0
"""What the machines of a plan cost per hour: the same measure for every planner and for the bound."""

from __future__ import annotations

from collections.abc import Mapping

from bench.planning.scenario import MACHINE_OVERHEAD, NODE_TYPES


def price(launch: Mapping[str, int]) -> float:
    """Of the machines alone."""
    return sum(NODE_TYPES[kind]["price"] * count for kind, count in launch.items())


def objective(launch: Mapping[str, int]) -> float:
    """Of the machines, and of having one more of them to look after."""
    return price(launch) + MACHINE_OVERHEAD * sum(launch.values())
