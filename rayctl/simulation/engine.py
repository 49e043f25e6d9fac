# SPDX-License-Identifier: Apache-2.0
"""The clock: a trace and a scene in, a `Result` out.

Time jumps from one event to the next: work comes or ends, a machine joins or is gone, or it is time for a turn of the scaler.
It is over when nothing more can happen, or nothing more will: see `PATIENCE_S`.
"""

from __future__ import annotations

from math import inf

from rayctl.planner.model import NodeType
from rayctl.providers.simulated import Machine, World
from rayctl.simulation.events import Request, Trace
from rayctl.simulation.machines import Machines
from rayctl.simulation.meter import Meter, Point
from rayctl.simulation.placing import Member
from rayctl.simulation.report import Course, Ending, Result, result
from rayctl.simulation.scaler import OnTurn, Scaler
from rayctl.simulation.scene import Scene
from rayctl.simulation.workload import Workload

PATIENCE_S = 7200.0  # without any progress of work, once the trace is over


def simulate(scene: Scene, trace: Trace, on_turn: OnTurn = lambda _: None) -> Result:
    """Replay a trace. `on_turn` is told of each decision before it is carried out."""
    return Simulation(scene, trace, on_turn).run()


class Simulation:
    """One replay. `world` is the simulated one: a hook may bring misfortune over it."""

    def __init__(self, scene: Scene, trace: Trace, on_turn: OnTurn = lambda _: None) -> None:
        self.scene = scene
        self.trace = trace
        self.on_turn = on_turn
        self.world = World(physics=scene.physics, seed=scene.seed)
        self.machines = Machines(scene, self.world)
        self.workload = Workload(scene.seed)
        self.meter = Meter(scene.prices, scene.interval_s)
        self.scaler = Scaler(scene, self.machines, self.workload, on_turn)
        self._joins = 0
        self._met = 0  # of the trace's events
        self._progress = 0.0, 0  # when work last started or ended, and how often it had by then
        idle_s = max((limit for limit in self.scaler.limits.values() if limit < inf), default=0.0)
        self._patience = PATIENCE_S + scene.setup_s + max(scene.physics.boot_s) + idle_s
        for machine in sorted(self.machines.there.values(), key=lambda machine: machine.id):
            self._join(machine)

    # ---- the clock

    def run(self) -> Result:
        """From the first second to the last."""
        ending = None
        while ending is None:
            self._happen()
            due = self.scaler.next_turn(self.world.now)
            if due <= self.world.now:
                self.scaler.turn(self.world.now)
                self._happen()
                due = self.scaler.next_turn(self.world.now)
            self.meter.note(self._point())
            ending = self._pass(due)
        self.meter.close(self._point())
        skipped = len(self.trace.events) - self._met
        last = self.scaler.decision(self.world.now)
        course = Course(self.trace.source, self.world.now, ending, self.scaler.turns, skipped, last)
        return result(self.scene, course, self.meter, self.workload, self.machines)

    def _pass(self, due: float) -> Ending | None:
        """Let time pass up to the next event, or to the turn that is due. How the simulation has ended, if it has."""
        coming = self.trace.events[self._met].at if self._met < len(self.trace.events) else inf
        moment = min(coming, self.workload.next_end(), self.machines.next_change, due)
        for_ever = coming == self.workload.next_end() == inf and moment > self._progress[0] + self._patience
        if moment == inf or for_ever:
            return Ending.STUCK if self.workload.waiting else Ending.DONE
        self._count(min(moment, self.scene.until_s))
        return Ending.UNTIL if moment > self.scene.until_s else None

    def _count(self, moment: float) -> None:
        there, _ = self.machines.by_type
        self.meter.pass_time(moment - self.world.now, there, self.workload.used, self.workload.provided)
        self.world.now = moment  # exactly, so that no rounding adds up

    def _point(self) -> Point:
        there, coming = self.machines.by_type
        workload, meter = self.workload, self.meter
        waiting, running = workload.waiting, workload.running
        return Point(self.world.now, workload.by_type, coming, waiting, running, meter.rate(there), meter.cost)

    # ---- what happens by itself

    def _happen(self) -> None:
        """All that is due now, until nothing more is."""
        workload, now = self.workload, self.world.now
        before = -1
        while workload.revision != before:
            before = workload.revision
            for name in self.machines.left(workload.members):
                workload.leave(name, now)
            for machine in self.machines.joined():
                self._join(machine)
            workload.finish(now)
            while self._met < len(self.trace.events) and self.trace.events[self._met].at <= now:
                event = self.trace.events[self._met]
                workload.meet(event)
                self.scaler.must_look = self.scaler.must_look or isinstance(event, Request)
                self._met += 1
            workload.settle(now)
        if workload.progress != self._progress[1] or self._met < len(self.trace.events):
            self._progress = now, workload.progress

    def _join(self, machine: Machine) -> None:
        kind = self.scene.types.get(machine.type, NodeType(machine.type, {}, 0))
        is_head = machine.type == self.scene.head.name
        self.workload.join(
            Member(machine.name, machine.type, self._joins, kind.resources, kind.labels, self.world.now, is_head)
        )
        self._joins += 1
