# SPDX-License-Identifier: Apache-2.0
"""A plan for people: what was asked, what becomes of it, which types were chosen and rejected for it, and why.

The verdicts on types are found here, from the same wishes that the decision was made by; the plan itself is not changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from math import inf
from typing import Any

from rayctl.planner.answers import Obstacles
from rayctl.planner.costs import accelerated, costs, prices
from rayctl.planner.decide import learnt
from rayctl.planner.fleet import Fleet, Item, fleet
from rayctl.planner.launches import Launches
from rayctl.planner.model import Answer, NodeType, Plan, Snapshot, Status
from rayctl.planner.parts import Asked
from rayctl.planner.wishes import Wish, wish
from rayctl.planner.wording import demand, gang

VERSION = 1


@dataclass(frozen=True)
class Verdict:
    """What one type was to a demand: `chosen` for new machines of this plan, or not, and why not."""

    type: str
    chosen: bool
    why: str


@dataclass(frozen=True)
class Explained:
    """One demand, gang or request, or several equal ones: what was asked, what becomes of it, what was weighed."""

    kind: str
    asked: str
    answer: Answer
    verdicts: tuple[Verdict, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """All of a plan. `cluster` and `costs` are what it was decided from, in words."""

    cluster: str
    costs: tuple[str, ...]
    asked: tuple[Explained, ...]
    plan: Plan

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        whole = asdict(self.plan)
        actions = {name: whole[name] for name in ("launches", "removals", "waits")}
        asked = [asdict(explained) for explained in self.asked]
        return {"version": VERSION, "cluster": self.cluster, "costs": list(self.costs), "asked": asked, **actions}

    def lines(self) -> Iterator[str]:
        """For people."""
        yield self.cluster
        yield from (f"  {line}" for line in self.costs)
        yield from _section("Asked", (line for explained in self.asked for line in _asked(explained)), "nothing")
        launches = (f"{launch.count} {launch.type}: {launch.reason}" for launch in self.plan.launches)
        yield from _section("Launches", launches, "none")
        going = (f"{r.node} ({r.type}), {r.how}: {r.reason}" for r in self.plan.removals)
        yield from _section("Removals", going, "none")
        if self.plan.waits:
            yield from _section("Waits", self.plan.waits, "")


def _section(title: str, lines: Iterator[str] | Sequence[str], nothing: str) -> Iterator[str]:
    yield ""
    yield title
    yield from (f"  {line}" for line in list(lines) or [nothing])


def _asked(explained: Explained) -> Iterator[str]:
    answer = explained.answer
    yield f"{explained.asked}: {fate(answer)}"
    if answer.why:
        yield f"  {answer.why}"
    for verdict in explained.verdicts if answer.never < answer.count else ():
        yield f"  {'chosen  ' if verdict.chosen else 'rejected'}  {verdict.type}: {verdict.why}"


def fate(answer: Answer) -> str:
    """What becomes of a demand, in a line."""
    words = {
        "here": "on nodes that run",
        "coming": "on nodes that are coming",
        "launched": "on machines to be launched",
        "held_back": "on machines that come later",
        "waiting": "wait",
        "never": "can never be placed",
    }
    parts = [f"{count} {text}" for name, text in words.items() if (count := getattr(answer, name))]
    return ", ".join(parts) or "nothing"


def explain(snapshot: Snapshot, plan: Plan) -> Explanation:
    """What was decided from a snapshot, and why. `plan` is the plan of that snapshot."""
    snapshot = replace(snapshot, policy=replace(snapshot.policy, types=learnt(snapshot)))
    weighing = _Weighing(snapshot, plan)
    work = Asked.of(snapshot.pending, snapshot.gangs)
    asked = (*weighing.demands(work), *weighing.gangs(work), *weighing.requests(Asked.of(snapshot.requested, ())))
    return Explanation(_cluster(snapshot), _costs(snapshot), asked, plan)


def _cluster(snapshot: Snapshot) -> str:
    workers = [node for node in snapshot.nodes if node.worker]
    types = Counter(node.type for node in workers)
    states = Counter(node.status.value for node in workers if node.status is not Status.RUNNING)
    heads = sum(node.is_head for node in snapshot.nodes)
    inside = ", ".join(f"{count} {name}" for name, count in sorted(types.items()))
    states_of = ", ".join(f"{count} {name}" for name, count in sorted(states.items()))
    notes = "; ".join(filter(None, [inside, states_of]))
    head = "1 head" if heads == 1 else f"{heads} heads"
    return f"{head}, {len(workers)} of at most {snapshot.policy.max_workers} workers{f' ({notes})' if notes else ''}"


def _costs(snapshot: Snapshot) -> tuple[str, ...]:
    known, all_of = prices(snapshot.policy.types), costs(snapshot.policy)
    return tuple(
        f"{t.name}: {all_of[t.name]:.4g} per hour ({known[t.name]:.4g} {'by its resources' if t.price is None else 'price'}, "
        f"{snapshot.policy.machine_overhead:g} for a machine more)"
        for t in snapshot.policy.types
    )


class _Weighing:
    """Goes through all that was asked, with the types as the decision saw them."""

    def __init__(self, snapshot: Snapshot, plan: Plan) -> None:
        self.snapshot, self.plan = snapshot, plan
        self.costs = costs(snapshot.policy)
        self.numbers = {node_type.name: number for number, node_type in enumerate(snapshot.policy.types)}
        self.launches = Launches.within(snapshot.policy, snapshot.nodes, snapshot.setbacks)
        for launch in plan.launches:
            for cause, count in launch.causes.items():
                self.launches.add(self._number(launch.type), count, cause)

    def demands(self, asked: Asked) -> Iterator[Explained]:
        there = fleet(asked.space, self.snapshot.policy.types, (), ())
        for index, (pending, answer) in enumerate(zip(self.snapshot.pending, self.plan.pending, strict=True)):
            chosen = {p.type for p in self.plan.placements if not p.nodes and any(item == index for item, _ in p.holds)}
            verdicts = self._verdicts(asked, there, asked.items[index], chosen, answer)
            yield Explained("demand", demand(pending), answer, verdicts)

    def gangs(self, asked: Asked) -> Iterator[Explained]:
        """Equal gangs with equal answers are told once."""
        there = fleet(asked.space, self.snapshot.policy.types, (), ())
        found: dict[tuple[object, ...], Explained] = {}
        for bundles, places, answer in zip(asked.gangs, self.plan.places, self.plan.gangs, strict=True):
            chosen = {place.split(":", 1)[1].rpartition(":")[0] for place in places or () if place.startswith("new:")}
            item = asked.items[bundles.items[0][0]] if bundles.items else None
            verdicts = self._verdicts(asked, there, item, chosen, answer) if item else ()
            text = gang(bundles.gang)
            key = text, verdicts, replace(answer, why=""), answer.why
            so_far = found.get(key)
            found[key] = Explained("gang", text, _sum(so_far.answer, answer) if so_far else answer, verdicts)
        for explained in found.values():
            n = explained.answer.count
            yield replace(explained, asked=f"{explained.asked}{f' ({n} times)' if n > 1 else ''}")

    def requests(self, asked: Asked) -> Iterator[Explained]:
        there = fleet(asked.space, self.snapshot.policy.types, (), ())
        for item, request, answer in zip(asked.items, self.snapshot.requested, self.plan.requested, strict=True):
            verdicts = self._verdicts(asked, there, item, set(), answer) if answer.unplaced else ()
            yield Explained("request", f"request_resources {demand(request)}", answer, verdicts)

    def _verdicts(self, asked: Asked, there: Fleet, item: Item, chosen: set[str], answer: Answer) -> tuple[Verdict, ...]:
        if answer.here + answer.coming == answer.count:
            return ()
        own = wish(item, there, [self.costs[t.name] for t in there.types], self.snapshot.setbacks)
        obstacles = Obstacles(self.snapshot, asked.space, there, self.launches)
        found = [self._verdict(number, obstacles, item, own, chosen) for number in range(len(there.types))]
        return tuple(sorted(found, key=lambda verdict: (not verdict.chosen, verdict.type)))

    def _verdict(self, number: int, obstacles: Obstacles, item: Item, own: Wish, chosen: set[str]) -> Verdict:
        node_type = self.snapshot.policy.types[number]
        if node_type.name in chosen and obstacles.refusal(number, item):
            return Verdict(node_type.name, True, "for another of its bundles")
        if node_type.name in chosen:
            return Verdict(node_type.name, True, self._share(node_type, item, obstacles))
        refusal = obstacles.refusal(number, item) or obstacles.limit(number) or self._later(number, item, own, chosen)
        if refusal:
            return Verdict(node_type.name, False, refusal.removeprefix(f"{node_type.name} "))
        return Verdict(node_type.name, False, self._dearer(node_type, item, obstacles, chosen) if chosen else "not needed")

    def _later(self, number: int, item: Item, own: Wish, chosen: set[str]) -> str:
        """Why a type comes after those that were chosen, or after the first choices, where it does."""
        types = self.snapshot.policy.types
        taken = min((own.depth(self._number(name)) for name in chosen), default=0)
        if not own.tiers or own.depth(number) <= taken:
            return ""
        first, mine = types[min(own.tiers[taken])], types[number]
        if accelerated(mine.resources) and not item.device and not accelerated(first.resources):
            return "is kept for work that needs its accelerators"
        if mine.name in self.snapshot.setbacks and first.name not in self.snapshot.setbacks:
            return f"comes last, for it failed: {self.snapshot.setbacks[mine.name].reason}"
        if mine.priority < first.priority:
            return f"has priority {mine.priority}, {first.name} has {first.priority}"
        return "has the labels of a fall-back only"

    def _dearer(self, node_type: NodeType, item: Item, obstacles: Obstacles, chosen: set[str]) -> str:
        """A type that would have served as well costs more, by its share of a machine or because the work does not fill one."""
        types = {other.name: other for other in self.snapshot.policy.types}
        least = min(self._cost_of_one(types[name], item, obstacles) for name in chosen)
        if self._cost_of_one(node_type, item, obstacles) > least:
            return f"dearer: {self._share(node_type, item, obstacles)}"
        return f"{self._share(node_type, item, obstacles)}, but a whole one ({self._cost(node_type):.3g}) is not filled"

    def _share(self, node_type: NodeType, item: Item, obstacles: Obstacles) -> str:
        return f"{self._cost_of_one(node_type, item, obstacles):.3g} per hour for one, by its share of a machine"

    def _cost_of_one(self, node_type: NodeType, item: Item, obstacles: Obstacles) -> float:
        """Infinite for a type that cannot hold it: of a gang's bundles each may be on another type."""
        capacity = obstacles.kinds[self._number(node_type.name)].capacity
        if any(not capacity[dimension] for dimension, _ in item.need):
            return inf
        return self._cost(node_type) * max((amount / capacity[dimension] for dimension, amount in item.need), default=0.0)

    def _cost(self, node_type: NodeType) -> float:
        return self.costs[node_type.name]

    def _number(self, name: str) -> int:
        return self.numbers[name]


def _sum(one: Answer, other: Answer) -> Answer:
    names = [field.name for field in fields(Answer) if field.name != "why"]
    return Answer(**{name: getattr(one, name) + getattr(other, name) for name in names}, why=one.why)
