# SPDX-License-Identifier: Apache-2.0
"""Everything through which the scaler touches the world, one method per kind of call.

`Outside` is what there is to be asked and told; `Seam` passes each call on, with something `around` it. Nothing else in the
scaler opens a file, a connection or a process. So a test may kill the scaler before and after each call there is, and what
survives such a kill survives any other.

What takes long is begun here and told of later: launches, terminations and playbook runs hold up no turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from rayctl.config.model import ClusterConfig
from rayctl.errors import ProviderError
from rayctl.gcs.autoscaler import DrainReason, NodeGroup, Report
from rayctl.gcs.view import ClusterView, Demand, RayNode
from rayctl.providers.base import LaunchRequest, LaunchResult
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.told import ScalerStatus


@dataclass(frozen=True)
class Sight:
    """What Ray's head tells: its nodes and demand, and the `identity` of this run of it, another one after a restart."""

    identity: str
    view: ClusterView


@dataclass(frozen=True)
class Listing:
    """What the provider listed, asked at `at` (seconds since the epoch), which it says may be `lag_s` old.

    `hosts` are all that the file declares, where it names them, and `silent` those that did not answer, with why.
    """

    at: float
    machines: tuple[Machine, ...]
    lag_s: float = 0.0
    hosts: tuple[Machine, ...] | None = None
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """What came of a launch: a result, or the error because of which nobody knows."""

    request: LaunchRequest
    result: LaunchResult | None = None
    error: ProviderError | None = None


@dataclass(frozen=True)
class Played:
    """What came of one node in a playbook run. `reason` is empty where its set-up is done; `log` names its whole output."""

    node: str
    reason: str = ""
    unreachable: bool = False
    log: str = ""


class Outside(Protocol):
    """What the scaler asks, and whom it tells. Times are seconds since the epoch."""

    def now(self) -> float:
        """The time."""

    def config(self) -> ClusterConfig:
        """The cluster file as it is now; while it is damaged, as it was last."""

    def hold(self) -> bool:
        """Whether the right to change the cluster is ours; it is taken if nobody else has it."""

    def release(self) -> None:
        """Give that right back, for others to use while nothing is under way here."""

    # ---- the provider
    def machines(self) -> Listing:
        """The newest listing, which may be some seconds old. Raises `ProviderError` where the last attempt failed."""

    def prices(self) -> Mapping[str, float]:
        """What a machine of each type costs per hour, where the provider knows."""

    def expect(self) -> None:
        """Work has come that may need nodes: what takes long to prepare for them may be begun."""

    def launch(self, request: LaunchRequest) -> None:
        """Begin to launch. Asking twice for the same is safe."""

    def replies(self) -> Sequence[Reply]:
        """What came of launches since this was last asked."""

    def terminate(self, machines: Sequence[Machine]) -> None:
        """Begin to end machines, without asking Ray. Asking twice is safe."""

    def set_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        """Begin to write tags; one that cannot be written is no failure of ours."""

    # ---- Ray
    def ray(self) -> Sight:
        """What the head tells now. Raises `GcsError`."""

    def drain(self, node: RayNode, reason: DrainReason, message: str) -> str:
        """Drain a node; "" when Ray accepts, else its words. Raises `GcsError`."""

    def report(self, report: Report) -> None:
        """Tell the head what is coming and what failed. Raises `GcsError`."""

    def describe(self, groups: Iterable[NodeGroup]) -> None:
        """Tell the head which nodes there could be. Raises `GcsError`."""

    def request(self, bundles: Sequence[Demand]) -> None:
        """Ask the head in the name of `request_resources()`, which it has forgotten. Raises `GcsError`."""

    def tell_drivers(self, lines: Sequence[str]) -> None:
        """Show these lines in the terminals of those who run work, if the way there is open."""

    # ---- nodes
    def play(self, names: Sequence[str], restart: str) -> None:
        """Begin a playbook run that brings these nodes to their wanted state; `restart` is auto or always."""

    def played(self) -> Sequence[Played]:
        """What came of nodes in playbook runs since this was last asked."""

    # ---- our own
    def recall(self) -> Journal | None:
        """The journal as it was stored last. Raises `StateRefused`."""

    def remember(self, journal: Journal) -> None:
        """Store the journal; when this returns, it outlives a loss of power."""

    def tell(self, kind: str, node: str = "", **data: Any) -> None:
        """Let people and logs know of an event."""

    def publish(self, status: ScalerStatus) -> None:
        """Show how things stand."""


Around = Callable[[str], AbstractContextManager[object]]


class Seam:
    """All calls to the outside, each within `around(its name)`."""

    def __init__(self, outside: Outside, around: Around = lambda _: nullcontext()) -> None:
        self._outside, self._around = outside, around

    def __getattr__(self, name: str) -> Any:
        getattr(self._outside, name)  # or this is the moment to say that there is no such call

        def passed(*args: Any, **kwargs: Any) -> Any:
            with self._around(name):
                return getattr(self._outside, name)(*args, **kwargs)

        setattr(self, name, passed)
        return passed


def seam(outside: Outside, around: Around = lambda _: nullcontext()) -> Outside:
    """The outside, seen through the seam."""
    passing: Any = Seam(outside, around)
    typed: Outside = passing
    return typed
