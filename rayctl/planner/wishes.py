# SPDX-License-Identifier: Apache-2.0
"""Which types each demand wants its machines to be of, and in which order.

Labels come first: a fall-back is a fall-back. Then work without accelerators is kept off machines that have them, types
that recently failed come after those that did not, and a higher `priority` before a lower one. Between the types of one
tier the cost decides.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rayctl.planner.amounts import copies
from rayctl.planner.fleet import Fleet, Item
from rayctl.planner.model import Setback


class Wish(NamedTuple):
    """What an item wants of machines: groups of types, of which the first that can be had is taken.

    `rides` are the types whose leftovers it may use, `worth` is what the cheapest machine costs for one of it alone.
    """

    tiers: tuple[frozenset[int], ...] = ()
    rides: frozenset[int] = frozenset()
    worth: float = 0.0

    def depth(self, kind: int) -> int:
        """How many groups of types come before this one's."""
        return next((depth for depth, tier in enumerate(self.tiers) if kind in tier), len(self.tiers))


def wish(item: Item, fleet: Fleet, costs: Sequence[float], setbacks: Mapping[str, Setback]) -> Wish:
    """What one item wants; nothing when no type could ever hold it."""
    tiers: dict[tuple[int, bool, bool, int], set[int]] = defaultdict(set)
    shares = {}
    for number, node_type in enumerate(fleet.types):
        kind = fleet.kinds[number]
        level = item.depth(kind.fulfils)
        if item.pinned or level is None or not node_type.max_workers or not copies(kind.capacity, item.need):
            continue
        failed = setbacks.get(node_type.name)
        tiers[level, kind.accelerated and not item.device, failed is not None, -node_type.priority].add(number)
        share = max((amount / kind.capacity[dimension] for dimension, amount in item.need), default=0.0)
        shares[number] = costs[number] * share
    ordered = tuple(frozenset(tiers[key]) for key in sorted(tiers))
    return Wish(ordered, frozenset(shares), min(shares.values(), default=0.0))
