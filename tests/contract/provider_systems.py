# SPDX-License-Identifier: Apache-2.0
"""The systems that the provider contract is held against, behind one face: how to ask them, and how to make them fail."""

from __future__ import annotations

import fcntl
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from folder_hosts import FolderHost, FolderReach

from rayctl.config.model import Auth
from rayctl.errors import ProviderError
from rayctl.providers.base import LaunchRequest, Provider
from rayctl.providers.local import LocalProvider
from rayctl.providers.registry import provider_for
from rayctl.providers.simulated import Fault, Harm, Physics, SimulatedProvider, World, opened


@dataclass
class Block:
    """A `provider:` block as the registry sees it."""

    type: str
    settings: dict[str, Any] = field(default_factory=dict)

    def model_dump(self) -> dict[str, Any]:
        return {"type": self.type, **self.settings}


class System(ABC):
    """A place where machines come from. Each `provider()` is another controller's: nothing is shared but the system."""

    @abstractmethod
    def provider(self, cluster: str = "demo") -> Provider: ...

    @abstractmethod
    def obstructed(self, call: str) -> Any:
        """A context in which the next call of this name gets no answer."""

    @abstractmethod
    def spoil_listing(self) -> None:
        """Make it impossible to tell of every node; there is at least one."""

    @abstractmethod
    def settle(self) -> None:
        """Let the listing lag pass."""

    def launch_without_reply(self, request: LaunchRequest) -> None:
        """Launch from a controller that never sees the answer."""
        self.provider().launch(request)


class FileSystem(System):
    """Systems that keep their records in files under a lock."""

    def __init__(self, block: Block, lock: Path, records: Path) -> None:
        self._block, self._lock, self._records = block, lock, records

    def provider(self, cluster: str = "demo") -> Provider:
        return provider_for(SimpleNamespace(cluster_name=cluster, auth=Auth.model_construct(), provider=self._block))

    @contextmanager
    def obstructed(self, call: str) -> Iterator[None]:
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def spoil_listing(self) -> None:
        sorted(self._records.glob("**/*.json"))[0].write_text('{"torn":')

    def settle(self) -> None:
        """Nothing lags here."""


class SimulatedSystem(System):
    """A world that lags, boots and stops slowly; kept in memory, or in a file that each controller reads anew."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._world = World(physics=Physics(listing_lag_s=30, boot_s=(20, 60), stop_s=10))
        if path:
            with opened(path, self._world):
                pass

    def provider(self, cluster: str = "demo") -> Provider:
        if self._path is None:
            return SimulatedProvider(cluster, {}, world=self._world)
        block = Block("simulated", {"world": str(self._path)})
        return provider_for(SimpleNamespace(cluster_name=cluster, auth=Auth.model_construct(), provider=block))

    @contextmanager
    def world(self) -> Iterator[World]:
        if self._path is None:
            yield self._world
            return
        with opened(self._path) as world:
            yield world

    @contextmanager
    def obstructed(self, call: str) -> Iterator[None]:
        with self.world() as world:
            world.fate(Fault(call, Harm.HANG))
        yield

    def spoil_listing(self) -> None:
        with self.world() as world:
            world.fate(Fault("list_nodes", message="the second page was lost"))

    def settle(self) -> None:
        with self.world() as world:
            world.advance(world.physics.listing_lag_s + world.physics.stop_s)

    def launch_without_reply(self, request: LaunchRequest) -> None:
        with self.world() as world:
            world.fate(Fault("launch", Harm.LOSE_REPLY))
        with suppress(ProviderError):
            self.provider().launch(request)


class DeclaredSystem(System):
    """Hosts of your own, each cluster's with names of their own: the contract's slots are their names."""

    def __init__(self, folder: Path) -> None:
        self._hosts = folder / "hosts"
        self._hosts.mkdir()
        self._reaches: list[FolderReach] = []

    def provider(self, cluster: str = "demo") -> Provider:
        names = [(f"{cluster}-head", "head"), *((f"{cluster}-worker-{number}", "worker") for number in range(6))]
        hosts = [{"name": name, "address": name, "type": kind, "head": kind == "head"} for name, kind in names]
        found = LocalProvider(cluster, {"hosts": hosts})
        self._reaches.append(FolderReach(self._hosts))
        found.__dict__["_reach"] = self._reaches[-1]
        return found

    @contextmanager
    def obstructed(self, call: str) -> Iterator[None]:
        """No host answers. How long that takes to be noticed is ssh's business, and tested with it."""
        off = self._hosts / "off"
        off.touch()
        yield
        off.unlink()

    def spoil_listing(self) -> None:
        host = FolderHost(self._hosts / "demo-worker-1")
        (private,) = host.folder.glob(".rayctl/demo/*/claim.json")
        private.write_text(private.read_text().replace('"version": 1', '"version": 99'))

    def settle(self) -> None:
        """What was learnt of hosts counts until it is forgotten, as between two operations."""
        for reach in self._reaches:
            reach.forget()
