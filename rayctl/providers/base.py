# SPDX-License-Identifier: Apache-2.0
"""The provider contract: where machines come from.

A provider's own records (tags of instances, claims on hosts, files of embedded nodes) are the truth about which nodes
exist. Operations ask it through the few calls below and change nodes only through Ansible. Calls are synchronous and end
within `deadline_s` seconds; what goes wrong is a `ProviderError` whose category says what may help.

A third party's provider subclasses `Provider` in about 100 lines (`examples/external_provider.py` is one) and is named by
`provider: {type: external, module: package.Class}` or by an entry point in the group `rayctl.providers`. Whatever its
origin, it must pass `tests/contract/`.
"""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rayctl.errors import ProviderError, Unreachable
from rayctl.transport.connection import Connection, Ssh

if TYPE_CHECKING:
    from rayctl.transport.reach import Reach

__all__ = [
    "Addresses", "Connection", "DeclaresHosts", "Kind", "LaunchRequest", "LaunchResult", "ListsPrices", "Node", "NodeState",
    "Provider", "Slot", "Standing", "launch_token",
]  # fmt: skip

TOKENS = uuid.UUID("5b1f0f0e-6e0f-5d61-9a3d-1a2f6f9d3c10")  # namespace of launch tokens; never changes
DEADLINE_S = 60.0


class Kind(StrEnum):
    """What a node is to its cluster."""

    HEAD = "head"
    WORKER = "worker"


