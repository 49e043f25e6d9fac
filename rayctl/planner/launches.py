# SPDX-License-Identifier: Apache-2.0
"""How many machines of each type are to be launched, for which cause, and how many more there may be."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rayctl.planner.model import Cause, Node, NodeType, Policy, Setback, Status

PENDING_ALWAYS = 5  # Ray: so many of a type may be pending however few run
_MANY = 1e12  # more than any speed can mean


@dataclass
class Launches:
    """What is decided so far. Lists are by type; `room` and `total` are what may still be added."""

    types: Sequence[NodeType]
    room: list[int]
    total: int
    counts: dict[Cause, list[int]] = field(default_factory=dict)

    @classmethod
    def within(cls, policy: Policy, nodes: Iterable[Node], setbacks: Mapping[str, Setback]) -> Launches:
        """None yet. Every machine that is there takes room until it is gone; a type that failed just now has none."""
        there = Counter(node.type for node in nodes if node.worker)
        blocked = {name for name, setback in setbacks.items() if setback.retry_in_s > 0}
        room = [0 if t.name in blocked else max(0, t.max_workers - there[t.name]) for t in policy.types]
        counts = {cause: [0] * len(room) for cause in Cause}
        return cls(policy.types, room, max(0, policy.max_workers - there.total()), counts)

    def add(self, kind: int, count: int, cause: Cause) -> None:
        """So many more of a type, or as many of them as there may be."""
        count = max(0, min(count, self.room[kind], self.total))
        self.counts[cause][kind] += count
        self.room[kind] -= count
        self.total -= count

    def add_all(self, counts: Sequence[int], cause: Cause) -> None:
        """So many more of each type."""
        for kind, count in enumerate(counts):
            self.add(kind, count, cause)

    def of(self, kind: int) -> int:
        """How many of a type for all causes."""
        return sum(counts[kind] for counts in self.counts.values())

    def minimums(self, staying: Iterable[Node], replacements: Mapping[str, int]) -> None:
        """What each type lacks of its minimum, all of it at once, and what has to come before outdated nodes go."""
        there = Counter(node.type for node in staying if node.worker and node.status is not Status.DRAINING)
        for kind, node_type in enumerate(self.types):
            self.add(kind, node_type.min_workers - there[node_type.name], Cause.MINIMUM)
        for kind, node_type in enumerate(self.types):
            self.add(kind, replacements.get(node_type.name, 0), Cause.REPLACEMENT)

    def held_back(self, speed: float, nodes: Iterable[Node]) -> list[int]:
        """How many of each type have to wait for those that are pending.

        Ray's rule (v1, the documented one): per type at most `speed` times the running ones may be pending, or five where
        that is more; only what is launched for queued work is held back.
        """
        pending = Counter(node.type for node in nodes if node.worker and node.status is Status.PENDING)
        running = Counter(node.type for node in nodes if node.worker and node.status in (Status.RUNNING, Status.IDLE))
        held = []
        for kind, node_type in enumerate(self.types):
            allowed = max(PENDING_ALWAYS, math.ceil(min(speed * max(1, running[node_type.name]), _MANY)))
            for_work = self.counts[Cause.DEMAND][kind]
            exempt = self.of(kind) - for_work
            now = max(0, allowed - pending[node_type.name] - exempt)
            held.append(max(0, for_work - now))
        return held
