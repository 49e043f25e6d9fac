# SPDX-License-Identifier: Apache-2.0
"""A provider that a test can look into."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rayctl.errors import Category, ProviderError
from rayctl.providers.base import (
    Addresses,
    Connection,
    Kind,
    LaunchRequest,
    LaunchResult,
    Node,
    NodeState,
    Provider,
)


class Machines(Provider):
    """Machines in a list. `capacity` bounds how many of a type there can be, `stubborn` are names that do not end."""

    def __init__(self, folder: Path) -> None:
        super().__init__("demo", {})
        self.folder = folder
        self.identity: str | None = None
        self.nodes: list[Node] = []
        self.requests: list[LaunchRequest] = []
        self.capacity: dict[str, int] = {}
        self.stubborn: set[str] = set()
        self.on_launch: Callable[[], None] = lambda: None

    def add(self, name: str, **fields: Any) -> Node:
        kind = Kind.HEAD if "head" in name else Kind.WORKER
        row = {"kind": kind, "type": kind.value, "state": NodeState.RUNNING, "launch_token": name, **fields}
        self.nodes.append(Node(id=f"i-{name}", name=name, addresses=Addresses("127.0.0.9"), **row))
        return self.nodes[-1]

    def cluster_id(self, *, deadline_s: float = 60) -> str | None:
        return self.identity

    def bootstrap(self, cluster_id: str, *, deadline_s: float = 60) -> str:
        self.identity = self.identity or cluster_id
        return self.identity

    def list_nodes(self, *, deadline_s: float = 60) -> list[Node]:
        return list(self.nodes)

    def launch(self, request: LaunchRequest, *, deadline_s: float = 60) -> LaunchResult:
        self.on_launch()
        self.requests.append(request)
        given = request.slots[: self.capacity.get(request.type, 99)]
        nodes = tuple(self.add(slot.name, launch_token=slot.token, type=request.type) for slot in given)
        missing = len(request.slots) - len(nodes)
        error = ProviderError(Category.CAPACITY, "none left in this zone") if missing else None
        return LaunchResult(nodes, missing, error)

    def terminate(self, ids: Sequence[str], *, deadline_s: float = 60) -> Mapping[str, ProviderError | None]:
        refused = {n.id for n in self.nodes if n.name in self.stubborn}
        self.nodes = [n for n in self.nodes if n.id not in ids or n.id in refused]
        return {id: ProviderError(Category.AUTH, "not yours") if id in refused else None for id in ids}

    def set_tags(
        self, ids: Sequence[str], tags: Mapping[str, str], *, deadline_s: float = 60
    ) -> Mapping[str, ProviderError | None]:
        self.nodes = [replace(n, tags={**n.tags, **tags}) if n.id in ids else n for n in self.nodes]
        return dict.fromkeys(ids)

    def connection(self, node: Node) -> Connection:
        return Connection("local", "127.0.0.9", str(self.folder / node.name))

    def teardown(self, *, purge: bool = False, deadline_s: float = 60) -> None:
        self.identity = None
