# SPDX-License-Identifier: Apache-2.0
"""A whole cluster without a machine: a simulated provider, Ray as the simulation has it, playbook runs that take time.

What is true lives in the `Town`; a scaler sees it through an `Eyes`, which dies with it: runs that it began, and replies that
it had not read, are lost as they are for a process that is killed.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayctl.config.load import parse
from rayctl.config.model import ClusterConfig
from rayctl.errors import Category, ProviderError
from rayctl.gcs.autoscaler import DrainReason, NodeGroup, Report
from rayctl.gcs.errors import GcsUnavailable
from rayctl.gcs.view import ClusterView, Demand, RayNode, RayState
from rayctl.providers.base import Kind, LaunchRequest, NodeState
from rayctl.providers.base import Node as Machine
from rayctl.providers.simulated import Physics, SimulatedProvider, World
from rayctl.reconcile import journal as journals
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.seam import Listing, Played, Reply, Sight, seam
from rayctl.reconcile.told import ScalerStatus
from rayctl.scaler import Scaler
from rayctl.simulation.events import Event, Group, Request, Submit
from rayctl.simulation.placing import Member
from rayctl.simulation.workload import Workload

CLUSTER = "town"
START = 1_800_000_000.0
FILE = """
cluster_name: town
provider: {{type: simulated}}
max_workers: {max_workers}
idle_timeout_minutes: 1
head_node_type: head
available_node_types:
  head: {{resources: {{CPU: 1}}}}
  small: {{resources: {{CPU: 4}}, min_workers: {min_workers}}}
{more}
"""


def file_of(*, max_workers: int = 10, min_workers: int = 0, more: str = "") -> str:
    """A cluster file with one type of workers, `small` of 4 CPUs, and what else is given."""
    return FILE.format(max_workers=max_workers, min_workers=min_workers, more=more)


@dataclass
class Play:
    """A run over one node: when it ends, and how. `restart`: always, or only where Ray does not run as it should."""

    node: str
    ends: float
    reason: str = ""
    unreachable: bool = False
    restart: str = "auto"


class Town:
    """The outside as it is. `now` is seconds since the epoch; only `pass_time` turns its clock."""

    def __init__(self, folder: Path, physics: Physics | None = None, *, text: str = "", seed: int = 0) -> None:
        self.path = folder / "journal.json"
        self.text = text or file_of()
        self.world = World(physics=physics or Physics(boot_s=(2.0, 6.0)), seed=seed, now=START)
        self.world.populate(CLUSTER, {"head": 1}, head_type="head")
        self.provider = SimulatedProvider(CLUSTER, {}, world=self.world)
        self.workload = Workload(seed)
        self.identity = "ray-1"
        self.setup_s = 3.0
        self.ray_is_silent = False
        self.hides_head = False
        self.broken_setups: Counter[str] = Counter()  # by type: so many runs fail
        self.unreachable: set[str] = set()  # names
        self.requested_of_ray: list[tuple[Demand, ...]] = []
        self.drained: list[tuple[str, str]] = []
        self.before_drain: Callable[[], object] = lambda: None  # what happens just before Ray hears of a drain
        self.told: list[tuple[str, str, Mapping[str, Any]]] = []
        self.to_drivers: list[str] = []
        self.plays: list[tuple[str, str]] = []
        self.reports: list[Report] = []
        self.statuses: list[ScalerStatus] = []
        self.described: list[list[NodeGroup]] = []
        self.most = 0  # workers there ever were at the same time
        self._config: tuple[str, ClusterConfig] | None = None
        self._incarnation: Counter[str] = Counter()
        self._head_joins()

    # ---- the truth
    @property
    def now(self) -> float:
        return self.world.now

    def _head_joins(self) -> None:
        head = next(machine for machine in self.world.of(CLUSTER) if machine.kind is Kind.HEAD)
        self.workload.join(Member(head.id, "head", 0, {"CPU": 0.0}, {}, self.now, is_head=True))

    def machines(self) -> list[Machine]:
        """All machines there are now, on their way in or out included."""
        return [machine.node(self.now) for machine in self.world.of(CLUSTER) if self.now < machine.gone_at]

    def workers(self) -> list[Machine]:
        """The workers among them."""
        return [node for node in self.machines() if node.kind is Kind.WORKER]

    def alive(self) -> list[Machine]:
        """Those that exist and are not on their way out."""
        return [node for node in self.workers() if node.state.alive]

    def joined(self) -> list[str]:
        """The workers that Ray knows."""
        return [name for name, member in self.workload.members.items() if not member.is_head]

    def submit(self, shape: Mapping[str, float], count: int = 1, runs_s: float = 20.0) -> None:
        """Tasks come in."""
        self.meet(Submit(self.now, Demand(dict(shape), count), (runs_s, runs_s)))

    def group(self, strategy: str, bundles: Sequence[Mapping[str, float]], runs_s: float = 20.0) -> None:
        """A placement group comes in."""
        self.meet(Group(self.now, strategy, tuple(Demand(dict(bundle), 1) for bundle in bundles), (runs_s, runs_s)))

    def request(self, shape: Mapping[str, float], count: int) -> None:
        """`request_resources()` is called."""
        self.meet(Request(self.now, (Demand(dict(shape), count),) if count else ()))

    def meet(self, event: Event) -> None:
        self.workload.meet(event)
        self.workload.settle(self.now)

    def kill(self, name: str) -> None:
        """A machine is gone without anybody's asking."""
        machine = next(machine for machine in self.world.of(CLUSTER) if machine.name == name)
        self.world.interrupt(machine.id)
        self._lose_members()

    def kill_raylet(self, id: str) -> None:
        """Ray ends on a node, and its machine runs on."""
        self.workload.leave(id, self.now)

    def restart_head(self, *, keeps_state: bool) -> None:
        """The head's Ray is another process. Without Redis nothing of its cluster is left, and it has no workers."""
        self.workload.requested = ()
        if not keeps_state:
            self.identity = f"{self.identity}+"
            for id in self.joined():
                self.workload.leave(id, self.now)

    def pass_time(self, seconds: float) -> None:
        """Let time pass, in small steps: work ends, machines boot and go."""
        end = self.now + seconds
        while self.now < end - 1e-9:
            self.world.advance(min(0.25, end - self.now))
            self.workload.finish(self.now)
            self._lose_members()
            for member in [m for m in self.workload.members.values() if m.draining and not m.busy]:
                self.workload.leave(member.name, self.now)
            self.workload.settle(self.now)
            self.most = max(self.most, len(self.alive()))

    def _lose_members(self) -> None:
        for id in self.joined():
            if self.now >= self.world.machines[id].stopping_at:
                self.workload.leave(id, self.now)

    def join(self, machine: Machine) -> None:
        """Ray runs on a machine, and its head knows it."""
        if machine.id in self.workload.members:
            self.workload.leave(machine.id, self.now)  # its Ray was started anew
        self._incarnation[machine.id] += 1
        number = int(machine.id.rpartition("-")[2])
        self.workload.join(Member(machine.id, machine.type, number, machine.resources, {}, self.now))
        self.workload.settle(self.now)

    def config(self) -> ClusterConfig:
        if self._config is None or self._config[0] != self.text:
            self._config = self.text, parse(self.text, "town.yaml").config
        return self._config[1]

    def view(self) -> ClusterView:
        nodes = tuple(
            self._ray_node(member) for member in self.workload.members.values() if not (member.is_head and self.hides_head)
        )
        return ClusterView("session", nodes, self.workload.pending(), self.workload.gangs(), self.workload.requested)

    def node_id(self, id: str) -> str:
        return hashlib.sha224(f"{id}/{self._incarnation[id]}".encode()).hexdigest()

    def _ray_node(self, member: Member) -> RayNode:
        state = RayState.DRAINING if member.draining else RayState.RUNNING if member.busy else RayState.IDLE
        idle_s = 0.0 if member.busy else self.now - member.idle_since
        return RayNode(
            self.node_id(member.name), member.name, member.type, "", state, member.total, member.available, idle_s, {},
            member.is_head, frozenset(member.groups),
        )  # fmt: skip

    # ---- a scaler
    def scaler(self, around: Callable[[str], AbstractContextManager[object]] = lambda _: nullcontext()) -> Driver:
        """A scaler's process."""
        return Driver(self, around)


