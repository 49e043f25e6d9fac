# SPDX-License-Identifier: Apache-2.0
"""Weeks of bad luck: random demand, and everything that can go wrong, at random; then calm, in which all must be well again.

An episode is a cluster's life of some hours of its own clock. What happens in it follows from its seed alone.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rayctl.errors import Category
from rayctl.providers.base import Kind, Slot, launch_token
from rayctl.providers.simulated import Fault, Harm, Physics
from rayctl.reconcile.requests import numbers, request_for
from tests.unit.scaler.assassin import Assassin, Killed
from tests.unit.scaler.town import CLUSTER, Driver
from tests.unit.scaler.witness import WatchedTown, settled, told

HOURS_S = 2400.0  # of an episode, before the calm
CALM_S = 3000.0  # so long all may take to be well again
WELL_S = 30.0  # and so long it must stay
CPUS = {"small": 4, "big": 16, "dear": 4}
TYPE = "  {name}: {{resources: {{{resources}}}, min_workers: {least}, max_workers: {most}, node_config: {{image: {image}}}}}"
FILE = """
cluster_name: town
provider: {{type: simulated}}
max_workers: {max_workers}
idle_timeout_minutes: 1
head_node_type: head
available_node_types:
  head: {{resources: {{CPU: 1}}}}
{types}
scaler: {{launch_timeout_s: {patience}, join_timeout_s: 30}}
"""


@dataclass
class Choice:
    """A cluster file that may change."""

    max_workers: int
    least: dict[str, int] = field(default_factory=lambda: dict.fromkeys(CPUS, 0))
    without: str = ""
    image: int = 0
    patience: int = 90

    def text(self) -> str:
        room = self.max_workers
        least: dict[str, int] = {}
        for name in CPUS:
            least[name] = 0 if name == self.without else min(self.least[name], room)
            room -= least[name]
        types = [
            TYPE.format(
                name=name, resources=f"CPU: {cpus}" + (", GPU: 1" if name == "dear" else ""), least=least[name],
                most=self.max_workers, image=self.image,
            ) for name, cpus in CPUS.items() if name != self.without
        ]  # fmt: skip
        return FILE.format(max_workers=self.max_workers, types="\n".join(types), patience=self.patience)


@dataclass
class Tally:
    """What happened in all episodes."""

    episodes: int = 0
    kills: int = 0
    launched: int = 0
    most: int = 0
    leaks: int = 0
    hours: float = 0.0
    events: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        events = ", ".join(f"{count} {name}" for name, count in sorted(self.events.items()))
        return (
            f"{self.episodes} episodes, {self.hours:.0f} simulated hours, {self.kills} kills, {self.launched} machines "
            f"launched, {self.most} nodes at most, {self.leaks} leaked\n{events}"
        )


class Episode:
    """One cluster's life."""

    def __init__(self, folder: Path, seed: int, tally: Tally) -> None:
        self.dice, self.tally = random.Random(seed), tally
        dice = self.dice
        self.choice = Choice(dice.choice([2, 5, 12, 30]), patience=dice.choice([40, 90, 200]))
        lag_s, slowest_s = dice.choice([0.0, 0.0, 4.0, 30.0]), dice.choice([3.0, 15.0, 60.0])
        physics = Physics(lag_s, boot_s=(1.0, slowest_s), stop_s=dice.choice([0.0, 5.0, 40.0]))
        self.town = WatchedTown(folder, physics, text=self.choice.text(), seed=seed)
        self.rough = dice.choice([0.2, 1.0, 3.0])  # how often things go wrong
        self.ends: list[tuple[float, Callable[[], object]]] = []  # what ends by itself, and when
        self.others_hold = False
        self.life = self._scaler()

    def live(self) -> None:
        """The rough time and the calm after it."""
        self._pass(HOURS_S)
        self._calm_down()
        self.tally.episodes += 1
        self.tally.hours += (self.town.now - 1.8e9) / 3600
        self.tally.launched += self.town.launched.total()
        self.tally.most = max(self.tally.most, self.town.most)

    def _scaler(self, at: int | None = None) -> Driver:
        return Driver(self.town, Assassin(at, self.dice.random() < 0.5))

    def _pass(self, seconds: float) -> None:
        end = self.town.now + seconds
        while self.town.now < end:
            before = self.town.now
            self._turn()
            self._happen(min(5.0, self.town.now - before))

    def _turn(self) -> None:
        self.life.eyes.others_hold = self.others_hold
        try:
            self.life.turn()
        except Killed:
            self.tally.kills += 1
            self.town.pass_time(self.dice.choice([0.1, 1.0, 20.0]))
            self.life = self._scaler(self._next_kill())
        for end in [end for end in self.ends if end[0] <= self.town.now]:
            self.ends.remove(end)
            end[1]()
        assert not self.town.wrongs, self.town.wrongs

    def _next_kill(self) -> int | None:
        return int(self.dice.paretovariate(0.4)) if self.dice.random() < 0.3 else None

    def _for(self, seconds: float, end: Callable[[], object]) -> None:
        self.ends.append((self.town.now + seconds, end))

    # ---- what happens
    def _happen(self, seconds: float) -> None:
        for happening, every_s in HAPPENINGS.items():
            rough = 1.0 if happening in DEMAND else self.rough
            if self.dice.random() < seconds * rough / every_s:
                self.tally.events[happening.__name__.strip("_")] += 1
                happening(self)

    def _tasks(self) -> None:
        shape = self.dice.choice([{"CPU": 1}, {"CPU": 1}, {"CPU": 4}, {"CPU": 16}, {"CPU": 1, "GPU": 1}, {"CPU": 0.5}])
        self.town.submit(shape, self.dice.choice([1, 3, 10, 60]), runs_s=self.dice.uniform(1, 120))

    def _group(self) -> None:
        strategy = self.dice.choice(["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
        self.town.group(
            strategy, [{"CPU": self.dice.choice([1, 2, 4])}] * self.dice.randint(1, 2), runs_s=self.dice.uniform(5, 90)
        )

    def _request(self) -> None:
        self.town.request({"CPU": self.dice.choice([1, 4])}, self.dice.choice([0, 0, 2, 8]))

    def _kill(self) -> None:
        self.life.scaler.world = None  # type: ignore[assignment]  # nothing of it may go on
        self.tally.kills += 1
        if self.dice.random() < 0.1:
            self.tally.events["journal lost"] += 1
            self.town.path.unlink(missing_ok=True)
        self.town.pass_time(self.dice.choice([0.1, 2.0, 60.0]))
        self.life = self._scaler(self._next_kill())

    def _fault(self) -> None:
        call = self.dice.choice(["list_nodes", "launch", "terminate", "set_tags"])
        harms = [Harm.REFUSE, Harm.LOSE_REPLY, Harm.HANG] + ([Harm.EMPTY] if call == "list_nodes" else [])
        category = self.dice.choice(
            [Category.TRANSIENT, Category.TRANSIENT, Category.THROTTLED, Category.CAPACITY, Category.QUOTA]
        )
        self.town.world.fate(*[Fault(call, self.dice.choice(harms), category)] * self.dice.choice([1, 1, 2, 10]))

    def _no_capacity(self) -> None:
        name = self.dice.choice(list(CPUS))
        self.town.world.physics.capacity[name] = self.dice.choice([0, 1, 3])
        self._for(self.dice.uniform(10, 300), lambda: self.town.world.physics.capacity.pop(name, None))

    def _machine_lost(self) -> None:
        if there := self.town.alive():
            self.town.kill(self.dice.choice(there).name)

    def _raylet_dead(self) -> None:
        for id in self.dice.sample(self.town.joined(), min(len(self.town.joined()), self.dice.choice([1, 1, 1, 5]))):
            self.town.kill_raylet(id)

    def _silence(self) -> None:
        self.town.ray_is_silent = True
        self._for(self.dice.choice([1.0, 10.0, 90.0]), self._speak)

    def _speak(self) -> None:
        if self.dice.random() < 0.5:
            self.town.restart_head(keeps_state=self.dice.random() < 0.5)
        self.town.ray_is_silent = False

    def _head_hidden(self) -> None:
        self.town.hides_head = True
        self._for(self.dice.uniform(1, 20), lambda: setattr(self.town, "hides_head", False))

    def _head_anew(self) -> None:
        self.town.restart_head(keeps_state=self.dice.random() < 0.3)

    def _file_changed(self) -> None:
        choice = self.choice
        match self.dice.randrange(4):
            case 0:
                choice.max_workers = self.dice.choice([1, 4, 12, 30])
            case 1:
                choice.least[self.dice.choice(list(CPUS))] = self.dice.choice([0, 0, 1, 2])
            case 2:
                choice.without = self.dice.choice(["", "", *CPUS])
            case _:
                choice.image += 1
        self.town.text = choice.text()

    def _broken_setups(self) -> None:
        self.town.broken_setups[self.dice.choice(list(CPUS))] += self.dice.choice([1, 2, 5])

    def _out_of_reach(self) -> None:
        names = {machine.name for machine in self.town.alive() if self.dice.random() < 0.4}
        self.town.unreachable |= names
        self._for(self.dice.uniform(5, 200), lambda: self.town.unreachable.difference_update(names))

    def _another_writer(self) -> None:
        """Somebody's `up`: it launches a machine by its own numbers, and sets it up."""
        if self.life.eyes.held or self.others_hold:
            return
        self.others_hold = True
        town, types = self.town, [name for name in CPUS if name != self.choice.without]
        node_type = self.dice.choice(types)
        if len(town.alive()) < town.config().max_workers and self.dice.random() < 0.7:
            used = numbers((machine.node(town.now) for machine in town.world.of(CLUSTER)), node_type)
            number = max(used, default=0) + 1
            token = launch_token(town.world.clusters[CLUSTER], node_type, number)
            request = request_for(town.config(), node_type, Kind.WORKER, (Slot(f"town-{node_type}-{number}", token),))
            machine = town.world.launch(CLUSTER, request.slots[0], request)
            self._for(machine.running_at - town.now + 3, lambda: self._joined(machine.id))
        self._for(self.dice.uniform(1, 120), lambda: setattr(self, "others_hold", False))

    def _joined(self, id: str) -> None:
        node = self.town.world.machines[id].node(self.town.now)
        if self.others_hold and node.state.alive and id not in self.town.joined():
            self.town.join(node)

    # ---- the calm
    def _calm_down(self) -> None:
        town = self.town
        for _, end in self.ends:
            end()
        self.ends, self.others_hold = [], False
        town.world.faults.clear()
        town.world.physics.capacity.clear()
        town.broken_setups.clear()
        town.unreachable.clear()
        town.ray_is_silent = town.hides_head = False
        town.request({"CPU": 1}, 0)
        self.choice.max_workers, self.choice.without = 31, ""
        town.text = self.choice.text()
        self.life = self._scaler()
        began = well_since = town.now
        while town.now - well_since < WELL_S:
            self._turn()
            if not self._well():
                well_since = town.now
            if well_since - began > CALM_S:
                self.tally.leaks += len(town.workers()) - sum(self.choice.least.values())
                raise AssertionError(f"not well: {self._lacks()}\n{told(town)}")

    def _well(self) -> bool:
        town = self.town
        there = Counter(machine.type for machine in town.workers())
        wanted = Counter({name: least for name, least in self.choice.least.items() if least})
        return settled(town) and not town.workload.running and there == wanted

    def _lacks(self) -> str:
        town = self.town
        machines = [(machine.name, machine.state, machine.id in town.joined()) for machine in town.workers()]
        return f"{machines}, {self.choice}, {town.workload.waiting} wait, {self.life.scaler.books.journal}"


DEMAND = {Episode._tasks: 40.0, Episode._group: 150.0, Episode._request: 300.0}
HAPPENINGS = DEMAND | {
    Episode._kill: 60.0, Episode._fault: 60.0, Episode._no_capacity: 300.0, Episode._machine_lost: 200.0,
    Episode._raylet_dead: 150.0, Episode._silence: 400.0, Episode._head_hidden: 600.0, Episode._head_anew: 900.0,
    Episode._file_changed: 300.0, Episode._broken_setups: 300.0, Episode._out_of_reach: 400.0, Episode._another_writer: 300.0,
}  # fmt: skip
"""What may happen, and in how many seconds it does once, on the mean."""
