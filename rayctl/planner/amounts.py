# SPDX-License-Identifier: Apache-2.0
"""Amounts of resources as whole numbers of Ray's grain, 1e-4, so that adding them up is exact.

What a node has left may be reported a grain off. A report within one grain of a thousandth is held to be that thousandth,
and another one a grain more than it says; what is asked for is taken as it is.
"""

from __future__ import annotations

from collections.abc import Iterable

from rayctl.gcs.view import IMPLICIT_RESOURCE

GRAINS = 10_000
GRAIN = 1 / GRAINS
Vector = tuple[int, ...]
"""Amounts in the order of the dimensions."""

Need = tuple[tuple[int, int], ...]
"""What one request asks for: (dimension, amount), amounts above zero."""


def grains(amount: float) -> int:
    """An amount that is asked for."""
    return round(amount * GRAINS)


def settled(amount: float | None, missing: int) -> int:
    """An amount that was reported; `missing` where nothing was."""
    if amount is None:
        return missing
    whole = round(amount * GRAINS)
    off = (whole + 5) % 10 - 5
    return whole - off if -1 <= off <= 1 else whole + 1


def vector(amounts: Iterable[float | None], dimensions: Iterable[str]) -> Vector:
    """What a machine has of each dimension, from the amounts that were reported of each."""
    missing = [GRAINS if name.startswith(IMPLICIT_RESOURCE) else 0 for name in dimensions]
    return tuple(map(settled, amounts, missing))


def copies(free: Vector, need: Need) -> int:
    """How often a need fits into what is free; for a need of nothing a very large number."""
    most = 1 << 40
    for dimension, amount in need:
        fit = free[dimension] // amount
        if fit < most:
            if fit <= 0:
                return 0
            most = fit
    return most


def less(free: Vector, need: Need, times: int) -> Vector:
    """What is left when a need was met so many times."""
    left = list(free)
    for dimension, amount in need:
        left[dimension] -= amount * times
    return tuple(left)
