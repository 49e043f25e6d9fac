# SPDX-License-Identifier: Apache-2.0

"""A provider of your own, whole: machines are folders, and their commands run on this machine.

    provider:
        type: external
        module: external_provider.FolderProvider
        folder: ~/machines

Put your own inventory system in place of `folder`, and keep three things. The launch token is stored with the machine, in
the one step that makes it exist: a lost reply is found by it. Whoever changes something holds a lock, within the deadline.
And each machine that is asked about gets an answer of its own.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rayctl.errors import Category, ProviderError
from rayctl.node import processes
from rayctl.providers.base import (
    DEADLINE_S,
    Addresses,
    Connection,
    Kind,
    LaunchRequest,
    LaunchResult,
    Node,
    NodeState,
    Provider,
)


class FolderProvider(Provider):
    """Machines are sub-folders of `folder`/<cluster>, each with a file that says what the machine is."""

    def __init__(self, cluster_name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(cluster_name, settings)
        self._home = Path(settings["folder"]).expanduser() / cluster_name
        self._identity = self._home / "cluster_id"

    def cluster_id(self, *, deadline_s: float = DEADLINE_S) -> str | None:
        """The text of one file, if it is there."""
        return self._identity.read_text() if self._identity.exists() else None

    def bootstrap(self, cluster_id: str, *, deadline_s: float = DEADLINE_S) -> str:
        """The first to come wins, and all others are told who it was."""
        with self._lock(deadline_s):
            if not self._identity.exists():
                _write(self._identity, cluster_id)
            return self._identity.read_text()

    def list_nodes(self, *, deadline_s: float = DEADLINE_S) -> list[Node]:
        """Every machine, or an error: one that cannot be read is not left out."""
        return [_read(path) for path in sorted(self._home.glob("*/machine.json"))]

    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        """A machine per slot; a slot whose token is known gets the machine that it made then."""
        with self._lock(deadline_s):
            if self.cluster_id() is None:
                raise ProviderError(Category.INVALID, f"there is no cluster {self.cluster_name}")
            nodes = {node.launch_token: node for node in self.list_nodes()}
            names = {node.name for node in nodes.values()}
            for slot in request.slots:
                if slot.token not in nodes and slot.name not in names:
                    nodes[slot.token] = _machine(slot.name, slot.token, request)
                    self._save(nodes[slot.token])
        launched = tuple(nodes[slot.token] for slot in request.slots if slot.token in nodes)
        missing = len(request.slots) - len(launched)
        error = ProviderError(Category.INVALID, f"{missing} of the names are taken") if missing else None
        return LaunchResult(launched, missing, error)

    def terminate(self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Mapping[str, ProviderError | None]:
        """End what runs on these machines and remove their folders; those that are gone already are simply gone."""
        results: dict[str, ProviderError | None] = dict.fromkeys(ids)
        with self._lock(deadline_s):
            for node in self._among(ids):
                mark = f"{self.cluster_id()}/{node.name}"
                if processes.stop(mark, variables=(processes.RAY, processes.STEP)):
                    results[node.id] = ProviderError(Category.TRANSIENT, f"processes of {node.name} do not end")
                else:
                    shutil.rmtree(self._home / node.name)
        return results

    def set_tags(
        self, ids: Sequence[str], tags: Mapping[str, str], *, deadline_s: float = DEADLINE_S
    ) -> Mapping[str, ProviderError | None]:
        """Written into each machine's file."""
        unknown = ProviderError(Category.INVALID, f"no such machine in cluster {self.cluster_name}")
        results: dict[str, ProviderError | None] = dict.fromkeys(ids, unknown)
        with self._lock(deadline_s):
            for node in self._among(ids):
                self._save(replace(node, tags={**node.tags, **tags}))
                results[node.id] = None
        return results

    def connection(self, node: Node) -> Connection:
        """Here, beside the machine's file."""
        return Connection(kind="local", address="127.0.0.1", state_dir=str(self._home / node.name / "state"))

    def teardown(self, *, purge: bool = False, deadline_s: float = DEADLINE_S) -> None:
        """Remove the cluster's folder, which must hold no machine any more."""
        with self._lock(deadline_s):
            if self.list_nodes():
                raise ProviderError(Category.INVALID, f"cluster {self.cluster_name} still has machines")
            shutil.rmtree(self._home, ignore_errors=True)

    def _among(self, ids: Sequence[str]) -> list[Node]:
        return [node for node in self.list_nodes() if node.id in ids]

    def _save(self, node: Node) -> None:
        _write(self._home / node.name / "machine.json", json.dumps(asdict(node)))

    @contextmanager
    def _lock(self, deadline_s: float) -> Iterator[None]:
        path = self._home.with_name(f".{self.cluster_name}.lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        end = time.monotonic() + deadline_s
        with path.open("w") as lock:
            while not _taken(lock.fileno()):
                if time.monotonic() > end:
                    raise ProviderError(Category.TRANSIENT, f"{path} was locked for all of {deadline_s:g} s")
                time.sleep(0.02)
            yield


def _machine(name: str, token: str, request: LaunchRequest) -> Node:
    return Node(
        id=f"folder-{token}",
        name=name,
        kind=request.kind,
        type=request.type,
        state=NodeState.RUNNING,
        launch_token=token,
        addresses=Addresses(internal="127.0.0.1"),
        resources=dict(request.resources),
        labels=dict(request.labels),
        tags=dict(request.tags),
        launch_digest=request.launch_digest,
        launched_at=time.time(),
    )


def _read(path: Path) -> Node:
    try:
        data = json.loads(path.read_text())
        address = Addresses(**data.pop("addresses"))
        return Node(**{**data, "kind": Kind(data["kind"]), "state": NodeState(data["state"]), "addresses": address})
    except (OSError, ValueError, LookupError, TypeError) as problem:
        raise ProviderError(Category.TRANSIENT, f"{path} cannot be read: {problem}") from problem


def _taken(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    """Atomically: a reader meets the old text or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)
