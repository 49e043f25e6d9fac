# SPDX-License-Identifier: Apache-2.0
"""From groups back to nodes: which node holds what. Of alike nodes the busy ones are filled first, the longest idle last."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rayctl.planner.fleet import Bin, Fleet
from rayctl.planner.model import Node, Placement, Status


@dataclass
class Seating:
    """Who holds what. `needed` are the ids of nodes that hold anything; `places` has each item's nodes, if it is a bundle."""

    placements: list[Placement] = field(default_factory=list)
    places: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    needed: set[str] = field(default_factory=set)


def seating(bins: Iterable[Bin], fleet: Fleet, plain: int) -> Seating:
    """The bins' contents on nodes. Items below `plain` are queued work, the others bundles of gangs."""
    by_source: dict[int, list[Bin]] = defaultdict(list)
    for bin in bins:
        if bin.holds:
            by_source[bin.source].append(bin)
    found = Seating()
    for source, alike in sorted(by_source.items()):
        nodes = sorted(fleet.sources[source] if source >= 0 else fleet.unused[~source], key=_rank)
        # bundles take the first new machines, for those are never held back
        alike.sort(key=lambda bin: all(index < plain for index, _ in bin.holds))
        _seat(found, alike, nodes, plain, fleet)
    return found


def _rank(node: Node) -> tuple[bool, bool, float, str]:
    return node.status is Status.PENDING, node.status is Status.IDLE, node.idle_s, node.id


def _seat(found: Seating, bins: Sequence[Bin], nodes: Sequence[Node], plain: int, fleet: Fleet) -> None:
    taken = 0
    for bin in bins:
        old = nodes[taken : taken + bin.machines]
        first = max(0, taken - len(nodes))
        new = bin.machines - len(old)
        taken += bin.machines
        name = fleet.kinds[bin.kind].name
        ids = tuple(node.id for node in old)
        found.needed.update(ids)
        holds: Counter[int] = Counter()
        for index, each in bin.holds:
            holds[index] += each
            if index >= plain:
                machines = (*ids, *(f"new:{name}:{first + n}" for n in range(new)))
                found.places[index] += [machine for machine in machines for _ in range(each)]
        work = tuple((index, each) for index, each in holds.items() if index < plain)
        if work and ids:
            found.placements.append(Placement(name, len(ids), work, ids))
        if work and new:
            found.placements.append(Placement(name, new, work, first=first))
