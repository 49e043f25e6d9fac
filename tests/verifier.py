# SPDX-License-Identifier: Apache-2.0
"""Whether a plan is right: a second opinion on the planner that shares nothing with it but the data model.

Everything is counted again from the snapshot, in whole ten-thousandths of a resource, the unit Ray counts in. One of them
may be missing per resource and machine, for the planner holds amounts that are closer than that equal. Where a machine's
size is not known yet (a type whose resources are learnt from its first node), nothing is said of what it holds.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property, partial

from rayctl.gcs.view import Demand, Gang, LabelRule, Selector
from rayctl.planner.model import (
    Answer,
    Cause,
    How,
    Launch,
    Node,
    NodeType,
    Placement,
    Plan,
    Removal,
    Snapshot,
    Status,
    Why,
)

SCALE = 10_000
SLACK = 1
IMPLICIT_RESOURCE = "node:__internal_implicit_resource_"  # 1.0 of each is on every node
GROUP_LABEL = "ray.io/node-group"
LEAST_UPSCALING = 5
OUTDATED_ONE_IN = 10
SPARING = frozenset({Why.IDLE, Why.TYPE_MAXIMUM, Why.MAXIMUM})  # reasons that give way to min_workers

Amounts = dict[str, int]
Held = tuple[tuple[Demand, int], ...]
Found = Iterator[str]


class Stage(StrEnum):
    """How far a machine is, in the words of `Answer`."""

    HERE = "here"
    COMING = "coming"
    NEW = "new"


def check(snapshot: Snapshot, plan: Plan) -> None:
    """Fail with all that is wrong with the plan."""
    found = violations(snapshot, plan)
    if found:
        raise AssertionError("\n".join(found))


def violations(snapshot: Snapshot, plan: Plan) -> list[str]:
    """All that is wrong with the plan, in sentences; nothing if it is fine."""
    case = Case(snapshot, plan)
    return [sentence for find in CHECKS for sentence in find(case)]


# ---- amounts, labels


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


# ---- machines


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


# ---- placements


def placements_name_machines(case: Case) -> Found:
    """Every node takes work and is named once."""
    named = Counter(node for placement in case.plan.placements for node in placement.nodes)
    for node, count in named.items():
        yield from (f"a placement is on {node}, which {why}" for why in unusable(case, node))
        if count > 1:
            yield f"{node} is in {count} placements"
    for placement in case.plan.placements:
        others = [node for node in placement.nodes if node in case.nodes and case.nodes[node].type != placement.type]
        yield from (f"{node} is not a {placement.type}, as its placement says" for node in others)


def unusable(case: Case, node: str) -> Found:
    """Why nothing can be put on a node."""
    if node not in case.nodes:
        yield "does not exist"
        return
    if case.nodes[node].status is Status.DRAINING:
        yield "is draining"
    if node in case.removed:
        yield "is removed by this plan"


def placements_count_machines(case: Case) -> Found:
    """The numbers of a placement make sense by themselves."""
    for number, placement in enumerate(case.plan.placements):
        if placement.nodes and placement.machines != len(placement.nodes):
            yield f"placement {number} counts {placement.machines} machines and names {len(placement.nodes)}"
        if placement.machines < 1:
            yield f"placement {number} is on {placement.machines} machines"
        yield from (f"placement {number} {fault}" for fault in faults_of_holds(placement, len(case.snapshot.pending)))


def faults_of_holds(placement: Placement, demands: int) -> Found:
    if not placement.holds:
        yield "holds nothing"
    indices = Counter(index for index, _ in placement.holds)
    yield from (f"lists demand {index} {count} times" for index, count in indices.items() if count > 1)
    yield from (f"holds demand {index}, which does not exist" for index in indices if not 0 <= index < demands)
    yield from (f"holds demand {index} {count} times" for index, count in placement.holds if count < 1)


def new_machines_are_numbered(case: Case) -> Found:
    """New machines are of a known type and have numbers of their own, beyond those launched only if some are held back."""
    held_back = any(answer.held_back > 0 for answer in case.answers)
    for name, count in case.new.items():
        if name not in case.types:
            yield f"new machines of {name} are spoken of, which is no type of the policy"
        if count > case.launched[name] and not held_back:
            yield f"{count} new machines of {name} are spoken of, {case.launched[name]} are launched and nothing is held back"
    for name, placements in case.new_placements.items():
        yield from overlaps(name, placements)


def overlaps(name: str, placements: list[Placement]) -> Found:
    """Numbers that two placements of a type share; they come in the order of their first numbers."""
    end = 0
    for placement in placements:
        if placement.first < 0:
            yield f"a placement numbers new machines of {name} from {placement.first}"
        elif placement.first < end:
            yield f"new machines of {name} from number {placement.first} on are in two placements"
        end = max(end, placement.first + placement.machines)


def machines_hold_what_fits(case: Case) -> Found:
    for lot in case.machines:
        for name, left in (lot.free or {}).items():
            load = lot.load.get(name, 0)
            if load > 0 and left < -SLACK:
                yield f"{lot.name} has {amount_of(left + load)} {name} to give and holds demand for {amount_of(load)}"


def machines_have_the_labels(case: Case) -> Found:
    for lot in case.machines:
        for demand, _ in lot.held:
            if not likes(demand, lot.labels):
                yield f"{lot.name} holds {shown(demand.shape)} and none of its selectors takes the labels {dict(lot.labels)}"


# ---- answers


def there_is_an_answer_to_everything(case: Case) -> Found:
    snapshot, plan = case.snapshot, case.plan
    yield from differs("answers to pending demand", len(plan.pending), len(snapshot.pending))
    yield from differs("answers to gangs", len(plan.gangs), len(snapshot.gangs))
    yield from differs("answers to requests", len(plan.requested), len(snapshot.requested))
    yield from differs("places of gangs", len(plan.places), len(snapshot.gangs))


def differs(what: str, found: int, wanted: int) -> Found:
    if found != wanted:
        yield f"there are {found} {what}, not {wanted}"


def answers_add_up(case: Case) -> Found:
    snapshot, plan = case.snapshot, case.plan
    for number, (demand, answer) in enumerate(zip(snapshot.pending, plan.pending, strict=False)):
        yield from faults_of_answer(f"demand {number}", answer, demand.count)
    for number, (_, answer) in enumerate(zip(snapshot.gangs, plan.gangs, strict=False)):
        yield from faults_of_answer(f"gang {number}", answer, 1)
    for number, (demand, answer) in enumerate(zip(snapshot.requested, plan.requested, strict=False)):
        yield from faults_of_answer(f"request {number}", answer, demand.count)


def faults_of_answer(what: str, answer: Answer, count: int) -> Found:
    parts = (answer.here, answer.coming, answer.launched, answer.held_back, answer.waiting, answer.never)
    if answer.count != count:
        yield f"the answer to {what} counts {answer.count}, not {count}"
    if sum(parts) != answer.count:
        yield f"the parts of the answer to {what} are {sum(parts)} together, not {answer.count}"
    if min(parts) < 0:
        yield f"the answer to {what} has a negative part"
    if answer.waiting + answer.never > 0 and not answer.why:
        yield f"the answer to {what} does not say why it has no place"


def answers_agree_with_placements(case: Case) -> Found:
    """Of each pending demand as much is said to be somewhere as placements hold there."""
    placed = placed_by_stage(case)
    for number, answer in enumerate(case.plan.pending):
        said = {Stage.HERE: answer.here, Stage.COMING: answer.coming, Stage.NEW: answer.launched + answer.held_back}
        for stage, count in said.items():
            if count != placed[number, stage]:
                yield f"demand {number}: the answer puts {count} on {stage} machines, the placements {placed[number, stage]}"


def placed_by_stage(case: Case) -> Counter[tuple[int, Stage]]:
    placed: Counter[tuple[int, Stage]] = Counter()
    for placement in case.plan.placements:
        stages = Counter(stage_of(case, node) for node in placement.nodes) or {Stage.NEW: placement.machines}
        for index, count in placement.holds:
            for stage, machines in stages.items():
                placed[index, stage] += count * machines
    return placed


def stage_of(case: Case, place: str) -> Stage:
    if place not in case.nodes:
        return Stage.NEW if new_machine(place) else Stage.HERE
    return Stage.COMING if case.nodes[place].status is Status.PENDING else Stage.HERE


# ---- gangs


def gangs_have_places(case: Case) -> Found:
    """All bundles of a gang have a place that takes them, or none has."""
    for number, (gang, places, answer) in enumerate(all_gangs(case)):
        if (places is None) is not (answer.unplaced > 0):
            yield f"gang {number} has {'no places' if places is None else 'places'} and {answer.unplaced} unplaced"
        if places is not None:
            yield from (f"gang {number} {fault}" for fault in faults_of_places(case, gang, places))
            yield from (f"gang {number} {fault}" for fault in faults_of_strategy(case, gang, places))
            yield from (f"gang {number} {fault}" for fault in faults_of_stage(case, places, answer))


def all_gangs(case: Case) -> Iterator[tuple[Gang, tuple[str, ...] | None, Answer]]:
    return zip(case.snapshot.gangs, case.plan.places, case.plan.gangs, strict=False)


def faults_of_places(case: Case, gang: Gang, places: tuple[str, ...]) -> Found:
    bundles = sum(bundle.count for bundle in gang.bundles)
    if len(places) != bundles:
        yield f"has {len(places)} places for {bundles} bundles"
    for place in dict.fromkeys(places):
        if place in case.nodes or new_machine(place) is None:
            yield from (f"is on {place}, which {why}" for why in unusable(case, place))


def faults_of_strategy(case: Case, gang: Gang, places: tuple[str, ...]) -> Found:
    if gang.strategy == "STRICT_PACK" and len(set(places)) > 1:
        yield "is STRICT_PACK and on several nodes"
    if gang.strategy == "STRICT_SPREAD":
        yield from (f"is STRICT_SPREAD and has {n} bundles on {place}" for place, n in Counter(places).items() if n > 1)
        taken = [place for place in dict.fromkeys(places) if place in case.nodes and gang.group_id in case.nodes[place].groups]
        yield from (f"is STRICT_SPREAD and has a bundle on {place} already" for place in taken)


def faults_of_stage(case: Case, places: tuple[str, ...], answer: Answer) -> Found:
    """A gang is as far as its last bundle's machine is."""
    stages = {stage_of(case, place) for place in places}
    last = Stage.NEW if Stage.NEW in stages else Stage.COMING if Stage.COMING in stages else Stage.HERE
    said = {Stage.HERE: answer.here, Stage.COMING: answer.coming, Stage.NEW: answer.launched + answer.held_back}
    if not answer.unplaced and said[last] != 1:
        yield f"is on machines of which the last is {last}, and the answer is {said}"


