# SPDX-License-Identifier: Apache-2.0
"""A minute in which a scaler has to do all that it can do, told the same each time, whoever is killed in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path

from rayctl.providers.simulated import Fault, Harm, Physics
from tests.unit.scaler.assassin import Assassin, Killed
from tests.unit.scaler.town import CLUSTER, START, Driver
from tests.unit.scaler.witness import WatchedTown, told

TEXT = """
cluster_name: town
provider: {{type: simulated}}
max_workers: {max_workers}
idle_timeout_minutes: 0.1
head_node_type: head
available_node_types:
  head: {{resources: {{CPU: 1}}}}
  small: {{resources: {{CPU: 4}}, price: 1}}
  spare: {{resources: {{CPU: 4}}, price: 2}}
scaler: {{launch_timeout_s: 10}}
"""
AWAY_S = 1.0  # between a scaler's end and the next one's first turn
PATIENCE_S = 400.0

Happening = tuple[Callable[["Story"], bool], Callable[["Story"], object]]
"""When, and what."""


class Story:
    """One telling. `kills`: at which call each of the first scalers is killed, and whether after it."""

    def __init__(
        self, folder: Path, kills: Sequence[tuple[int, bool]] = (), *, lag_s: float = 0.0, records: bool = False
    ) -> None:
        self.town = WatchedTown(folder, Physics(lag_s, boot_s=(2.0, 4.0), stop_s=1.0), text=TEXT.format(max_workers=4), seed=7)
        self.dud = ""
        self.killed = 0
        self._records = records
        self.assassins: list[Assassin] = []
        self._kills = list(kills)
        self._script: list[Happening] = [
            (lambda story: story.clock > 1, Story._work_comes),
            (lambda story: story.town.workload.running == 3 or story.done, Story._fewer_are_allowed),
            (lambda story: story.done, Story._more_are_allowed),
            (lambda story: story.done and not story.town.workers(), Story._a_dud_is_next),
        ]

    @property
    def clock(self) -> float:
        return self.town.now - START

    @property
    def done(self) -> bool:
        """Whether there is no work now."""
        return not self.town.workload.running and not self.town.workload.waiting

    @property
    def over(self) -> bool:
        """Whether all happened and all is done: no work, no machines, nothing that anybody waits for."""
        return not self._script and self.done and not self.town.workers()

    def tell(self) -> Story:
        """Live it to its end."""
        while not self.over:
            assert self.clock < PATIENCE_S, f"it does not end: {self.town.workers()}, {told(self.town)}"
            assassin = Assassin(*self._next_kill(), outside=self._outside if self._records else None)
            self.assassins.append(assassin)
            try:
                self._live(assassin)
            except Killed:
                self.killed += 1
                self.town.pass_time(AWAY_S)
        return self

    def _next_kill(self) -> tuple[int | None, bool]:
        return self._kills.pop(0) if self._kills else (None, False)

    def _live(self, assassin: Assassin) -> None:
        life = Driver(self.town, assassin)
        while not self.over and self.clock < PATIENCE_S:
            life.turn()
            self.happen()

    def _outside(self) -> Hashable:
        """Everything that a scaler which begins now could meet. Plays and replies end with a scaler."""
        town, path = self.town, self.town.path
        dice = town.world.draws, len(town.world.faults), len(self._script), self.dud
        machines = str(list(town.world.machines.values()))
        work = town.workload.revision, town.workload.progress, len(town.drained)
        return town.now, dice, machines, work, path.read_bytes() if path.exists() else b""

    # ---- what happens
    def happen(self) -> None:
        """What it is time for."""
        while self._script and self._script[0][0](self):
            self._script.pop(0)[1](self)
        if self.dud == "next" and (new := [machine for machine in self.town.alive() if machine.launched_at > self._since]):
            self.dud = new[0].id
            self.town.world.machines[self.dud] = replace(self.town.world.machines[self.dud], running_at=inf)

    def _work_comes(self) -> None:
        self.town.world.fate(Fault("launch", Harm.LOSE_REPLY))
        self.town.submit({"CPU": 4}, 3, runs_s=8.0)
        self.town.before_drain = self._work_comes_late

    def _work_comes_late(self) -> None:
        if self.town.drained and self.town.drained[-1][1] == "IDLE":
            return
        if any(not member.busy and not member.is_head for member in self.town.workload.members.values()):
            self.town.before_drain = lambda: None
            self.town.submit({"CPU": 1}, 1, runs_s=3.0)

    def _fewer_are_allowed(self) -> None:
        self.town.text = TEXT.format(max_workers=2)

    def _more_are_allowed(self) -> None:
        self.town.text = TEXT.format(max_workers=4)

    def _a_dud_is_next(self) -> None:
        self.dud, self._since = "next", self.town.now - 1e-3
        self.town.submit({"CPU": 4}, 1, runs_s=3.0)

    def check(self) -> None:
        """What holds however often a scaler was killed."""
        town = self.town
        assert not town.wrongs
        assert sum(work.done for work in town.workload.works.values()) == sum(
            work.submitted for work in town.workload.works.values()
        )
        assert [machine.id for machine in town.world.of(CLUSTER) if town.now < machine.gone_at] == ["sim-000000"]
