# SPDX-License-Identifier: Apache-2.0
"""Why a gang has no place: because it can never have one, or only not now.

"Never" is said on bounds that hold whatever the packing does: a bundle that nothing can hold, more nodes or more of a resource
than there can ever be. A gang that passes them and still has no place waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from rayctl.planner.answers import Obstacles
from rayctl.planner.fleet import Seen
from rayctl.planner.gangs import Bundles
from rayctl.planner.model import Answer, Status
from rayctl.planner.packing import Task


class Refusals:
    """Why gangs have no place; of equal gangs one is looked at."""

    def __init__(self, obstacles: Obstacles, task: Task) -> None:
        self.obstacles = obstacles
        self.task = task
        self._known: dict[object, Answer] = {}

    def answer(self, bundles: Bundles) -> Answer:
        """Whether the gang can ever have a place, and why not or not now."""
        key = bundles.gang.strategy, tuple((self.task.items[index], count) for index, count in bundles.items)
        if key not in self._known:
            self._known[key] = self._judged(bundles)
        return self._known[key]

    def _judged(self, bundles: Bundles) -> Answer:
        items = [self.task.items[index] for index, _ in bundles.items]
        for item in items:
            if not self.obstacles.ever(item):
                return Answer(1, never=1, why=self.obstacles.never(item))
        unknown = any(item.pinned for item in items) or any(not node_type.resources for node_type in self.obstacles.types)
        why = "" if unknown else self._too_many(bundles) or self._too_much(bundles)
        return Answer(1, never=1, why=why) if why else Answer(1, waiting=1, why=self.obstacles.now(items))

    def _too_many(self, bundles: Bundles) -> str:
        """Whether it wants more nodes than there can ever be that hold a bundle."""
        if bundles.gang.strategy != "STRICT_SPREAD":
            return ""
        items = [self.task.items[index] for index, _ in bundles.items]
        n = sum(count for _, count in bundles.items)
        if n <= self._hosts(lambda seen: self.obstacles.space.could_hold(seen, items), lambda _: 1):
            return ""
        most = self.obstacles.snapshot.policy.max_workers
        return f"it needs {n} nodes, and with max_workers {most} there are never so many that could hold a bundle"

    def _too_much(self, bundles: Bundles) -> str:
        """Whether it wants more of something than all nodes together can ever have."""
        dimensions = self.obstacles.space.dimensions
        wanted = [0] * len(dimensions)
        for index, count in bundles.items:
            for dimension, each in self.task.items[index].need:
                wanted[dimension] += each * count
        for dimension, total in enumerate(wanted):
            if total > self._hosts(lambda _: True, partial(_amount, dimension)):
                most = self.obstacles.snapshot.policy.max_workers
                return f"with max_workers {most} there is never so much {dimensions[dimension]} in all"
        return ""

    def _hosts(self, able: Callable[[Seen], bool], worth: Callable[[Seen], int]) -> int:
        """What all nodes that are able can ever be worth together, the best ones first; rather too much than too little."""
        obstacles, policy = self.obstacles, self.obstacles.snapshot.policy
        kinds = {kind.name: (kind.capacity, kind.fulfils) for kind in obstacles.kinds}
        others: Counter[Seen] = Counter()
        workers: Counter[Seen] = Counter()
        for node_type in obstacles.types:
            workers[kinds[node_type.name]] += node_type.max_workers
        for node in obstacles.snapshot.nodes:
            if node.status is Status.PENDING:
                continue
            seen = obstacles.space.seen(node, node.total)
            if not node.worker:
                others[seen] += 1
            elif seen != kinds.get(node.type):  # it is not as its type says
                workers[seen] += 1
        room = max(policy.max_workers, sum(node.worker for node in obstacles.snapshot.nodes))
        found = sum(worth(seen) * count for seen, count in others.items() if able(seen))
        for seen, count in sorted(workers.items(), key=lambda pair: -worth(pair[0])):
            taken = min(count, room) if able(seen) else 0
            found += worth(seen) * taken
            room -= taken
        return found


def _amount(dimension: int, seen: Seen) -> int:
    return seen[0][dimension]
