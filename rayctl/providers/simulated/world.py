# SPDX-License-Identifier: Apache-2.0
"""A world of machines that exist only as moments on a time line.

A machine is launched, runs, stops and is gone at moments that are fixed when they are decided; what it looks like at any
time follows from them. So turning the clock costs nothing, and a listing that lags is the same question asked about an
earlier time. Random numbers come from the seed and a counter: the same calls meet the same fate, also over a file.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import field, replace
from enum import StrEnum
from math import inf

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from rayctl.errors import Category, ProviderError
from rayctl.providers.base import Addresses, Kind, LaunchRequest, Node, NodeState, Slot, launch_token

LONG_S = 86400.0  # the age of machines that were there from the beginning


@dataclass(frozen=True)
class Physics:
    """How this world behaves when nothing goes wrong. All times in seconds.

    `listing_lag_s`: a listing shows the world as it was up to so long ago, each time another age. `boot_s`: between launch
    and running, evenly spread. `stop_s`: between a termination and gone. `capacity`: machines of a type that can exist at
    once; a type that is not named has no limit. `prices`: per hour and type.
    """

    listing_lag_s: float = 0.0
    boot_s: tuple[float, float] = (0.0, 0.0)
    stop_s: float = 0.0
    capacity: dict[str, int] = field(default_factory=dict)
    prices: dict[str, float] = field(default_factory=dict)


class Harm(StrEnum):
    """What a fault does to the call that meets it."""

    REFUSE = "refuse"  # the call does nothing and fails with the fault's category
    LOSE_REPLY = "lose-reply"  # the call does all it should, then fails as transient
    EMPTY = "empty"  # a listing that lies: no nodes, no error
    HANG = "hang"  # the call does nothing and fails as transient once its deadline has passed on the world's clock


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong once, at the next call of this name (`launch`, `list_nodes`, ...)."""

    call: str
    harm: Harm = Harm.REFUSE
    category: Category = Category.TRANSIENT
    message: str = "a simulated fault"

    def error(self) -> ProviderError:
        """What the caller sees."""
        return ProviderError(self.category, f"{self.call}: {self.message}")


@dataclass(frozen=True, config=ConfigDict(ser_json_inf_nan="strings"))
class Machine:
    """One machine: what it is, and the moments of its life in the world's seconds. `tags` are what was set, and when."""

    id: str
    name: str
    cluster: str
    kind: Kind
    type: str
    token: str
    address: str
    launched_at: float
    running_at: float
    tags: tuple[tuple[float, dict[str, str]], ...] = ()
    stopping_at: float = inf
    gone_at: float = inf
    resources: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    market: str = "on-demand"
    launch_digest: str = ""
    price: float | None = None

    def state(self, now: float) -> NodeState | None:
        """Its state at a time; None before it was launched."""
        if now < self.launched_at:
            return None
        if now >= self.gone_at:
            return NodeState.TERMINATED
        if now >= self.stopping_at:
            return NodeState.STOPPING
        return NodeState.RUNNING if now >= self.running_at else NodeState.PENDING

    def node(self, now: float) -> Node:
        """What the provider's records tell of it at a time."""
        return Node(
            id=self.id,
            name=self.name,
            kind=self.kind,
            type=self.type,
            state=self.state(now) or NodeState.PENDING,
            launch_token=self.token,
            addresses=Addresses(internal=self.address),
            resources=self.resources,
            labels=self.labels,
            tags={key: value for moment, tags in self.tags if moment <= now for key, value in tags.items()},
            market=self.market,
            launch_digest=self.launch_digest,
            launched_at=self.launched_at,
            price=self.price,
        )


