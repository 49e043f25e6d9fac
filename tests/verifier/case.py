# SPDX-License-Identifier: Apache-2.0
"""What the rules look at: a snapshot, a plan for it, and what follows from both by counting."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, cached_property, partial

from rayctl.gcs.view import Demand, Gang
from rayctl.planner.model import Answer, Launch, Node, Placement, Plan, Snapshot, Status, Why

from .demands import Held, amounts
from .lots import Lot, Stage, size_of_type

GROUP_LABEL = "ray.io/node-group"

Found = Iterator[str]


class Case:
    """A snapshot, a plan for it, and what follows from both by counting."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self.snapshot = snapshot
        self.plan = plan
        self.policy = snapshot.policy
        self.nodes = {node.id: node for node in snapshot.nodes}
        self.types = {kind.name: kind for kind in snapshot.policy.types}
        self.workers = [node for node in snapshot.nodes if node.worker]
        self.alive = Counter(node.type for node in self.workers)
        self.removed = {removal.node: removal for removal in plan.removals}
        self.launched = launched_by_type(plan.launches)
        self.size = cache(partial(size_of_type, snapshot, self.types))

    @cached_property
    def bundles(self) -> dict[str, list[Demand]]:
        """The bundles of all gangs by where they are put."""
        found: dict[str, list[Demand]] = defaultdict(list)
        for gang, places in zip(self.snapshot.gangs, self.plan.places, strict=False):
            for bundle, place in zip(expanded(gang), places or (), strict=False):
                found[place].append(bundle)
        return found

    @cached_property
    def new_bundles(self) -> dict[str, dict[int, list[Demand]]]:
        """The bundles put on new machines, by type and number."""
        found: dict[str, dict[int, list[Demand]]] = defaultdict(dict)
        for place, bundles in self.bundles.items():
            named = None if place in self.nodes else new_machine(place)
            if named is not None:
                found[named[0]][named[1]] = bundles
        return found

    @cached_property
    def new_placements(self) -> dict[str, list[Placement]]:
        """The placements on new machines by type, in the order of their numbers."""
        found: dict[str, list[Placement]] = defaultdict(list)
        for placement in sorted(self.plan.placements, key=lambda one: one.first):
            if not placement.nodes:
                found[placement.type].append(placement)
        return found

    @cached_property
    def new(self) -> Counter[str]:
        """How many new machines the plan speaks of by type: those it launches and those it holds back."""
        found = Counter(self.launched)
        for name, placements in self.new_placements.items():
            found[name] = max(found[name], *(one.first + one.machines for one in placements))
        for name, numbers in self.new_bundles.items():
            found[name] = max(found[name], max(numbers) + 1)
        return found

    @cached_property
    def existing(self) -> list[Lot]:
        """The nodes that take work and stay, with what the plan puts there."""
        held = self._held_by_nodes()
        staying = (node for node in self.snapshot.nodes if node.status is not Status.DRAINING and node.id not in self.removed)
        return [self.lot(node, tuple(held.get(node.id, ()))) for node in staying]

    @cached_property
    def given_up(self) -> list[Lot]:
        """The nodes that the plan removes for nothing but their idleness."""
        idle = (removal.node for removal in self.plan.removals if removal.why is Why.IDLE and removal.node in self.nodes)
        return [self.lot(self.nodes[node]) for node in idle]

    @cached_property
    def coming_up(self) -> list[Lot]:
        """The new machines, launched or held back, with what the plan puts there."""
        return [lot for name in self.new for lot in new_lots(self, name) if lot.count > 0]

    @cached_property
    def machines(self) -> list[Lot]:
        return self.existing + self.coming_up

    @cached_property
    def with_room(self) -> list[Lot]:
        """One lot of each kind of rest that machines have."""
        distinct = {(frozenset((lot.free or {}).items()), frozenset(lot.labels.items())): lot for lot in self.machines}
        return list(distinct.values())

    @property
    def answers(self) -> tuple[Answer, ...]:
        return self.plan.pending + self.plan.gangs + self.plan.requested

    def staying(self, name: str) -> int:
        """How many workers of a type are left when those are gone that drain or are removed."""
        of_type = (node for node in self.workers if node.type == name)
        return sum(node.status is not Status.DRAINING and node.id not in self.removed for node in of_type)

    def lot(self, node: Node, held: Held = ()) -> Lot:
        """One node; a pending one will be as its type says."""
        if node.status is Status.PENDING:
            return self.lot_of_type(node.type, 1, node.id, Stage.COMING, held)
        labels = {GROUP_LABEL: node.type, **node.labels}
        return Lot(node.id, Stage.HERE, 1, labels, amounts(node.total), amounts(node.available), held)

    def lot_of_type(self, name: str, count: int, title: str = "", stage: Stage = Stage.NEW, held: Held = ()) -> Lot:
        """Machines as their type says they are."""
        labels = self.types[name].labels if name in self.types else {}
        size = self.size(name)
        return Lot(title or f"a new {name}", stage, count, {**labels, GROUP_LABEL: name}, size, size, held)

    def held(self, placement: Placement) -> Held:
        """What each machine of the placement holds of demand that exists."""
        pending = self.snapshot.pending
        return tuple((pending[index], count) for index, count in placement.holds if 0 <= index < len(pending) and count > 0)

    def _held_by_nodes(self) -> dict[str, list[tuple[Demand, int]]]:
        found: dict[str, list[tuple[Demand, int]]] = defaultdict(list)
        for placement in self.plan.placements:
            held = self.held(placement)
            for node in placement.nodes:
                found[node].extend(held)
        for place, bundles in self.bundles.items():
            found[place].extend((bundle, 1) for bundle in bundles)
        return found


