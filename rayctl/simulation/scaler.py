# SPDX-License-Identifier: Apache-2.0
"""The scaler of a simulation: when it is time for a turn, and what a turn does.

Turns stand at whole multiples of the interval. One is left out where it would see what the last one saw: nothing waits, no
machine came or went, and nothing has been idle, or held off, for just as long as it may. A turn does what a scaler does: ask
the provider and Ray, decide by `rayctl.planner.plan`, end and launch machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from rayctl.errors import ProviderError
from rayctl.planner import Plan, Snapshot, plan
from rayctl.planner.model import How, Node, NodeType, Removal, Status
from rayctl.simulation.machines import Machines
from rayctl.simulation.placing import Member
from rayctl.simulation.scene import Scene
from rayctl.simulation.workload import Workload


@dataclass(frozen=True)
class Turn:
    """One decision. Turn n is at n times the interval."""

    number: int
    at: float
    snapshot: Snapshot
    plan: Plan


OnTurn = Callable[[Turn], None]


@dataclass(frozen=True)
class _Seen:
    """What a turn has seen: when, how far work and machines had come, and whether any work waited."""

    at: float
    workload: int
    machines: int
    waited: bool


class Scaler:
    """Decides and acts. `on_turn` is told of each decision before it is carried out."""

    def __init__(self, scene: Scene, machines: Machines, workload: Workload, on_turn: OnTurn) -> None:
        self.scene = scene
        self.machines = machines
        self.workload = workload
        self.on_turn = on_turn
        self.turns = 0
        self.must_look = True  # set by whoever knows of something new beside work and machines
        self.limits = {own.name: _limit(own, scene.policy.idle_timeout_s) for own in scene.policy.types}
        self._number = -1  # of the last turn
        self._saw = _Seen(0.0, 0, 0, waited=True)

    # ---- when

    def next_turn(self, now: float) -> float:
        """When the next turn would see something new; infinite where that is never by itself."""
        interval = self.scene.interval_s
        number = max(self._number + 1, math.ceil(round(now / interval, 9)))
        if self._something_new(now):
            return number * interval
        alarms = [math.floor(round(moment / interval, 9)) + 1 for moment in self._idle_alarms()]
        alarms += [math.ceil(round(d.until / interval, 9)) for d in self.machines.delays.values() if d.until > self._saw.at]
        return max(number, min(alarms)) * interval if alarms else inf

    def _something_new(self, now: float) -> bool:
        """Whether a turn would see what the last one did not, without any time that has to pass."""
        saw, workload, machines = self._saw, self.workload, self.machines
        lag = self.scene.physics.listing_lag_s
        if self.must_look or machines.revision != saw.machines or (lag and now <= machines.changed_at + lag):
            return True
        if workload.revision == saw.workload:
            return False
        matters = saw.waited or workload.waiting > 0 or self.scene.policy.utilization is not None
        return matters or any(member.draining and not member.busy for member in workload.members.values())

    def _idle_alarms(self) -> list[float]:
        """When idle nodes will have been idle for as long as they may, of those that had not when the planner last looked."""
        found = []
        for member in self.workload.members.values():
            if member.busy or member.draining or member.is_head:
                continue
            limit = self.limits.get(member.type, inf)
            if limit < inf and not self._saw.at - member.idle_since > limit:
                found.append(member.idle_since + limit)
        return found

    # ---- a turn

    def turn(self, now: float) -> None:
        """Look, decide, act."""
        self._number = math.ceil(round(now / self.scene.interval_s, 9))
        self.must_look = False
        self._end_drained(now)
        decided = self.decision(now)
        if decided is None:
            self.must_look = True
            return
        self.turns += 1
        self._saw = _Seen(now, self.workload.revision, self.machines.revision, waited=self.workload.waiting > 0)
        self.on_turn(decided)
        for removal in decided.plan.removals:
            self._remove(removal, now)
        for launch in decided.plan.launches:
            self.machines.launch(launch.type, launch.count)
        self.machines.look()

    def decision(self, now: float) -> Turn | None:
        """What is to be done now; None where the provider does not answer."""
        try:
            snapshot = self._snapshot(now)
        except ProviderError:
            return None
        return Turn(self._number, now, snapshot, plan(snapshot))

    def _snapshot(self, now: float) -> Snapshot:
        workload = self.workload
        nodes = [self._node(member, now) for member in workload.members.values()]
        return Snapshot(
            policy=self.scene.policy,
            nodes=(*nodes, *self.machines.listed(workload.members)),
            pending=workload.pending(),
            gangs=workload.gangs(),
            requested=workload.requested,
            setbacks=self.machines.setbacks(),
        )

    def _node(self, member: Member, now: float) -> Node:
        """What Ray's head would tell of a node. While it is busy with the same, that stays the same."""
        if member.told is None or not member.busy:
            status = Status.DRAINING if member.draining else Status.RUNNING if member.busy else Status.IDLE
            member.told = Node(
                id=member.name,
                type=member.type,
                status=status,
                total=member.total,
                available=member.available if member.busy else member.total,
                idle_s=0.0 if member.busy else now - member.idle_since,
                labels=member.labels,
                is_head=member.is_head,
                groups=frozenset(member.groups),
            )
        return member.told

    def _remove(self, removal: Removal, now: float) -> None:
        member = self.workload.members.get(removal.node)
        if member is None:
            self.must_look |= not self.machines.end(removal.node)
        elif removal.how is How.DRAIN:
            member.draining, member.told = True, None
            self.must_look = True
        elif not member.busy:  # Ray refuses to drain it where work has come meanwhile
            self._end(member, now)

    def _end_drained(self, now: float) -> None:
        for member in [member for member in self.workload.members.values() if member.draining and not member.busy]:
            self._end(member, now)

    def _end(self, member: Member, now: float) -> None:
        if self.machines.end(member.name):
            self.workload.leave(member.name, now)
        else:
            self.must_look = True


def _limit(node_type: NodeType, general: float | None) -> float:
    own = general if node_type.idle_timeout_s is None else node_type.idle_timeout_s
    return inf if own is None else own