# ---- launches


def launches_make_sense(case: Case) -> Found:
    for launch in case.plan.launches:
        if launch.type not in case.types:
            yield f"{launch.type} is launched and is no type of the policy"
        if launch.count < 1:
            yield f"{launch.count} of {launch.type} are launched"
        if sum(launch.causes.values()) != launch.count or min(launch.causes.values(), default=0) < 0:
            yield f"{launch.count} of {launch.type} are launched for {sum(launch.causes.values())} causes"
        if not launch.reason:
            yield f"{launch.type} is launched for no reason"


def launches_have_their_cause(case: Case) -> Found:
    """Nothing is launched for a cause that is not there, and not more than is missing."""
    snapshot = case.snapshot
    there = {
        Cause.REQUESTED: bool(snapshot.requested),
        Cause.GANG: bool(snapshot.gangs),
        Cause.DEMAND: bool(snapshot.pending),
        Cause.UTILIZATION: case.policy.utilization is not None,
    }
    for name in case.launched.keys() & case.types.keys():
        causes = causes_of(case, name)
        yield from (f"{name} is launched for {cause}, and there is none" for cause in causes if not there.get(cause, True))
        missing = max(0, case.types[name].min_workers - case.staying(name))
        if causes[Cause.MINIMUM] > missing:
            yield f"{causes[Cause.MINIMUM]} of {name} are launched for its min_workers, of which {missing} are missing"


