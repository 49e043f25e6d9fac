# SPDX-License-Identifier: Apache-2.0
"""The provider contract on a simulated world: the scaler's wind tunnel, and the contract's conscience.

Where real providers differ, this one takes the harsher side: listings lag, and a token whose machine is gone gives that
machine back instead of a new one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from rayctl.errors import Category, ProviderError
from rayctl.providers.base import DEADLINE_S, Connection, LaunchRequest, LaunchResult, ListsPrices, Node, NodeState, Provider
from rayctl.providers.simulated import storage
from rayctl.providers.simulated.world import Harm, Machine, Physics, World

PARTIAL = (Category.CAPACITY, Category.QUOTA)  # refusals of a launch that are a shortfall, not a failed call
_IN_MEMORY = threading.Lock()  # worlds in memory may be shared by threads, as those in files are by processes


class SimulatedProvider(Provider, ListsPrices):
    """Machines that exist in a `World` only.

    Settings: `world`, the path of a JSON file that holds the world between calls (default: memory); and for a world that is
    made anew, the fields of `Physics`, `seed`, `nodes` ({type: count} running from the beginning), `head_type` ("head").
    A test gives its own `world` instead.
    """

    def __init__(self, cluster_name: str, settings: Mapping[str, Any], *, world: World | None = None) -> None:
        super().__init__(cluster_name, settings)
        self._path = Path(settings["world"]).expanduser() if settings.get("world") else None
        self.world = world or self._made()
        self.listing_lag_s = self.world.physics.listing_lag_s

    def cluster_id(self, *, deadline_s: float = DEADLINE_S) -> str | None:
        """See `Provider`."""
        with self._call("cluster_id", deadline_s) as (world, _):
            return world.clusters.get(self.cluster_name)

    def bootstrap(self, cluster_id: str, *, deadline_s: float = DEADLINE_S) -> str:
        """See `Provider`."""
        with self._call("bootstrap", deadline_s) as (world, _):
            return world.clusters.setdefault(self.cluster_name, cluster_id)

    def list_nodes(self, *, deadline_s: float = DEADLINE_S) -> list[Node]:
        """See `Provider`."""
        with self._call("list_nodes", deadline_s) as (world, harm):
            if harm is Harm.EMPTY:
                return []
            moment = world.seen_at()
            unseen = (None, NodeState.TERMINATED)
            return [machine.node(moment) for machine in world.of(self.cluster_name) if machine.state(moment) not in unseen]

    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        """See `Provider`. `node_config` may say `market: spot`."""
        try:
            with self._call("launch", deadline_s) as (world, _):
                return self._launch(world, request)
        except ProviderError as refusal:
            if refusal.category not in PARTIAL:
                raise
            return LaunchResult((), len(request.slots), refusal)

    def terminate(self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Mapping[str, ProviderError | None]:
        """See `Provider`."""
        with self._call("terminate", deadline_s) as (world, _):
            for id in self._known(world).keys() & set(ids):
                world.terminate(id)
        return dict.fromkeys(ids)

    def set_tags(
        self, ids: Sequence[str], tags: Mapping[str, str], *, deadline_s: float = DEADLINE_S
    ) -> Mapping[str, ProviderError | None]:
        """See `Provider`."""
        with self._call("set_tags", deadline_s) as (world, _):
            there = {id for id, machine in self._known(world).items() if world.now < machine.gone_at}
            for id in there.intersection(ids):
                world.tag(id, dict(tags))
        return {id: None if id in there else ProviderError(Category.INVALID, f"there is no machine {id}") for id in ids}

    def connection(self, node: Node) -> Connection:
        """See `Provider`: there is nothing to connect to."""
        raise ProviderError(Category.INVALID, f"simulated nodes take no commands, and {node.name} is one")

    def teardown(self, *, purge: bool = False, deadline_s: float = DEADLINE_S) -> None:  # noqa: ARG002  nothing is kept
        """See `Provider`. Refused (invalid) while machines are left."""
        with self._call("teardown", deadline_s) as (world, _):
            if left := sum(world.census(self.cluster_name).values()):
                raise ProviderError(Category.INVALID, f"cluster {self.cluster_name} still has {left} machines")
            world.clusters.pop(self.cluster_name, None)

    def prices(self, *, deadline_s: float = DEADLINE_S) -> Mapping[str, float]:
        """See `ListsPrices`."""
        with self._call("prices", deadline_s) as (world, _):
            return dict(world.physics.prices)

    def _launch(self, world: World, request: LaunchRequest) -> LaunchResult:
        if self.cluster_name not in world.clusters:
            raise ProviderError(Category.INVALID, f"there is no simulated cluster {self.cluster_name}")
        machines: list[Machine] = []
        error: ProviderError | None = None
        names = {machine.name for machine in world.of(self.cluster_name) if world.now < machine.gone_at}
        for slot in request.slots:
            if known := world.with_token(slot.token):
                machines.append(known)
            elif slot.name in names:
                error = ProviderError(Category.INVALID, f"the name {slot.name} is taken")
            elif not world.room(request.type):
                error = ProviderError(Category.CAPACITY, f"no more machines of type {request.type} just now")
            else:
                machines.append(world.launch(self.cluster_name, slot, request))
        nodes = tuple(machine.node(world.now) for machine in machines)
        return LaunchResult(nodes, len(request.slots) - len(nodes), error)

    def _known(self, world: World) -> dict[str, Machine]:
        return {machine.id: machine for machine in world.of(self.cluster_name)}

    @contextmanager
    def _call(self, name: str, deadline_s: float) -> Iterator[tuple[World, Harm | None]]:
        """The world as of now, saved at the end; a lost reply is lost only after the call did its work."""
        with self._opened() as world:
            harm = world.meet(name, deadline_s)
            yield world, harm
            if harm is Harm.LOSE_REPLY:
                raise ProviderError(Category.TRANSIENT, f"{name}: the reply was lost")

    @contextmanager
    def _opened(self) -> Iterator[World]:
        if self._path is None:
            with _IN_MEMORY:
                yield self.world
            return
        with storage.opened(self._path, self.world) as self.world:
            yield self.world

    def _made(self) -> World:
        if self._path is not None and (stored := storage.load(self._path)):
            return stored
        given = {key: self.settings[key] for key in Physics.__dataclass_fields__ if key in self.settings}
        world = World(physics=TypeAdapter(Physics).validate_python(given), seed=int(self.settings.get("seed", 0)))
        if counts := self.settings.get("nodes"):
            world.populate(self.cluster_name, dict(counts), head_type=self.settings.get("head_type", "head"))
        return world