class Driver:
    """One life of a scaler, turn by turn."""

    def __init__(self, town: Town, around: Callable[[str], AbstractContextManager[object]]) -> None:
        self.town, self.eyes = town, Eyes(town)
        self.scaler = Scaler(seam(self.eyes, around), town.world.clusters[CLUSTER])

    def run(self, seconds: float) -> Driver:
        """Turn for so long."""
        end = self.town.now + seconds
        while self.town.now < end:
            self.turn()
        return self

    def turn(self, take: Callable[[Scaler], float] = Scaler.turn) -> None:
        pause = take(self.scaler)
        self.town.pass_time(max(pause, 0.05))
        self.eyes.work()

    def until(self, true: Callable[[], object], patience_s: float = 120.0) -> float:
        """Turn until something is true; how long that took."""
        began = self.town.now
        while not true():
            assert self.town.now - began < patience_s, f"not within {patience_s:g} s; {self.said()}"
            self.turn()
        return self.town.now - began

    def said(self) -> list[str]:
        """What people were told."""
        return [f"{kind} {node} {data.get('text') or data.get('reason') or ''}" for kind, node, data in self.town.told]


@dataclass
class Eyes:
    """The outside as one scaler's process sees it."""

    town: Town
    plays: list[Play] = field(default_factory=list)
    ended: list[Played] = field(default_factory=list)
    answers: deque[Reply] = field(default_factory=deque)
    held: bool = False
    others_hold: bool = False

    def work(self) -> None:
        """Playbook runs go on."""
        for play in [play for play in self.plays if play.ends <= self.town.now]:
            self.plays.remove(play)
            machine = next((node for node in self.town.machines() if node.name == play.node), None)
            if machine is None or machine.state is not NodeState.RUNNING:
                self.ended.append(Played(play.node, "no route to host", unreachable=True))
                continue
            if (
                not play.reason
                and machine.kind is Kind.WORKER
                and (play.restart == "always" or machine.id not in self.town.workload.members)
            ):
                self.town.join(machine)
            self.ended.append(Played(play.node, play.reason, play.unreachable))

    # ---- Outside
    def now(self) -> float:
        return self.town.now

    def config(self) -> ClusterConfig:
        return self.town.config()

    def hold(self) -> bool:
        self.held = not self.others_hold
        return self.held

    def release(self) -> None:
        self.held = False

    def machines(self) -> Listing:
        return Listing(self.town.now, tuple(self.town.provider.list_nodes()), self.town.provider.listing_lag_s)

    def prices(self) -> Mapping[str, float]:
        return {}

    def expect(self) -> None:
        """There is nothing to prepare in a simulated town."""

    def launch(self, request: LaunchRequest) -> None:
        assert self.held
        try:
            self.answers.append(Reply(request, self.town.provider.launch(request)))
        except ProviderError as error:
            self.answers.append(Reply(request, error=error))

    def replies(self) -> Sequence[Reply]:
        found = list(self.answers)
        self.answers.clear()
        return found

    def terminate(self, machines: Sequence[Machine]) -> None:
        assert self.held
        assert all(machine.kind is Kind.WORKER for machine in machines)
        try:
            self.town.provider.terminate([machine.id for machine in machines])
        except ProviderError:
            return

    def set_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        try:
            self.town.provider.set_tags(ids, tags)
        except ProviderError:
            return

    def ray(self) -> Sight:
        if self.town.ray_is_silent:
            raise GcsUnavailable("head:6379", "no connection")
        return Sight(self.town.identity, self.town.view())

    def drain(self, node: RayNode, reason: DrainReason, message: str) -> str:
        assert self.held
        assert len(bytes.fromhex(node.node_id)) == 28
        assert not node.is_head
        self.town.before_drain()
        member = self.town.workload.members.get(node.instance_id)
        self.town.drained.append((node.instance_id, reason.name))
        if member is None:
            return ""
        if reason is DrainReason.IDLE:
            if member.busy:
                return "The node to be idle terminated is no longer idle."
            self.town.workload.leave(member.name, self.town.now)
            return ""
        member.draining, member.told = True, None
        return ""

    def report(self, report: Report) -> None:
        self.town.reports.append(report)

    def describe(self, groups: Iterable[NodeGroup]) -> None:
        self.town.described.append(list(groups))

    def request(self, bundles: Sequence[Demand]) -> None:
        self.town.requested_of_ray.append(tuple(bundles))
        self.town.workload.requested = tuple(bundles)

    def tell_drivers(self, lines: Sequence[str]) -> None:
        self.town.to_drivers += lines

    def play(self, names: Sequence[str], restart: str) -> None:
        assert self.held
        types = {node.name: node.type for node in self.town.workers()}
        for name in names:
            self.town.plays.append((name, restart))
            reason = ""
            if self.town.broken_setups[types.get(name, "")] > 0:
                self.town.broken_setups[types[name]] -= 1
                reason = "setup step 1: pip install nothing: exit code 1"
            silent = name in self.town.unreachable
            why = "no route to host" if silent else reason
            self.plays.append(Play(name, self.town.now + self.town.setup_s, why, silent, restart))

    def played(self) -> Sequence[Played]:
        found, self.ended = self.ended, []
        return found

    def recall(self) -> Journal | None:
        return journals.load(self.town.path)

    def remember(self, journal: Journal) -> None:
        journals.store(self.town.path, journal)

    def tell(self, kind: str, node: str = "", **data: Any) -> None:
        self.town.told.append((str(kind), node, data))

    def publish(self, status: ScalerStatus) -> None:
        self.town.statuses.append(status)


def refusal(category: Category) -> ProviderError:
    return ProviderError(category, "a simulated refusal")