def causes_of(case: Case, name: str) -> Counter[Cause]:
    """How many machines of a type are launched for which cause; causes of no machine are left out."""
    found: Counter[Cause] = Counter()
    for launch in case.plan.launches:
        if launch.type == name:
            found.update(launch.causes)
    return +found


def launches_for_work_hold_some(case: Case) -> Found:
    """A machine that is launched for queued work or a gang holds something, unless nobody knows yet what it could hold."""
    busy: Counter[str] = Counter()
    for lot in case.coming_up:
        busy[lot.labels[GROUP_LABEL]] += lot.count if lot.held else 0
    for name in case.launched:
        causes = causes_of(case, name)
        wanted = causes[Cause.DEMAND] + causes[Cause.GANG]
        if wanted > busy[name] and size_of_type(case.snapshot, case.types, name) is not None:
            yield f"{wanted} of {name} are launched for queued work and gangs, and {busy[name]} new ones hold anything"


def limits_are_kept(case: Case) -> Found:
    """Nothing is launched beyond max_workers, nor held back to be launched there; draining workers count still."""
    for name, count in case.new.items():
        most = case.types[name].max_workers if name in case.types else 0
        if count > 0 and name in case.types and case.alive[name] + count > most:
            yield f"{case.alive[name]} workers of {name} and {count} new ones are more than its max_workers {most}"
    new = sum(case.new.values())
    if new > 0 and len(case.workers) + new > case.policy.max_workers:
        yield f"{len(case.workers)} workers and {new} new ones are more than max_workers {case.policy.max_workers}"