@dataclass
class World:
    """Everything there is. `now` is its clock in seconds since the epoch; only `advance` turns it."""

    physics: Physics = field(default_factory=Physics)
    seed: int = 0
    now: float = 0.0
    draws: int = 0
    clusters: dict[str, str] = field(default_factory=dict)
    machines: dict[str, Machine] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds

    def fate(self, *faults: Fault) -> None:
        """Let these go wrong, each once, in this order among those of the same call."""
        self.faults.extend(faults)

    def interrupt(self, id: str, *, notice_s: float = 0.0) -> None:
        """Take a machine away, as spot markets do: it is gone `notice_s` from now, without anybody's asking."""
        moment = self.now + notice_s
        machine = self.machines[id]
        self.machines[id] = replace(machine, stopping_at=min(machine.stopping_at, moment), gone_at=min(machine.gone_at, moment))

    def meet(self, call: str, deadline_s: float) -> Harm | None:
        """The next fault of this call takes place: raised where it prevents the call, else returned for the caller to heed."""
        fault = next((fault for fault in self.faults if fault.call == call), None)
        if fault is None:
            return None
        self.faults.remove(fault)
        if fault.harm is Harm.REFUSE:
            raise fault.error()
        if fault.harm is Harm.HANG:
            self.advance(deadline_s)
            raise ProviderError(Category.TRANSIENT, f"{call}: no answer within {deadline_s:g} s")
        return fault.harm

    def seen_at(self) -> float:
        """The time that a listing asked for now shows."""
        return self.now - self._draw(0.0, self.physics.listing_lag_s)

    def of(self, cluster: str) -> list[Machine]:
        """All machines that a cluster ever had."""
        return [machine for machine in self.machines.values() if machine.cluster == cluster]

    def with_token(self, token: str) -> Machine | None:
        """The machine launched with this token, even when it is gone."""
        return self.machines.get(self.tokens.get(token, ""))

    def room(self, type: str) -> float:
        """How many more machines of a type can exist now."""
        if type not in self.physics.capacity:
            return inf
        taken = sum(machine.type == type and self.now < machine.gone_at for machine in self.machines.values())
        return max(0, self.physics.capacity[type] - taken)

    def launch(self, cluster: str, slot: Slot, request: LaunchRequest) -> Machine:
        """Bring up one machine."""
        machine = Machine(
            id=f"sim-{len(self.machines):06d}",
            name=slot.name,
            cluster=cluster,
            kind=request.kind,
            type=request.type,
            token=slot.token,
            address=_address(len(self.machines)),
            launched_at=self.now,
            running_at=self.now + self._draw(*self.physics.boot_s),
            tags=((self.now, dict(request.tags)),),
            resources=dict(request.resources),
            labels=dict(request.labels),
            market=str(request.node_config.get("market", "on-demand")),
            launch_digest=request.launch_digest,
            price=self.physics.prices.get(request.type),
        )
        self.machines[machine.id] = machine
        self.tokens[slot.token] = machine.id
        return machine

    def terminate(self, id: str) -> None:
        """End a machine; nothing happens to one that is ending already."""
        machine = self.machines[id]
        if self.now < machine.stopping_at:
            self.machines[id] = replace(machine, stopping_at=self.now, gone_at=self.now + self.physics.stop_s)

    def tag(self, id: str, tags: dict[str, str]) -> None:
        """Add tags to a machine."""
        machine = self.machines[id]
        self.machines[id] = replace(machine, tags=(*machine.tags, (self.now, tags)))

    def populate(self, cluster: str, counts: dict[str, int], *, head_type: str) -> None:
        """Give a cluster that many running machines of each type, as if it had long been up; nothing when it exists."""
        if cluster in self.clusters:
            return
        self.clusters[cluster] = cluster_id = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{cluster}.simulated"))
        for type, count in counts.items():
            request = LaunchRequest(Kind.HEAD if type == head_type else Kind.WORKER, type, ())
            for n in range(count):
                machine = self.launch(cluster, Slot(f"{cluster}-{type}-{n}", launch_token(cluster_id, type, n)), request)
                self.machines[machine.id] = replace(machine, launched_at=self.now - LONG_S, running_at=self.now - LONG_S)

    def census(self, cluster: str) -> Counter[str]:
        """How many machines of each type a cluster has now, on their way in or out included."""
        return Counter(machine.type for machine in self.of(cluster) if self.now < machine.gone_at)

    def _draw(self, low: float, high: float) -> float:
        self.draws += 1
        return random.Random(f"{self.seed}/{self.draws}").uniform(low, high)  # noqa: S311  fate, not a secret


def _address(n: int) -> str:
    """An address that no network routes: 2001:db8::/32 is for documentation alone (RFC 3849)."""
    return f"2001:db8::{n >> 16:x}:{n & 0xFFFF:x}"