def launched_by_type(launches: Iterable[Launch]) -> Counter[str]:
    found: Counter[str] = Counter()
    for launch in launches:
        found[launch.type] += launch.count
    return found


def expanded(gang: Gang) -> list[Demand]:
    """The gang's bundles one by one."""
    return [bundle for bundle in gang.bundles for _ in range(bundle.count)]


def new_machine(place: str) -> tuple[str, int] | None:
    """Type and number in `new:<type>:<n>`."""
    kind, _, rest = place.partition(":")
    name, _, number = rest.rpartition(":")
    return (name, int(number)) if kind == "new" and name and number.isdecimal() else None


def new_lots(case: Case, name: str) -> Iterator[Lot]:
    """The new machines of a type: a lot per placement, per machine with bundles, and one of those that hold nothing."""
    bundles = case.new_bundles.get(name, {})
    left = dict.fromkeys(sorted(bundles))
    numbers = list(left)
    covered = 0
    for placement in case.new_placements.get(name, ()):
        first, end = placement.first, placement.first + placement.machines
        inside = numbers[bisect_left(numbers, first) : bisect_left(numbers, end)]
        held = case.held(placement)
        yield case.lot_of_type(name, placement.machines - len(inside), f"new:{name}:{first}..{end - 1}", held=held)
        yield from (_lot_with_bundles(case, name, number, held) for number in inside)
        left = {number: None for number in left if not first <= number < end}
        covered += placement.machines
    yield from (_lot_with_bundles(case, name, number) for number in left)
    yield case.lot_of_type(name, case.new[name] - covered - len(left))


def _lot_with_bundles(case: Case, name: str, number: int, held: Held = ()) -> Lot:
    bundles = tuple((bundle, 1) for bundle in case.new_bundles[name][number])
    return case.lot_of_type(name, 1, f"new:{name}:{number}", held=held + bundles)


def stage_of(case: Case, place: str) -> Stage:
    if place not in case.nodes:
        return Stage.NEW if new_machine(place) else Stage.HERE
    return Stage.COMING if case.nodes[place].status is Status.PENDING else Stage.HERE
