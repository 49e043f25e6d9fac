# SPDX-License-Identifier: Apache-2.0
"""What the planner is asked with and what it answers, as frozen data: `Snapshot` in, `Plan` out.

Resource amounts are Ray's own units (cores, devices, bytes of memory), prices are per hour in any one currency, times are
seconds. Nothing here knows a clock: ages and waits are given as durations that were true when the snapshot was taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from rayctl.gcs.view import Demand, Gang

DEFAULT_FRACTION = 0.8
DEFAULT_OVERHEAD = 0.02


@dataclass(frozen=True)
class NodeType:
    """One kind of worker that can be launched.

    `resources` empty: what Ray detects there, learnt from a node of the type once there is one. `price` None: nobody
    knows it, and it is guessed from the resources. Of two types that would serve the one of higher `priority` is taken.
    """

    name: str
    resources: Mapping[str, float]
    max_workers: int
    min_workers: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)
    price: float | None = None
    priority: int = 0
    idle_timeout_s: float | None = None


@dataclass(frozen=True)
class Utilization:
    """The rule of Ray's first autoscaler: so many nodes that at most `fraction` of the busiest resource is in use.

    `initial_workers` is the least as soon as anything is in use, where `aggressive`.
    """

    fraction: float = DEFAULT_FRACTION
    initial_workers: int = 0
    aggressive: bool = False


@dataclass(frozen=True)
class Policy:
    """What the cluster file says of scaling. `types` are the workers' types; the head is never launched or ended.

    `machine_overhead`: what one machine more costs per hour beside its price (set-up, failures, traffic); it makes one big
    machine preferable to many small ones of the same price. `idle_timeout_s` None: nothing is removed for being idle.
    """

    types: tuple[NodeType, ...]
    max_workers: int
    upscaling_speed: float = 1.0
    idle_timeout_s: float | None = 300.0
    machine_overhead: float = DEFAULT_OVERHEAD
    utilization: Utilization | None = None


class Status(StrEnum):
    """What a node is doing. A `pending` one was launched and has not joined yet; a `draining` one takes no more work."""

    PENDING = "pending"
    RUNNING = "running"
    IDLE = "idle"
    DRAINING = "draining"


@dataclass(frozen=True, slots=True)
class Node:
    """One machine of the cluster, or one that is coming.

    `total` and `available` are what Ray counts there; for a pending node they are not looked at, it will be as its type
    says. `ours` is False for a node that joined without us: its room counts, and it is never touched. `outdated` says
    in what it differs from the file, "" where it does not. `groups` are the placement groups with a bundle there.
    """

    id: str
    type: str
    status: Status
    total: Mapping[str, float] = field(default_factory=dict)
    available: Mapping[str, float] = field(default_factory=dict)
    idle_s: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)
    is_head: bool = False
    ours: bool = True
    outdated: str = ""
    groups: frozenset[str] = frozenset()

    @property
    def worker(self) -> bool:
        """Whether it is a machine that we may launch and end."""
        return self.ours and not self.is_head


@dataclass(frozen=True)
class Setback:
    """The last launch of a type failed: `reason` in words. It is not tried again for `retry_in_s`, and then comes last."""

    reason: str
    retry_in_s: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """All that a decision depends on.

    `pending` is queued work, `gangs` are placement groups without a place, `requested` is what `request_resources()` wants
    the cluster to hold in total, used or not. `setbacks` is by type.
    """

    policy: Policy
    nodes: tuple[Node, ...] = ()
    pending: tuple[Demand, ...] = ()
    gangs: tuple[Gang, ...] = ()
    requested: tuple[Demand, ...] = ()
    setbacks: Mapping[str, Setback] = field(default_factory=dict)


class Cause(StrEnum):
    """Why machines are launched."""

    MINIMUM = "min_workers"
    REPLACEMENT = "outdated nodes"
    REQUESTED = "request_resources"
    GANG = "placement groups"
    DEMAND = "queued work"
    UTILIZATION = "target_utilization_fraction"


@dataclass(frozen=True)
class Launch:
    """So many machines of one type, how many for which cause, and the reason in words."""

    type: str
    count: int
    causes: Mapping[Cause, int]
    reason: str


class Why(StrEnum):
    """Why a node has to go."""

    IDLE = "idle"
    OUTDATED = "outdated"
    TYPE_REMOVED = "its type is gone"
    TYPE_MAXIMUM = "max_workers of its type"
    MAXIMUM = "max_workers"


class How(StrEnum):
    """How a node goes.

    DRAIN_IDLE is refused by Ray when work has come meanwhile. DRAIN ends no work either: the node takes nothing new and is
    gone when it has finished. TERMINATE is for machines that have not joined.
    """

    DRAIN_IDLE = "drain if idle"
    DRAIN = "drain"
    TERMINATE = "terminate"


@dataclass(frozen=True)
class Removal:
    """One node that goes."""

    node: str
    type: str
    why: Why
    how: How
    reason: str


@dataclass(frozen=True)
class Placement:
    """Machines that are alike and hold alike. `nodes` are their ids; none for machines that this plan launches.

    `holds`: of which of the snapshot's `pending`, by index, each of the machines holds how many. `first` numbers the new
    machines of a type from 0, so that a gang's bundle can name one.
    """

    type: str
    machines: int
    holds: tuple[tuple[int, int], ...]
    nodes: tuple[str, ...] = ()
    first: int = 0


@dataclass(frozen=True)
class Answer:
    """What becomes of one demand, gang or request: of its `count`, how many go where. The numbers add up.

    `here` fit on nodes that run, `coming` on nodes that are pending, `launched` on machines of this plan, `held_back` on
    machines that are launched as soon as `upscaling_speed` allows; `waiting` have to wait and `never` cannot be, for the
    reason `why`.
    """

    count: int
    here: int = 0
    coming: int = 0
    launched: int = 0
    held_back: int = 0
    waiting: int = 0
    never: int = 0
    why: str = ""

    @property
    def unplaced(self) -> int:
        """What has no place, now or soon."""
        return self.waiting + self.never


@dataclass(frozen=True)
class Plan:
    """What to do now. The answers are in the order of the snapshot's `pending`, `gangs` and `requested`.

    `places` has, per gang, the node of each bundle: an id, or `new:<type>:<n>` for a machine to be launched; None for a
    gang without a place. `waits` are what has to wait beside demand: nodes that are to be replaced, types that failed.
    """

    launches: tuple[Launch, ...] = ()
    removals: tuple[Removal, ...] = ()
    pending: tuple[Answer, ...] = ()
    gangs: tuple[Answer, ...] = ()
    requested: tuple[Answer, ...] = ()
    placements: tuple[Placement, ...] = ()
    places: tuple[tuple[str, ...] | None, ...] = ()
    waits: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.launches or self.removals)