def setbacks_are_waited_for(case: Case) -> Found:
    for name, count in case.new.items():
        if count > 0 and failed(case, name):
            yield f"{count} of {name} are to be launched, which failed and is to be left alone"


def failed(case: Case, name: str) -> bool:
    """Whether the type is not to be tried now."""
    setback = case.snapshot.setbacks.get(name)
    return setback is not None and setback.retry_in_s > 0


def upscaling_speed_is_kept(case: Case) -> Found:
    """Queued work launches no more than upscaling_speed allows; only what it does not allow is held back."""
    for name, count in case.new.items():
        pending = [node for node in case.snapshot.nodes if node.type == name and node.status is Status.PENDING]
        staying = sum(node.id not in case.removed for node in pending)
        most, demanded = upscaling_limit(case, name), causes_of(case, name)[Cause.DEMAND]
        if demanded > 0 and staying + demanded > most:
            yield f"{demanded} of {name} are launched for queued work, {staying} are pending: upscaling_speed allows {most}"
        if count > case.launched[name] and len(pending) + case.launched[name] < most:
            yield f"{count - case.launched[name]} of {name} are held back, and upscaling_speed allows {most} at a time"


def upscaling_limit(case: Case, name: str) -> int:
    """How many machines of a type may be pending at once."""
    joined = sum(node.type == name and node.status in (Status.RUNNING, Status.IDLE) for node in case.snapshot.nodes)
    return max(LEAST_UPSCALING, math.ceil(case.policy.upscaling_speed * max(joined, 1)))


def minimum_is_launched(case: Case) -> Found:
    """Each type has its min_workers after the plan, unless its limits or a setback forbid."""
    for name, kind in case.types.items():
        after = case.staying(name) + case.launched[name]
        full = case.alive[name] + case.launched[name] >= kind.max_workers
        if after < kind.min_workers and not full and not failed(case, name) and not minimums_fill_the_cluster(case):
            yield f"{name} has {after} workers after the plan, and its min_workers is {kind.min_workers}"


def minimums_fill_the_cluster(case: Case) -> bool:
    """Whether the cluster is at its max_workers, and with no machine that is launched for anything but a minimum."""
    causes = sum((causes_of(case, name) for name in case.launched), Counter())
    others = causes.total() - causes[Cause.MINIMUM]
    return len(case.workers) + sum(case.launched.values()) >= case.policy.max_workers and not others


# ---- removals


def removals_are_allowed(case: Case) -> Found:
    """Only workers of ours are removed, once, in the way that their state asks for."""
    yield from (f"{node} is removed {n} times" for node, n in Counter(one.node for one in case.plan.removals).items() if n > 1)
    for removal in case.plan.removals:
        node = case.nodes.get(removal.node)
        if node is None:
            yield f"{removal.node} is removed and does not exist"
        else:
            yield from (f"{node.id} {fault}" for fault in faults_of_removal(node, removal))
            yield from (f"{node.id} {fault}" for fault in faults_of_why(case, node, removal))


def faults_of_removal(node: Node, removal: Removal) -> Found:
    faults = {
        "is the head and removed": node.is_head,
        "is not ours and removed": not node.ours,
        "is draining already and removed": node.status is Status.DRAINING,
        f"is removed as a {removal.type} and is a {node.type}": removal.type != node.type,
        "is removed for no reason": not removal.reason,
        "has not joined and is not terminated": node.status is Status.PENDING and removal.how is not How.TERMINATE,
        "has joined and is terminated": node.status is not Status.PENDING and removal.how is How.TERMINATE,
    }
    yield from (fault for fault, holds in faults.items() if holds)


