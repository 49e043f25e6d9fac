# SPDX-License-Identifier: Apache-2.0
"""A cluster file together with what its provider says exists: the common ground of inventory, node action and operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from rayctl.config.load import Loaded, expand_local, load
from rayctl.config.model import ClusterConfig
from rayctl.providers.base import Kind, Node, Provider
from rayctl.providers.registry import provider_for
from rayctl.provision.mounts import Mount


@dataclass(frozen=True)
class Deployment:
    """One cluster as it is wanted (`config`) and as it is listed (`nodes`). `cluster_id` is None before its first `up`."""

    loaded: Loaded
    provider: Provider
    cluster_id: str | None
    nodes: tuple[Node, ...]

    @classmethod
    def load(cls, path: Path, overrides: Mapping[str, Any]) -> Self:
        """Read the file and ask the provider. Raises RayctlError."""
        loaded = load(path, **overrides)
        return cls.of(loaded, provider_for(loaded.config))

    @classmethod
    def of(cls, loaded: Loaded, provider: Provider) -> Self:
        """Ask the provider what there is."""
        cluster_id = provider.cluster_id()
        return cls(loaded, provider, cluster_id, tuple(provider.list_nodes()) if cluster_id else ())

    @property
    def config(self) -> ClusterConfig:
        """The wanted cluster."""
        return self.loaded.config

    def with_nodes(self, cluster_id: str, nodes: tuple[Node, ...]) -> Deployment:
        """The same cluster after a launch or a termination."""
        return replace(self, cluster_id=cluster_id, nodes=nodes)

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
            Mount(target, expand_local(source, folder), exclude, filters) for target, source in config.file_mounts.items()
        )


_latest: dict[tuple[str, str], Deployment] = {}


def remember(path: Path, overrides: Mapping[str, Any], deployment: Deployment) -> None:
    """Keep a deployment for the processes that Ansible forks from this one, so that each host need not read it again."""
    _latest[str(path), repr(sorted(overrides.items()))] = deployment


def recall(path: Path, overrides: Mapping[str, Any]) -> Deployment:
    """The deployment kept by `remember`, else a fresh one."""
    kept = _latest.get((str(path), repr(sorted(overrides.items()))))
    return kept or Deployment.load(path, overrides)
