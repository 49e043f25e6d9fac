# SPDX-License-Identifier: Apache-2.0
"""What all operations begin with: the cluster file, its provider, this controller's memory, and the right to write."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rayctl.config.load import Loaded, load
from rayctl.errors import ConfigError, Refused
from rayctl.events import Bus, EventKind
from rayctl.providers.base import Node
from rayctl.providers.registry import provider_for
from rayctl.provision.deployment import Deployment
from rayctl.state import cluster, holder, keeper, lease, lock, paths, private
from rayctl.transport.connection import Connection
from rayctl.transport.local import LocalTransport


@dataclass
class _Writer:
    """What an operation that writes holds until its end."""

    lease_stack: ExitStack
    token: lease.LeaseToken
    timeout_s: float
    keeper: keeper.LeaseKeeper | None = None


@dataclass
class Session:
    """One operation on one cluster. `overrides` are the flags that change what the file says."""

    operation: str
    overrides: Mapping[str, Any]
    deployment: Deployment
    bus: Bus
    root: Path
    _writer: _Writer | None = None

    @classmethod
    def open(cls, operation: str, path: Path, overrides: Mapping[str, Any], bus: Bus) -> Self:
        """Read the file, ask the provider. Raises RayctlError."""
        given = {key: value for key, value in overrides.items() if value is not None}
        return cls.of(operation, load(path, **given), given, bus)

    @classmethod
    def of(cls, operation: str, loaded: Loaded, overrides: Mapping[str, Any], bus: Bus) -> Self:
        """The same for a file that was read already."""
        for problem in loaded.warnings:
            where = f"{loaded.path}:{problem.line}: " if problem.line else ""
            bus.emit(EventKind.WARNING, text=f"{where}{problem.message}", hint=problem.hint)
        return cls(operation, overrides, Deployment.of(loaded, provider_for(loaded.config)), bus, paths.home(os.environ))

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.deployment.config.cluster_name

    @property
    def loaded(self) -> Loaded:
        """The file."""
        return self.deployment.loaded

    def command(self, verb: str, *words: str) -> str:
        """The command line that does `verb` to this cluster, fit for a shell."""
        name = ["-n", self.name] if "cluster_name" in self.overrides else []
        return shlex.join(["rayctl", verb, str(self.loaded.path), *name, *words])

    def refresh(self) -> None:
        """Ask the provider again."""
        self.deployment = Deployment.of(self.loaded, self.deployment.provider)

    def refuse_what_is_not_built(self) -> None:
        """Before anything is touched: blocks of the file that this version does not act on."""
        if self.deployment.config.docker and uses_docker(self.loaded):
            raise Refused(
                "the `docker` block is not built yet: this rayctl runs commands on the nodes themselves; nothing was touched.",
                hint="Remove the block, or leave its image empty.",
            )

        if self.deployment.config.provider.type == "simulated":
            raise Refused(
                "simulated machines take no commands: they are for listings and for trying out plans; nothing was touched."
            )
        if self.deployment.config.auth.become and self.deployment.config.provider.type == "embedded":
            raise Refused(
                "auth.become is not for embedded nodes: they are this machine, and steps run as you; nothing was touched.",
                hint="Remove auth.become, and use sudo in the commands that need it.",
            )

    def require_local_files(self) -> None:
        """What `validate` only warns of must be there before nodes are changed."""
        if problems := self.loaded.local_problems():
            raise ConfigError(str(self.loaded.path), problems)

    def transport(self, node: Node) -> LocalTransport:
        """How commands reach a node."""
        return transport_to(self.deployment.provider.connection(node))

    def mark(self, node: Node) -> str:
        """The marker of a node's own processes."""
        return f"{self.deployment.cluster_id}/{node.name}"

    # ---- one writer
    @contextmanager
    def one_writer(self, timeout_s: float, *, accept_other: bool = False) -> Iterator[None]:
        """Hold the cluster on this controller while the block runs, and its lease on the head as soon as there is one.

        Raises `Refused` when it is another cluster than the one that was met under this name, unless `accept_other`.
        """
        # never one from the environment: what set it there may be a step of another cluster
        token = lease.LeaseToken.new()
        private.private_dir(self.root)  # before anything is made in a folder that cannot be trusted
        with ExitStack() as stack:
            stack.enter_context(
                lock.hold(
                    paths.lock_file(self.root, self.name), owner_text=self._owner_text,
                    timeout_s=timeout_s, on_wait=self._waits, token=token.value,
                )
            )  # fmt: skip
            self._writer = _Writer(stack.enter_context(ExitStack()), token, timeout_s)
            self.refresh()
            self._recognise(accept_other)
            self.take_lease()
            yield

    def take_lease(self) -> None:
        """Take the lease that lies on the head, once there is a head. Making one is a compare-and-set of the provider's."""
        head, writer = self.deployment.head, self._writer
        if head is None or writer is None or writer.keeper is not None:
            return
        me = holder.myself(self._owner_text, controller=holder.controller_id(paths.controller_file(self.root)))
        store = lease.FileLeaseStore(Path(self.deployment.provider.connection(head).state_dir) / "lease.json")
        writer.keeper = writer.lease_stack.enter_context(
            keeper.keep(store, me, writer.token, timeout_s=writer.timeout_s, on_wait=self._waits, on_lost=self._lost)
        )

    def check_lease(self) -> None:
        """Raise `Busy` when the right to change the cluster was lost; whoever changes something asks before."""
        if self._writer is not None and self._writer.keeper is not None:
            self._writer.keeper.check()

    def give_lease_back(self, *, keep: bool) -> None:
        """Before the head goes, so that nobody renews a lease in a folder that is being removed."""
        writer = self._writer
        if not keep and writer is not None:
            writer.lease_stack.close()
            writer.keeper = None

    @property
    def _owner_text(self) -> str:
        return f"rayctl {self.operation} {self.name}"

    def _waits(self, other: holder.Holder) -> None:
        self.bus.emit(EventKind.NOTICE, text=f"waiting for {other}")

    def _lost(self, why: str) -> None:
        self.bus.emit(EventKind.ERROR, text=f"the lease on the cluster was lost: {why}")

    # ---- this controller's memory
    def record(self, cluster_id: str, *, accept_other: bool = False) -> cluster.ClusterRecord:
        """What this controller knows of the cluster, after the provider told its identity. Raises `Refused` for another's."""
        path = paths.record_file(self.root, self.name)
        now = cluster.ClusterRecord(self.name, cluster_id, str(self.loaded.path.resolve()), time.time())
        known = cluster.load(path)
        if known is not None and not self.deployment.cluster_id:
            known = replace(known, cluster_id=cluster_id)  # the old one was taken down elsewhere; its numbers stay taken
        return cluster.recognise(known, now, accept_other=accept_other)

    def _recognise(self, accept_other: bool) -> None:
        if (cluster_id := self.deployment.cluster_id) is None:
            return
        record = self.record(cluster_id, accept_other=accept_other)
        if record != cluster.load(paths.record_file(self.root, self.name)):
            self.remember(record)

    def remember(self, record: cluster.ClusterRecord) -> None:
        """Store it."""
        cluster.save(paths.record_file(self.root, self.name), record)


def transport_to(connection: Connection) -> LocalTransport:
    """The transport of a connection."""
    if connection.kind != "local":
        raise Refused(f"nodes reached by {connection.kind!r} are not built yet; nothing was touched.")
    return LocalTransport(connection)


def uses_docker(loaded: Loaded) -> bool:
    """Whether any node would run its commands in a container: a block without any image is none."""
    docker = loaded.config.docker
    return docker is not None and bool(docker.image or docker.head_image or docker.worker_image)
