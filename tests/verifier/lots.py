# SPDX-License-Identifier: Apache-2.0
"""Machines that are alike: how far they are, what they have, what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from rayctl.gcs.view import Demand
from rayctl.planner.model import NodeType, Snapshot, Status

from .demands import Amounts, Held, amounts, fits, likes, room, summed


class Stage(StrEnum):
    """How far a machine is, in the words of `Answer`."""

    HERE = "here"
    COMING = "coming"
    NEW = "new"


@dataclass(frozen=True)
class Lot:
    """Machines that are alike and hold alike. `total` and `available` are None where the size is not known."""

    name: str
    stage: Stage
    count: int
    labels: Mapping[str, str]
    total: Amounts | None
    available: Amounts | None
    held: Held = ()

    @cached_property
    def load(self) -> Amounts:
        return summed(self.held)

    @cached_property
    def free(self) -> Amounts | None:
        """What is left of what was available."""
        if self.available is None:
            return None
        names = self.available.keys() | self.load.keys()
        return {name: room(self.available, name) - self.load.get(name, 0) for name in names}

    def could_hold(self, demand: Demand) -> bool:
        """Whether one of the demand fits when the machine is empty."""
        return self.total is not None and likes(demand, self.labels) and fits(amounts(demand.shape), self.total)

    def has_room_for(self, demand: Demand) -> bool:
        """Whether one more of the demand fits."""
        return self.free is not None and likes(demand, self.labels) and fits(amounts(demand.shape), self.free)


def size_of_type(snapshot: Snapshot, types: Mapping[str, NodeType], name: str) -> Amounts | None:
    """What a machine of the type has: as the policy says, else the least of what its joined nodes have, None without any."""
    if name not in types:
        return None
    if types[name].resources:
        return amounts(types[name].resources)
    joined = (node for node in snapshot.nodes if node.type == name and node.status is not Status.PENDING)
    totals = [amounts(node.total) for node in joined]
    resources = {resource for total in totals for resource in total}
    return {resource: min(room(total, resource) for total in totals) for resource in resources} if totals else None
