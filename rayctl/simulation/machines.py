# SPDX-License-Identifier: Apache-2.0
"""The provider's side of a simulation: machines are launched, listed and ended, join when their set-up is done, or are lost.

Two views are kept apart. What is true lies in the world: by it machines join, are lost, and cost. What the scaler knows is a
listing, which may lag, and what it did itself: by that it decides, as it would have to with a real provider.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from math import inf

from rayctl.errors import ProviderError
from rayctl.planner.model import Node, Setback, Status
from rayctl.providers.base import Kind, LaunchRequest, Slot, launch_token
from rayctl.providers.base import Node as Listed
from rayctl.providers.simulated import Machine, SimulatedProvider, World
from rayctl.simulation.scene import Scene

FIRST_DELAY_S = 60.0
LONGEST_DELAY_S = 1800.0


@dataclass(frozen=True)
class Delay:
    """A type whose last launch failed: why, when it may be tried again, and how long it waited for that."""

    reason: str
    until: float
    seconds: float


@dataclass
class Tally:
    """What was done so far, in machines."""

    launches: int = 0
    refused: int = 0
    ended: int = 0
    lost: int = 0


@dataclass
class Machines:
    """All machines of one cluster. `there` cost money, `coming` are those among them that have not joined.

    `next_change`: when the next one joins or is gone. `revision` grows with every change; the last was at `changed_at`.
    """

    scene: Scene
    world: World
    provider: SimulatedProvider = field(init=False)
    there: dict[str, Machine] = field(default_factory=dict)
    coming: set[str] = field(default_factory=set)
    tally: Tally = field(default_factory=Tally)
    delays: dict[str, Delay] = field(default_factory=dict)
    next_change: float = inf
    revision: int = 0
    changed_at: float = -inf

    def __post_init__(self) -> None:
        scene = self.scene
        self.provider = SimulatedProvider(scene.cluster, {}, world=self.world)
        self.world.populate(scene.cluster, dict(scene.start), head_type=scene.head.name)
        self._cluster_id = self.world.clusters[scene.cluster]
        self._seen = 0  # of the world's machines
        self._numbers = Counter(scene.start)
        self._expected: dict[str, tuple[str, float]] = {}  # launched so shortly that a listing may miss it: type and when
        self._by_type: tuple[Counter[str], Counter[str]] | None = None
        self._listed: tuple[int, list[Node]] = -1, []  # what the last listing told, and the revision it belongs to
        self._ended: set[str] = set()  # of no use any more, whatever a listing says
        self.look()
        self.changed_at = -inf
        self.coming.difference_update(self.there)  # those of the beginning have long been set up

    # ---- what is true

    def look(self) -> None:
        """Learn of machines that were launched or taken away."""
        self.there = {name: self.world.machines[machine.id] for name, machine in self.there.items()}
        for machine in islice(self.world.machines.values(), self._seen, None):
            self.there[machine.name] = machine
            self.coming.add(machine.name)
            self._touch()
        self._seen = len(self.world.machines)
        self.next_change = self.world.now

    def _touch(self) -> None:
        self.revision += 1
        self.changed_at = self.world.now
        self._by_type = None

    @property
    def by_type(self) -> tuple[Counter[str], Counter[str]]:
        """How many there are of each type, and how many of these have not joined."""
        if self._by_type is None:
            there = Counter(machine.type for machine in self.there.values())
            self._by_type = there, Counter(self.there[name].type for name in self.coming)
        return self._by_type

    def _foresee(self) -> None:
        moments = [moment for machine in self.there.values() for moment in (machine.stopping_at, machine.gone_at)]
        moments += [self._joins_at(self.there[name]) for name in self.coming]
        self.next_change = min((moment for moment in moments if moment > self.world.now), default=inf)

    def _joins_at(self, machine: Machine) -> float:
        return machine.running_at + self.scene.setup_s

    def joined(self) -> Iterator[Machine]:
        """Those whose set-up has just ended."""
        now = self.world.now
        if now < self.next_change:
            return
        for name in sorted(self.coming, key=lambda name: self.there[name].id):
            machine = self.there[name]
            if self._joins_at(machine) <= now < machine.stopping_at:
                self.coming.remove(name)
                self._touch()
                yield machine
        self._foresee()

    def left(self, members: Collection[str]) -> list[str]:
        """Members that have just been lost; forgets machines that are gone. Nothing is looked at before `next_change`."""
        now = self.world.now
        if now < self.next_change:
            return []
        stopped = [name for name, machine in self.there.items() if machine.stopping_at <= now]
        lost = [name for name in stopped if name in members or name in self.coming]
        self.tally.lost += len(lost)
        self._ended.update(lost)
        self.coming.difference_update(lost)
        gone = [name for name in stopped if self.there[name].gone_at <= now]
        for name in gone:
            del self.there[name]
        if lost or gone:
            self._touch()
        return [name for name in lost if name in members]

    # ---- what the scaler knows and does

    def listed(self, members: Collection[str]) -> list[Node]:
        """Machines that are not among Ray's nodes. Raises `ProviderError` where the provider does not answer.

        It is not asked again while it could only say the same.
        """
        settled = self.world.now > self.changed_at + self.provider.listing_lag_s
        if not (settled and self._listed[0] == self.revision):
            nodes = self._asked(members)
            self._listed = self.revision if settled else -1, nodes
        return self._listed[1]

    def _asked(self, members: Collection[str]) -> list[Node]:
        found = {node.name: node for node in self.provider.list_nodes()}
        soonest = self.world.now - self.provider.listing_lag_s
        self._expected = {name: (kind, since) for name, (kind, since) in self._expected.items() if since >= soonest}
        self._ended &= found.keys() | self.there.keys()
        nodes = [_node(node, ended=node.name in self._ended) for node in found.values() if node.name not in members]
        known = found.keys() | self._ended | set(members)
        expected = ((name, kind) for name, (kind, _) in self._expected.items() if name not in known)
        return nodes + [Node(name, kind, Status.PENDING) for name, kind in expected]

    def launch(self, kind: str, count: int) -> None:
        """Ask for machines. What does not come is not asked for again at once."""
        slots = tuple(self._slot(kind) for _ in range(count))
        node_type = self.scene.types[kind]
        request = LaunchRequest(Kind.WORKER, kind, slots, resources=node_type.resources, labels=node_type.labels)
        try:
            result = self.provider.launch(request)
        except ProviderError as error:
            self._refused(kind, count, error.message)
            return
        self._expected.update({node.name: (kind, self.world.now) for node in result.nodes})
        self.tally.launches += len(result.nodes)
        if result.shortfall:
            self._refused(kind, result.shortfall, result.error.message if result.error else "fewer came than were asked for")
        else:
            self.delays.pop(kind, None)

    def end(self, name: str) -> bool:
        """End a machine; whether the provider has taken the call."""
        machine = self.there.get(name)
        try:
            self.provider.terminate([machine.id] if machine else [])
        except ProviderError:
            return False
        self._ended.add(name)
        self._expected.pop(name, None)
        self.coming.discard(name)
        self.tally.ended += machine is not None
        self._touch()
        self.look()
        return True

    def setbacks(self) -> Mapping[str, Setback]:
        """The types whose last launch failed."""
        return {kind: Setback(delay.reason, max(0.0, delay.until - self.world.now)) for kind, delay in self.delays.items()}

    def _refused(self, kind: str, count: int, reason: str) -> None:
        before = self.delays.get(kind)
        seconds = min(LONGEST_DELAY_S, before.seconds * 2) if before else FIRST_DELAY_S
        self.delays[kind] = Delay(reason, self.world.now + seconds, seconds)
        self.tally.refused += count

    def _slot(self, kind: str) -> Slot:
        self._numbers[kind] += 1
        number = self._numbers[kind]
        name = f"{self.scene.cluster}-{kind}-{number}".replace(".", "-")
        return Slot(name, launch_token(self._cluster_id, kind, number))


def _node(listed: Listed, *, ended: bool) -> Node:
    """A machine that Ray does not know: it is coming, or on its way out."""
    going = ended or not listed.state.alive
    return Node(listed.name, listed.type, Status.DRAINING if going else Status.PENDING, is_head=listed.kind is Kind.HEAD)