def faults_of_why(case: Case, node: Node, removal: Removal) -> Found:
    if (removal.why is Why.TYPE_REMOVED) is (node.type in case.types):
        yield f"is removed because of '{removal.why}', and its type is {'still there' if node.type in case.types else 'gone'}"
    if removal.why is Why.OUTDATED and not node.outdated:
        yield "is removed as outdated and is not"
    if removal.why is Why.IDLE:
        yield from faults_of_idle_removal(case, node, removal)


def faults_of_idle_removal(case: Case, node: Node, removal: Removal) -> Found:
    kind = case.types.get(node.type)
    timeout = case.policy.idle_timeout_s if kind is None or kind.idle_timeout_s is None else kind.idle_timeout_s
    if node.status is not Status.IDLE:
        yield f"is removed as idle and is {node.status}"
    if timeout is None or node.idle_s < timeout:
        yield f"is removed after {node.idle_s:g} s without work, and its time is {timeout} s"
    if removal.how is not How.DRAIN_IDLE:
        yield f"is removed as idle by '{removal.how}'"


def idle_nodes_are_of_no_use(case: Case) -> Found:
    """What is removed for being idle could serve nothing that waits for other machines, or for ever."""
    work = [demand for demand, answer in answered(case) if wants_machines(demand, answer)]
    unplaced = [demand for demand, answer in requests(case) if answer.unplaced > 0]
    for lot in case.given_up:
        useful = [one for one in work if lot.has_room_for(one)] + [one for one in unplaced if lot.could_hold(one)]
        yield from (f"{lot.name} is removed as idle and could hold {shown(demand.shape)}" for demand in useful)


def wants_machines(demand: Demand, answer: Answer) -> bool:
    """Whether any node would help; one that a later selector takes may be declined for a new one of an earlier selector."""
    return answer.unplaced > 0 or (answer.launched + answer.held_back > 0 and len(demand.selectors) <= 1)


def gone_types_are_removed(case: Case) -> Found:
    for node in case.workers:
        if node.type not in case.types and node.status is not Status.DRAINING and node.id not in case.removed:
            yield f"{node.id} is of the type {node.type}, which is gone, and stays"


def removals_spare_the_minimum(case: Case) -> Found:
    """Neither idleness nor a maximum takes a type below its min_workers."""
    sparing = Counter(removal.type for removal in case.plan.removals if removal.why in SPARING)
    for name in sparing.keys() & case.types.keys():
        kind = case.types[name]
        if case.staying(name) < min(kind.min_workers, kind.max_workers):
            yield f"{sparing[name]} of {name} are removed, {case.staying(name)} stay, and its min_workers is {kind.min_workers}"


def removals_for_maximums_are_no_more_than_needed(case: Case) -> Found:
    whys = Counter((removal.why, removal.type) for removal in case.plan.removals)
    staying = Counter(node.type for node in case.workers if node.status is not Status.DRAINING)
    for name, kind in case.types.items():
        over = max(0, staying[name] - kind.max_workers)
        if whys[Why.TYPE_MAXIMUM, name] > over:
            yield f"{whys[Why.TYPE_MAXIMUM, name]} of {name} are removed for its max_workers, and {over} are too many"
    over = max(0, staying.total() - case.policy.max_workers)
    removed = sum(count for (why, _), count in whys.items() if why is Why.MAXIMUM)
    if removed > over:
        yield f"{removed} are removed for max_workers, and {over} are too many"


def outdated_nodes_go_by_and_by(case: Case) -> Found:
    draining = sum(node.status is Status.DRAINING for node in case.workers)
    outdated = sum(removal.why is Why.OUTDATED for removal in case.plan.removals)
    most = max(1, math.ceil(len(case.workers) / OUTDATED_ONE_IN))
    if outdated > 0 and draining + outdated > most:
        yield f"{outdated} outdated nodes are removed while {draining} are draining, and {most} at a time is allowed"


# ---- request_resources


def requests(case: Case) -> Iterator[tuple[Demand, Answer]]:
    return zip(case.snapshot.requested, case.plan.requested, strict=False)


