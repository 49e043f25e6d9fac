# SPDX-License-Identifier: Apache-2.0
"""What is stored of embedded clusters: their identity and a record per node.

<home>/embedded/
    .logs/<cluster>/<id>/  step logs of nodes that are gone
    <cluster>/
        cluster.json       the cluster's identity
        nodes/<name>.json  a node's record: it exists as long as this file
        nodes/<name>/      the node's own folder, with the runner's state

Addresses and ports are shared by all of a user's clusters on this machine, also by those of other homes (RAYCTL_HOME). So
the lock lies beside the nodes' temporary folders, in /tmp/rayctl-<uid>, and so does a link to each home.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rayctl.errors import Category, ProviderError
from rayctl.providers.base import Addresses, Kind, Node, NodeState
from rayctl.providers.embedded import scratch
from rayctl.state import files, paths
from rayctl.state.private import open_lock

VERSION = 1
CLUSTER, NODE = "embedded-cluster", "embedded-node"
LOGS_KEPT = 20  # nodes per cluster


@dataclass(frozen=True)
class Record:
    """One node. `number` ends its address, `first_port` begins its block, `scratch` is the path of Ray's temporary folder."""

    id: str
    name: str
    node_kind: str
    type: str
    token: str
    number: int
    first_port: int
    scratch: str
    launched_at: float
    stopping: bool = False
    launch_digest: str = ""
    resources: dict[str, float] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def node(self) -> Node:
        """The record as the contract tells it."""
        return Node(
            id=self.id,
            name=self.name,
            kind=Kind(self.node_kind),
            type=self.type,
            state=NodeState.STOPPING if self.stopping else NodeState.RUNNING,
            launch_token=self.token,
            addresses=Addresses(internal=f"127.0.0.{self.number}"),
            resources=self.resources,
            labels=self.labels,
            tags=self.tags,
            launch_digest=self.launch_digest,
            launched_at=self.launched_at,
        )


@dataclass(frozen=True)
class _Cluster:
    cluster_id: str
    name: str


class Records:
    """The stored records of one cluster, and what must be known of its neighbours. `root` is rayctl's home."""

    def __init__(self, root: Path, cluster: str) -> None:
        self._cluster = cluster
        self._folder = paths.embedded_dir(root, cluster)
        self._all = self._folder.parent
        self._file = self._folder / "cluster.json"
        self._nodes = self._folder / "nodes"
        self._logs = self._all / ".logs" / cluster

    @contextmanager
    def locked(self, deadline_s: float) -> Iterator[None]:
        """Keep all other writers out. Raises `ProviderError` (transient) when they do not let us in within the deadline."""
        path = scratch.base() / ".lock"
        descriptor = open_lock(path)
        try:
            _lock(descriptor, path, deadline_s)
            self._be_known()
            yield
        finally:
            os.close(descriptor)

    def cluster_id(self) -> str | None:
        """The identity; None when there is no such cluster."""
        data = files.read(self._file, CLUSTER, VERSION)
        return None if data is None else files.parse(self._file, _Cluster, data).cluster_id

    def found(self, cluster_id: str) -> None:
        """Store the identity; does nothing where there is one."""
        files.create(self._file, CLUSTER, VERSION, asdict(_Cluster(cluster_id, self._cluster)))

    def nodes(self) -> list[Record]:
        """All records of this cluster."""
        return _read(self._nodes)

    def everywhere(self) -> list[Record]:
        """The records of all embedded clusters of this user on this machine."""
        homes = {self._all.resolve(), *(link.resolve() for link in scratch.base().glob(".home-*"))}
        folders = sorted(folder for home in homes if home.is_dir() for folder in home.glob("[!.]*/nodes"))
        return [record for folder in folders for record in _read(folder)]

    def _be_known(self) -> None:
        """Let clusters of other homes see what is taken here; forget homes that are gone."""
        for known in scratch.base().glob(".home-*"):
            if not known.exists():
                known.unlink(missing_ok=True)
        link = scratch.base() / f".home-{uuid.uuid5(uuid.NAMESPACE_URL, str(self._all)).hex}"
        with suppress(FileExistsError):
            link.symlink_to(self._all)

    def save(self, record: Record) -> None:
        """Write a record, new or changed."""
        files.write(self._nodes / f"{record.name}.json", NODE, VERSION, asdict(record))

    def state_dir(self, name: str) -> Path:
        """Where the runner of a node keeps its state."""
        return self._nodes / name / "state"

    def make_state_dir(self, name: str) -> None:
        """Make the node's own folder and the state folder in it."""
        files.private_dir(self.state_dir(name))

    def forget(self, record: Record) -> None:
        """Keep the node's step logs, remove its folder, and its record last: until then it is still to be ended."""
        self._keep_logs(record)
        with suppress(FileNotFoundError):
            shutil.rmtree(self._nodes / record.name)
        (self._nodes / f"{record.name}.json").unlink(missing_ok=True)

    def remove(self, *, logs: bool) -> None:
        """Remove the cluster; its logs too, if wanted."""
        for folder in (self._folder, self._logs) if logs else (self._folder,):
            with suppress(FileNotFoundError):
                shutil.rmtree(folder)

    def _keep_logs(self, record: Record) -> None:
        logs = [log for log in self.state_dir(record.name).glob("**/*.log") if not log.is_symlink()]
        if not logs:
            return
        kept = files.private_dir(self._logs / record.id)
        for log in logs:
            shutil.copyfile(log, kept / log.name)
        by_age = sorted(self._logs.iterdir(), key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
        for folder in by_age[LOGS_KEPT:]:
            shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> list[Record]:
    documents = ((path, files.read(path, NODE, VERSION)) for path in sorted(folder.glob("*.json")))
    # a file that was there a moment ago is a node that ended meanwhile
    return [files.parse(path, Record, data) for path, data in documents if data is not None]


def _lock(descriptor: int, path: Path, deadline_s: float) -> None:
    end = time.monotonic() + deadline_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                raise ProviderError(
                    Category.TRANSIENT,
                    f"another rayctl of yours held {path} for all of {deadline_s:g} s",
                    hint=f"See which: fuser {path}",
                ) from None
            time.sleep(0.02)
        else:
            return