class NodeState(StrEnum):
    """A machine's state as its provider tells it; whether Ray runs there is another question."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TERMINATED = "terminated"
    UNKNOWN = "unknown"

    @property
    def alive(self) -> bool:
        """Whether the machine exists and is not on its way out."""
        return self in (NodeState.PENDING, NodeState.RUNNING, NodeState.UNKNOWN)


@dataclass(frozen=True)
class Addresses:
    """How a node is reached: `internal` by other nodes, `external` by controllers outside the nodes' network."""

    internal: str
    external: str = ""


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, as its provider's records tell it.

    `name` is the inventory host name and stays for the node's life; `id` is the provider's own. `launched_at` is seconds
    since the epoch, `price` is per hour in the provider's currency (None: unknown), `market` is "on-demand" or "spot".
    """

    id: str
    name: str
    kind: Kind
    type: str
    state: NodeState
    launch_token: str
    addresses: Addresses | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    zone: str = ""
    market: str = "on-demand"
    launch_digest: str = ""
    launched_at: float = 0.0
    price: float | None = None


@dataclass(frozen=True)
class Slot:
    """One machine that is asked for: the name it will bear and the token by which a lost reply is found again."""

    name: str
    token: str


@dataclass(frozen=True)
class LaunchRequest:
    """Machines of one node type. Asking twice with the same tokens gives the same machines, never more.

    A token is never used again for another machine: some providers answer one of a machine that is gone with that machine.

    `node_config` is the provider's own part of the node type in the cluster file, untouched.
    """

    kind: Kind
    type: str
    slots: tuple[Slot, ...]
    launch_digest: str = ""
    node_config: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class LaunchResult:
    """What came of a launch: the machines there are now, how many are missing, and why (None when none is).

    `errors` says it by slot name, where the provider knows which of the machines is missing.
    """

    nodes: tuple[Node, ...]
    shortfall: int = 0
    error: ProviderError | None = None
    errors: Mapping[str, ProviderError] = field(default_factory=dict)


class Provider(ABC):
    """Machines of one cluster at one provider. `settings` is the cluster file's `provider:` block as a plain mapping.

    `listing_lag_s`: for how long after a launch or a termination `list_nodes` may still tell the old story, in seconds.
    `listing_every_s`: how often a scaler asks for the nodes, in seconds. `scaled_by_head`: the scaler runs on the head, and
    reaches hosts by a key of its own.
    `ssh` is what the file's `auth:` says of ssh; a provider whose nodes are reached by ssh puts it into their connections.
    `folder` is the cluster file's: relative local paths in the settings mean files below it.
    """

    listing_lag_s: float = 0.0
    listing_every_s: float = 5.0
    ssh: Ssh = Ssh()
    folder: Path = Path()
    scaled_by_head: bool = False

    def __init__(self, cluster_name: str, settings: Mapping[str, Any]) -> None:
        self.cluster_name = cluster_name
        self.settings = settings

    @abstractmethod
    def cluster_id(self, *, deadline_s: float = DEADLINE_S) -> str | None:
        """The identity (a uuid) kept at the provider beside the cluster's name; None when there is no such cluster."""

    @abstractmethod
    def bootstrap(self, cluster_id: str, *, deadline_s: float = DEADLINE_S) -> str:
        """Make what the cluster needs before its first node. Returns the identity that holds: the one already there, if any."""

    @abstractmethod
    def list_nodes(self, *, deadline_s: float = DEADLINE_S) -> list[Node]:
        """All nodes of the cluster that are not terminated, or an error; never a part of them."""

    @abstractmethod
    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        """Bring up the slots' machines. Fewer than asked for is a result with a shortfall, not an exception."""

    @abstractmethod
    def terminate(self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Mapping[str, ProviderError | None]:
        """End these machines; per id None when it is gone or on its way. An unknown id counts as gone."""

    @abstractmethod
    def set_tags(
        self, ids: Sequence[str], tags: Mapping[str, str], *, deadline_s: float = DEADLINE_S
    ) -> Mapping[str, ProviderError | None]:
        """Add or overwrite tags; per id None when written, else why not."""

    @abstractmethod
    def connection(self, node: Node) -> Connection:
        """How commands reach this node. Raises `ProviderError` (invalid) for a node that takes no commands."""

    @abstractmethod
    def teardown(self, *, purge: bool = False, deadline_s: float = DEADLINE_S) -> None:
        """Called after the last node is gone: forget the cluster; with `purge` also what costs nothing to keep."""

    def start_flags(self, node: Node) -> Mapping[str, str]:
        """Flags of `ray start` that this machine needs (ports, addresses), without dashes. A flag in the file wins."""
        del node
        return {}


@dataclass(frozen=True)
class Standing:
    """Whose a declared host is, by its own word: "ours", "free", "taken", or "silent" when it did not answer.

    `claim` is the claim that holds, ours or not, as people may know it; `why` tells of a silent host.
    """

    state: str
    claim: Mapping[str, Any] | None = None
    why: str = ""


class ListsPrices(ABC):
    """A capability of providers that know what their machines cost."""

    @abstractmethod
    def prices(self, *, deadline_s: float = DEADLINE_S) -> Mapping[str, float]:
        """The price per hour of each node type that it knows one of, in one currency."""


class DeclaresHosts(ABC):
    """A capability of providers whose machines are named in the cluster file: to launch one is to claim it.

    What one operation learns of a host through `reach`, it learns once. `ssh_options` are words for
    ssh's command line by host name, set before the first use: what a playbook's own variables say.
    """

    ssh_options: Mapping[str, tuple[str, ...]] = MappingProxyType({})

    @property
    @abstractmethod
    def reach(self) -> Reach:
        """How the hosts are reached."""

    @abstractmethod
    def declared(self) -> list[Node]:
        """All of them, the head first, from the file alone. Nobody is asked, so their state is `unknown`."""

    @abstractmethod
    def ask_only_head(self) -> None:
        """From now on the listing has to tell of the head alone, so no other host need be asked."""

    @abstractmethod
    def standing(self) -> Mapping[str, Standing]:
        """How things stand with each host that was asked, by name."""

    @abstractmethod
    def silent(self) -> Mapping[str, Unreachable]:
        """Of those asked last, the ones that did not answer, by name, and why. No listing holds them."""

    def head_scaler(self) -> Mapping[str, Any] | None:
        """What the head keeps of a scaler that runs there (`node/scaler_ops.py`); None where it has none or does not answer."""
        return None


def launch_token(cluster_id: str, node_type: str, sequence: int) -> str:
    """The idempotency token of the n-th machine of a type: derived, so that it survives the loss of every local file."""
    return str(uuid.uuid5(TOKENS, f"{cluster_id}/{node_type}/{sequence}"))


def host_token(cluster_id: str, name: str) -> str:
    """The same for a declared host, which is claimed under its own name."""
    return str(uuid.uuid5(TOKENS, f"{cluster_id}/{name}"))
