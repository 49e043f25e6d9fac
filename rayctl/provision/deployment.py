# SPDX-License-Identifier: Apache-2.0
"""A cluster file together with what its provider says exists: the common ground of inventory, node action and operations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rayctl.config.load import Loaded, expand_local, load
from rayctl.config.model import ClusterConfig
from rayctl.errors import ProviderError
from rayctl.providers.base import DeclaresHosts, Kind, Node, Provider
from rayctl.providers.registry import provider_for
from rayctl.provision.mounts import Mount
from rayctl.provision.sources import declared
from rayctl.state import cluster, paths
from rayctl.transport.base import Transport
from rayctl.transport.connection import Connection
from rayctl.transport.reach import Reach


@dataclass(frozen=True)
class Deployment:
    """One cluster as it is wanted (`config`) and as it is listed (`nodes`). `cluster_id` is None before its first `up`."""

    loaded: Loaded
    provider: Provider
    cluster_id: str | None
    nodes: tuple[Node, ...]

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any]) -> Self:
        """What an inventory holds: the declared hosts, without network, or what the provider lists. Raises RayctlError."""
        loaded = load(path, **overrides)
        provider = provider_for(loaded.config, loaded.folder)
        if not isinstance(provider, DeclaresHosts):
            return cls.of(loaded, provider)
        known = cluster.load(paths.record_file(paths.home(os.environ), loaded.config.cluster_name))
        return cls(loaded, provider, known.cluster_id if known else None, tuple(provider.declared()))

    @classmethod
    def of(cls, loaded: Loaded, provider: Provider, *, head_only: bool = False) -> Self:
        """Ask the provider what there is; of declared hosts, only the head's if that is enough."""
        if head_only and isinstance(provider, DeclaresHosts):
            provider.ask_only_head()
        cluster_id = provider.cluster_id()
        return cls(loaded, provider, cluster_id, tuple(provider.list_nodes()) if cluster_id else ())

    @cached_property
    def reach(self) -> Reach:
        """How the nodes are reached; it remembers what was learnt of them."""
        if isinstance(self.provider, DeclaresHosts):
            return self.provider.reach
        folder = paths.cluster_dir(paths.home(os.environ), self.config.cluster_name)
        return Reach(folder, list(self._connections()))

    def _connections(self) -> Iterator[Connection]:
        for node in self.nodes:
            with suppress(ProviderError):  # nodes that take no commands
                yield self.provider.connection(node)

    def transport(self, node: Node) -> Transport:
        """How commands reach a node."""
        return self.reach.transport(self.provider.connection(node))

    def forget(self) -> None:
        """What was learnt of the nodes is old."""
        self.reach.forget()

    @property
    def config(self) -> ClusterConfig:
        """The wanted cluster."""
        return self.loaded.config

    @property
    def declares_hosts(self) -> bool:
        """Whether the machines are named in the file, and shared with whoever else may use them."""
        return isinstance(self.provider, DeclaresHosts)

    def with_identity(self, cluster_id: str) -> Deployment:
        """The same cluster, now that its identity is known."""
        return replace(self, cluster_id=cluster_id)

    def node(self, name: str) -> Node | None:
        """A node by its inventory host name."""
        return next((node for node in self.nodes if node.name == name), None)

    @property
    def head(self) -> Node | None:
        """The head that is alive, if any."""
        return next((node for node in self.nodes if node.kind is Kind.HEAD and node.state.alive), None)

    @property
    def workers(self) -> tuple[Node, ...]:
        """Workers that are alive, in the order of their names' numbers."""
        alive = (node for node in self.nodes if node.kind is Kind.WORKER and node.state.alive)
        return tuple(sorted(alive, key=lambda node: (len(node.name), node.name)))

    @cached_property
    def mounts(self) -> tuple[Mount, ...]:
        """The file mounts, with local paths expanded."""
        config, folder = self.config, self.loaded.path.parent
        exclude, filters = tuple(config.rsync_exclude), tuple(config.rsync_filter)
        return tuple(
            declared(target, expand_local(source, folder), exclude, filters) for target, source in config.file_mounts.items()
        )


_latest: dict[tuple[str, str], Deployment] = {}


def remember(path: Path, overrides: Mapping[str, Any], deployment: Deployment) -> None:
    """Keep a deployment for the processes that Ansible forks from this one, so that each host need not read it again."""
    _latest[str(path), repr(sorted(overrides.items()))] = deployment


def recall(path: Path, overrides: Mapping[str, Any]) -> Deployment:
    """The deployment kept by `remember`, else a fresh one."""
    kept = _latest.get((str(path), repr(sorted(overrides.items()))))
    return kept or Deployment.load(path, overrides)
