# SPDX-License-Identifier: Apache-2.0
"""What a Ray cluster does with the work that it is given, simplified.

- Work waits in one queue, in the order in which it came. What fits nowhere lets later work of other shapes pass.
- Where it goes: see `placing`. Each task holds what it asks for from its start to its end, and starts within no time.
- A placement group gets all its bundles or none, in the same queue. It is held for a time of its own; tasks inside of it are
  not looked at. One that loses a node gives everything back and waits again as a whole.
- Work that loses its node goes back to its place in the queue and runs again for as long as it would have.
- Of a level (`load`) that falls, what runs longest ends first, then what waits. It is not known when such work would end.
- Nothing else takes room or time: object stores, transfers, actors that wait for each other, Ray's own delays.

Equal work is one `Work`, and counts within it: memory follows what runs and how many events wait, not the number of tasks.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from math import inf

from rayctl.gcs.view import Demand, Gang
from rayctl.simulation.events import Event, Group, Load, Request, Span, Submit
from rayctl.simulation.placing import Member, seats
from rayctl.simulation.work import OPEN, Batch, Stint, Work, group_id, work_of


class Workload:
    """All work and the nodes that have joined. `revision` grows with every change, `progress` when work starts or ends."""

    def __init__(self, seed: int) -> None:
        self.members: dict[str, Member] = {}
        self.works: dict[object, Work] = {}
        self.requested: tuple[Demand, ...] = ()
        self.used: Counter[str] = Counter()
        self.provided: Counter[str] = Counter()
        self.by_type: Counter[str] = Counter()
        self.revision = 0
        self.progress = 0
        self._seed = seed
        self._order = 0
        self._ends: list[tuple[float, int, Stint]] = []
        self._stints: dict[str, dict[Stint, None]] = defaultdict(dict)
        self._dice: dict[int, random.Random] = {}
        self._fresh: set[Member] = set()  # nodes with room that stuck work has not seen

    # ---- what comes

    def meet(self, event: Event) -> None:
        """Let an event happen at its time."""
        match event:
            case Submit():
                self._add(self._work("", (event.demand,)), event.at, event.demand.count, event.runs_s)
            case Group():
                self._add(self._work(event.strategy, event.bundles), event.at, 1, event.runs_s)
            case Request():
                self.requested = event.demands
                self.revision += 1
            case Load():
                self._level(event)

    def join(self, member: Member) -> None:
        """A node takes work from now on."""
        self.members[member.name] = member
        self._count_members()
        self.provided.update(member.capacity)
        self._fresh.add(member)
        self.revision += 1

    def leave(self, name: str, now: float) -> None:
        """A node is gone, and what ran there waits again."""
        member = self.members.pop(name)
        for stint in list(self._stints[name]):
            self._requeue(stint, now)
        self.provided.subtract(member.capacity)
        self._fresh.discard(member)
        del self._stints[name]
        self._count_members()
        self.revision += 1

    def _count_members(self) -> None:
        self.by_type = Counter(member.type for member in self.members.values())

    def _work(self, strategy: str, asked: Sequence[Demand]) -> Work:
        """The work of this kind, known or new."""
        demands = asked if strategy else [Demand(one.shape, 1, one.selectors) for one in asked]
        key = strategy, tuple((tuple(sorted(one.shape.items())), one.count, one.selectors) for one in demands)
        if key not in self.works:
            self.works[key] = work_of(strategy, demands)
        return self.works[key]

    def _add(self, work: Work, now: float, count: int, runs_s: Span) -> None:
        self._order += 1
        work.queue.append(Batch(self._order, now, count, runs_s))
        work.submitted += count
        work.waiting += count
        work.stuck = work.stuck and work.waiting > count
        self.revision += 1

    def _level(self, event: Load) -> None:
        targets: Counter[Work] = Counter()
        for demand in event.demands:
            targets[self._work("", (demand,))] += demand.count
        for work in list(self.works.values()):
            queued = sum(batch.count for batch in work.queue if batch.runs_s is OPEN)
            exists = queued + sum(stint.count for stint in work.open)
            if exists < targets[work]:
                self._add(work, event.at, targets[work] - exists, OPEN)
            elif exists > targets[work]:
                self._lower(work, exists - targets[work], event.at)

    def _lower(self, work: Work, count: int, now: float) -> None:
        while count and work.open:
            stint = work.open[0]
            ended = min(count, stint.count)
            self._end(stint, ended, now)
            work.done += ended
            count -= ended
        for batch in [batch for batch in reversed(work.queue) if batch.runs_s is OPEN]:
            less = min(count, batch.count)
            batch.count -= less
            work.waiting -= less
            work.withdrawn += less
            count -= less
        work.queue = deque(batch for batch in work.queue if batch.count)
        self.revision += 1

    # ---- what ends

    def next_end(self) -> float:
        """When the next of the running work ends; infinite where none will."""
        while self._ends and not self._ends[0][2].count:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else inf

    def finish(self, now: float) -> None:
        """Let everything end whose time has come."""
        while self.next_end() <= now:
            stint = heapq.heappop(self._ends)[2]
            stint.work.done += stint.count
            self._end(stint, stint.count, now)

    def _end(self, stint: Stint, count: int, now: float) -> None:
        """So many of a stint run no more, and what they held is free."""
        stint.work.running -= count
        self.progress += 1
        stint.count -= count
        for member, need in stint.seats:
            member.take(need, -count)
            member.busy -= count
            if not member.busy:
                member.idle_since = now
            self._fresh.add(member)
            for name, amount in need.items():
                self.used[name] -= amount * count
            if not stint.count:
                self._stints[member.name].pop(stint, None)
                member.groups.discard(stint.group)
        if not stint.count and stint in stint.work.open:
            stint.work.open.remove(stint)
        self.revision += 1

    def _requeue(self, stint: Stint, now: float) -> None:
        count, work = stint.count, stint.work
        self._end(stint, count, now)
        runs_s = OPEN if stint.lasts == inf else (stint.lasts, stint.lasts)
        work.queue = deque(sorted([*work.queue, Batch(stint.order, now, count, runs_s)], key=lambda batch: batch.order))
        work.waiting += count
        work.stuck = False

    # ---- what starts

    def settle(self, now: float) -> None:
        """Start what fits, in the order in which it came."""
        heap = [(work.queue[0].order, work) for work in self.works.values() if work.queue and (self._fresh or not work.stuck)]
        heapq.heapify(heap)
        while heap:
            _, work = heap[0]
            if self._start(work, work.queue[0], now):
                work.queue.popleft()
                if work.queue:
                    heapq.heapreplace(heap, (work.queue[0].order, work))
                    continue
            else:
                work.stuck = True
            heapq.heappop(heap)
        self._fresh.clear()

    def _start(self, work: Work, batch: Batch, now: float) -> bool:
        """Start as many of a batch as fit; whether these are all."""
        if work.strategy:
            return self._seat(work, batch, now)
        shape = work.shapes[0][0]
        members = self._fresh if work.stuck else self.members.values()
        while batch.count:
            member = shape.best(members)
            if member is None:
                return False
            count = min(batch.count, shape.fit(member))
            member.take(shape.need, count)
            for lasts, equal in self._lengths(batch, count):
                self._run(Stint(work, batch.order, equal, now, lasts, ((member, shape.need),)), batch)
        self._dice.pop(batch.order, None)
        return True

    def _seat(self, work: Work, batch: Batch, now: float) -> bool:
        found = seats(work.strategy, work.shapes, self.members.values())
        if found is None:
            return False
        ((lasts, _),) = self._lengths(batch, 1)
        self._dice.pop(batch.order, None)
        stint = Stint(work, batch.order, 1, now, lasts, found)
        for member, _ in found:
            member.groups.add(stint.group)
        self._run(stint, batch)
        return True

    def _lengths(self, batch: Batch, count: int) -> Iterator[tuple[float, int]]:
        """How long so many of a batch run, and how many so long. The dice are the batch's own, whatever else runs."""
        least, most = batch.runs_s
        if least == most:
            yield least, count
            return
        dice = self._dice.setdefault(batch.order, random.Random(f"{self._seed}/{batch.order}"))  # noqa: S311  chance, no secret
        for _ in range(count):
            yield dice.uniform(least, most), 1

    def _run(self, stint: Stint, batch: Batch) -> None:
        """The stint has taken its room; it is counted, and will end."""
        work, now = stint.work, stint.began
        batch.count -= stint.count
        work.waiting -= stint.count
        work.running += stint.count
        self.progress += 1
        work.waits[round(now - batch.since, 1)] += stint.count
        for member, need in stint.seats:
            member.busy += stint.count
            self._stints[member.name][stint] = None
            for name, amount in need.items():
                self.used[name] += amount * stint.count
        self.revision += 1
        if stint.lasts == inf:
            work.open.append(stint)
        else:
            heapq.heappush(self._ends, (now + stint.lasts, self.revision, stint))

    # ---- what the head would tell

    def pending(self) -> tuple[Demand, ...]:
        """The queued tasks, equal ones added up."""
        return tuple(
            Demand(work.demands[0].shape, work.waiting, work.demands[0].selectors)
            for work in self.works.values()
            if work.waiting and not work.strategy
        )

    def gangs(self) -> tuple[Gang, ...]:
        """The placement groups that wait."""
        waiting = ((batch.order, work) for work in self.works.values() if work.strategy for batch in work.queue)
        return tuple(
            Gang(group_id(order), work.strategy, work.demands) for order, work in sorted(waiting, key=lambda one: one[0])
        )

    @property
    def waiting(self) -> int:
        """How many tasks and placement groups wait."""
        return sum(work.waiting for work in self.works.values())

    @property
    def running(self) -> int:
        """How many tasks and placement groups run."""
        return sum(work.running for work in self.works.values())