def requests_fit_in_total(case: Case) -> Found:
    """What is said of requests is possible; whether it can be packed as well is not looked at."""
    here = [lot for lot in case.existing if lot.stage is Stage.HERE]
    coming = [lot for lot in case.existing if lot.stage is Stage.COMING]
    launched = [case.lot_of_type(name, count) for name, count in case.launched.items() if count > 0]
    answers = list(requests(case))
    yield from overbooked("joined nodes", here, [(demand, answer.here) for demand, answer in answers])
    yield from overbooked("pending nodes", coming, [(demand, answer.coming) for demand, answer in answers])
    yield from overbooked("launched machines", launched, [(demand, answer.launched) for demand, answer in answers])


def overbooked(what: str, lots: list[Lot], placed: list[tuple[Demand, int]]) -> Found:
    """Requests that cannot be all on these machines, empty as they may be."""
    if any(lot.total is None for lot in lots):
        return
    for name, amount in summed(placed).items():
        have = sum((room(lot.total or {}, name) + SLACK) * lot.count for lot in lots)
        if amount > max(0, have):
            yield f"requests for {amount_of(amount)} {name} are said to fit on {what}, which have {amount_of(have)}"
    for demand, count in placed:
        most = capacity_for(demand, lots, count)
        if most < count:
            yield f"{count} requests for {shown(demand.shape)} are said to fit on {what}, where {most} fit at most"


def capacity_for(demand: Demand, lots: list[Lot], most: int) -> int:
    """How many of the demand fit on the machines, were they empty."""
    need = amounts(demand.shape)
    return sum(times(need, lot.total or {}, most) * lot.count for lot in lots if likes(demand, lot.labels))


# ---- refusals


def answered(case: Case) -> Iterator[tuple[Demand, Answer]]:
    return zip(case.snapshot.pending, case.plan.pending, strict=False)


def no_room_is_forgotten(case: Case) -> Found:
    """Nothing of a demand without a place fits beside what the plan puts on the machines."""
    for number, (demand, answer) in enumerate(answered(case)):
        place = next((lot for lot in case.with_room if lot.has_room_for(demand)), None) if answer.unplaced > 0 else None
        if place is not None:
            yield f"demand {number}, {shown(demand.shape)}, has no place for {answer.unplaced}, and {place.name} has room"


def refusals_are_true(case: Case) -> Found:
    """What is never to be has no machine it fits on, what waits has none that may be launched."""
    for number, (demand, answer) in enumerate(answered(case)):
        yield from (f"demand {number}, {shown(demand.shape)}, {fault}" for fault in faults_of_refusal(case, demand, answer))
    for number, (demand, answer) in enumerate(requests(case)):
        yield from (f"request {number}, {shown(demand.shape)}, {fault}" for fault in faults_of_refusal(case, demand, answer))


def faults_of_refusal(case: Case, demand: Demand, answer: Answer) -> Found:
    if answer.never > 0:
        types = [name for name, kind in case.types.items() if kind.max_workers > 0]
        able = able_to_hold(demand, [case.lot_of_type(name, 1) for name in types] + case.existing)
        yield from (f"is never to be, and {name} could hold it" for name in able[:1])
    if answer.waiting > 0:
        able = able_to_hold(demand, [case.lot_of_type(name, 1) for name in case.types if may_be_launched(case, name)])
        yield from (f"waits, and {name} may be launched" for name in able[:1])


def able_to_hold(demand: Demand, lots: list[Lot]) -> list[str]:
    return [lot.name for lot in lots if lot.could_hold(demand)]


def may_be_launched(case: Case, name: str) -> bool:
    """Whether there may be one more machine of the type beside all that are new."""
    room_in_type = case.alive[name] + case.new[name] < case.types[name].max_workers
    room_in_cluster = len(case.workers) + sum(case.new.values()) < case.policy.max_workers
    return room_in_type and room_in_cluster and not failed(case, name)


CHECKS = (
    placements_name_machines,
    placements_count_machines,
    new_machines_are_numbered,
    machines_hold_what_fits,
    machines_have_the_labels,
    there_is_an_answer_to_everything,
    answers_add_up,
    answers_agree_with_placements,
    gangs_have_places,
    launches_make_sense,
    launches_have_their_cause,
    launches_for_work_hold_some,
    limits_are_kept,
    setbacks_are_waited_for,
    upscaling_speed_is_kept,
    minimum_is_launched,
    removals_are_allowed,
    idle_nodes_are_of_no_use,
    gone_types_are_removed,
    removals_spare_the_minimum,
    removals_for_maximums_are_no_more_than_needed,
    outdated_nodes_go_by_and_by,
    requests_fit_in_total,
    no_room_is_forgotten,
    refusals_are_true,
)
