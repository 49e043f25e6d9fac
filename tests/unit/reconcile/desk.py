# SPDX-License-Identifier: Apache-2.0
"""An outside that notes what it is asked, and machines to speak of, for parts of the scaler that are tried by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rayctl.config.load import parse
from rayctl.errors import Category, ProviderError
from rayctl.gcs.errors import GcsUnavailable
from rayctl.gcs.view import ClusterView, RayNode, RayState
from rayctl.providers.base import Addresses, Kind, LaunchRequest, LaunchResult, NodeState, Slot, host_token
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.journal import Asked, Journal
from rayctl.reconcile.lives import Life, Moment, Stage
from rayctl.reconcile.seam import Listing, Played, Reply

NOW = 1_000_000.0
CLUSTER_ID = "6f1de0bb-6f0b-4c35-9d0b-0a3d8f3a2c11"
CONFIG = parse(
    """
cluster_name: c
provider: {type: simulated}
max_workers: 9
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1}}
  small: {resources: {CPU: 4}, node_config: {image: new}, labels: {zone: a}}
  unknown: {}
""",
    "c.yaml",
).config


class Desk:
    """`calls` are all calls but questions, in order; `stored` are the journals, `replies` and `played` what is told next."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.said: list[tuple[str, str, Mapping[str, Any]]] = []
        self.stored: list[Journal] = []
        self.answers: list[Reply] = []
        self.ended: list[Played] = []
        self.refusal = ""  # of drains
        self.silent = False
        self._journal = journal

    def recall(self) -> Journal | None:
        return self._journal

    def remember(self, journal: Journal) -> None:
        self.stored.append(journal)
        self.calls.append(("remember", ()))

    def replies(self) -> list[Reply]:
        found, self.answers = self.answers, []
        return found

    def played(self) -> list[Played]:
        found, self.ended = self.ended, []
        return found

    def drain(self, node: RayNode, *words: object) -> str:
        self.calls.append(("drain", (node.node_id, *words)))
        if self.silent:
            raise GcsUnavailable("head", "no connection")
        return self.refusal

    def tell(self, kind: str, node: str = "", **data: Any) -> None:
        self.said.append((str(kind), node, data))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, args))

    def order(self, *names: str) -> list[str]:
        """The names of the calls so far, of these alone."""
        return [name for name, _ in self.calls if name in names]

    def args(self, name: str) -> list[Any]:
        """What this was called with, each time."""
        return [args[0] if len(args) == 1 else args for called, args in self.calls if called == name]

    def texts(self) -> str:
        return "\n".join(str(data.get("text", "")) for _, _, data in self.said)


def machine(id: str = "i-1", **changes: Any) -> Machine:
    """A running worker of type `small`, named after its id, with the token `t-<id>`."""
    known: dict[str, Any] = {
        "id": id, "name": f"c-{id}", "kind": Kind.WORKER, "type": "small", "state": NodeState.RUNNING,
        "launch_token": f"t-{id}", "addresses": Addresses(f"10.0.0.{len(id)}"), "launched_at": NOW - 60,
    }  # fmt: skip
    return Machine(**known | changes)


def host(name: str, **changes: Any) -> Machine:
    """A declared host that is claimed: its id is its name, its token is always the same."""
    return machine(name, **{"name": name, "launch_token": host_token(CLUSTER_ID, name)} | changes)


def ray(id: str = "i-1", state: RayState = RayState.IDLE, **changes: Any) -> RayNode:
    known: dict[str, Any] = {
        "node_id": f"ray of {id}", "instance_id": id, "node_type": "small", "address": "", "state": state,
        "total": {"CPU": 4.0}, "available": {"CPU": 4.0},
    }  # fmt: skip
    return RayNode(**known | changes)


def life(id: str = "i-1", stage: Stage = Stage.UP, **changes: Any) -> Life:
    made = changes.pop("machine", None) or machine(id)
    if stage in (Stage.UP, Stage.DRAINING):
        changes = {"ray": ray(id), "joined_at": NOW - 50} | changes
    return Life(made, stage, changes.pop("since", NOW - 50), **changes)


def lives(*known: Life) -> dict[str, Life]:
    return {one.machine.id: one for one in known}


def listing(*machines: Machine, at: float = NOW, lag_s: float = 0.0, **more: Any) -> Listing:
    return Listing(at, machines, lag_s, **more)


def moment(*machines: Machine, now: float = NOW, nodes: Sequence[RayNode] = (), lag_s: float = 0.0, **more: Any) -> Moment:
    journal = more.pop("journal", Journal())
    listed = more.pop("listing", None) or listing(*machines, at=now, lag_s=lag_s)
    return Moment(now, listed, ClusterView("s", tuple(nodes)), journal, **more)


def request(*tokens: str, **changes: Any) -> LaunchRequest:
    slots = tuple(Slot(f"c-{token.removeprefix('t-')}", token) for token in tokens)
    return LaunchRequest(**{"kind": Kind.WORKER, "type": "small", "slots": slots} | changes)


def asked(*tokens: str, at: float = NOW, **changes: Any) -> Asked:
    return Asked(request(*tokens), at, **changes)


def expecting(*launches: Asked, **more: Any) -> Journal:
    return Journal(asked={one.key: one for one in launches}, **more)


def given(launch: Asked, *machines: Machine, error: ProviderError | None = None) -> Reply:
    missing = len(launch.request.slots) - len(machines)
    return Reply(launch.request, LaunchResult(machines, missing, error))


def refused(launch: Asked, category: Category = Category.TRANSIENT) -> Reply:
    return Reply(launch.request, error=ProviderError(category, "no"))
