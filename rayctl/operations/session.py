# SPDX-License-Identifier: Apache-2.0
"""What all operations begin with: the cluster file, its provider, this controller's memory, and the right to write."""

from __future__ import annotations

import os
import shlex
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from rayctl.config.load import Loaded, load
from rayctl.config.model import ClusterConfig
from rayctl.errors import ConfigError
from rayctl.events import Bus, EventKind
from rayctl.operations import unbuilt
from rayctl.operations.leases import Overtaken, seen_on, store_on
from rayctl.providers.base import DeclaresHosts, Node, Provider
from rayctl.providers.registry import provider_for
from rayctl.provision.deployment import Deployment
from rayctl.state import cluster, holder, keeper, lease, lock, paths, private
from rayctl.transport.base import Transport
from rayctl.transport.hostkeys import Pinned

if TYPE_CHECKING:
    from rayctl.provision.ansible_process import AnsibleProcess

T = TypeVar("T")


@dataclass
class _Writer:
    """What an operation that writes holds until its end."""

    lease_stack: ExitStack
    token: lease.LeaseToken
    timeout_s: float
    keeper: keeper.LeaseKeeper | None = None


@dataclass
class Session:
    """One operation on one cluster. `overrides` are the flags that change what the file says.

    `head_only`: the operation has to do with the head alone, so no other host is asked. `exit_code` is that of a command it
    ran. `ansible_ahead` loads itself for the first play; who gives one ends it.
    """

    operation: str
    overrides: Mapping[str, Any]
    loaded: Loaded
    provider: Provider
    bus: Bus
    root: Path
    head_only: bool = False
    exit_code: int = 0
    ansible_ahead: AnsibleProcess | None = None
    _deployment: Deployment | None = None
    _held: ExitStack = field(default_factory=ExitStack)
    _writer: _Writer | None = None

    @classmethod
    def open(cls, operation: str, path: Path, overrides: Mapping[str, Any], bus: Bus) -> Self:
        """Read the file. Raises RayctlError."""
        given = {key: value for key, value in overrides.items() if value is not None}
        return cls.of(operation, load(path, **given), given, bus)

    @classmethod
    def of(cls, operation: str, loaded: Loaded, overrides: Mapping[str, Any], bus: Bus, *, head_only: bool = False) -> Self:
        """The same for a file that was read already."""
        for problem in loaded.warnings:
            where = f"{loaded.path}:{problem.line}: " if problem.line else ""
            bus.emit(EventKind.WARNING, text=f"{where}{problem.message}", hint=problem.hint)
        provider = provider_for(loaded.config, loaded.folder)
        return cls(operation, overrides, loaded, provider, bus, paths.home(os.environ), head_only)

    @property
    def config(self) -> ClusterConfig:
        """What the file says."""
        return self.loaded.config

    @property
    def name(self) -> str:
        """The cluster's name."""
        return self.config.cluster_name

    @property
    def deployment(self) -> Deployment:
        """The cluster as its provider lists it; it is asked at the first use. Raises RayctlError."""
        if self._deployment is None:
            before = self.host_keys()
            self._deployment = Deployment.of(self.loaded, self.provider, head_only=self.head_only)
            for name, key in self.host_keys().items():
                if key != before.get(name) and not key.verified:
                    self.bus.emit(EventKind.FIRST_CONTACT, name, key=str(key))
        return self._deployment

    def host_keys(self) -> Mapping[str, Pinned]:
        """Host keys that were believed at first contact, by the host's name."""
        return self.provider.reach.pinned() if isinstance(self.provider, DeclaresHosts) else {}

    def command(self, verb: str, *words: str) -> str:
        """The command line that does `verb` to this cluster, fit for a shell."""
        name = ["-n", self.name] if "cluster_name" in self.overrides else []
        return shlex.join(["rayctl", verb, str(self.loaded.path), *name, *words])

    def refresh(self, *, silent: bool = False) -> None:
        """Ask the provider again, at the next use; with `silent` also about hosts that did not answer."""
        if self._deployment is not None:
            self._deployment.forget()
        if silent and isinstance(self.provider, DeclaresHosts):
            self.provider.reach.forget(silent=True)
        self.list_again()

    def list_again(self) -> None:
        """The same after a change of ours: of hosts that it was not about, what they told stands."""
        self._deployment = None

    # ---- Ansible
    def expect_play(self) -> None:
        """Let Ansible load itself while the rest is found out."""
        from rayctl.provision.ansible_process import AnsibleProcess

        self.ansible_ahead = self.ansible_ahead or self._held.enter_context(closing(AnsibleProcess()))

    def ansible(self) -> AnsibleProcess:
        """One that is fit for a play. It may still be about to end when the play is over; `close` waits for that."""
        self.expect_play()
        taken, self.ansible_ahead = self.ansible_ahead, None
        assert taken is not None
        return taken

    def folder(self) -> Path:
        """A folder of its own, private, that lasts as long as the session."""
        return Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="rayctl-")))

    def close(self) -> None:
        """End what is held open, to hosts too; connections that others may use stay."""
        self._held.close()
        if self._deployment is not None:
            self._deployment.reach.close()

    def refuse_what_is_not_built(self) -> None:
        """Before anything is touched: blocks of the file that this version does not act on."""
        unbuilt.refuse(self.config)

    def require_local_files(self) -> None:
        """What `validate` only warns of must be there before nodes are changed."""
        if problems := self.loaded.local_problems():
            raise ConfigError(str(self.loaded.path), problems)

    def transport(self, node: Node) -> Transport:
        """How commands reach a node."""
        return self.deployment.transport(node)

    def mark(self, node: Node) -> str:
        """The marker of a node's own processes."""
        return f"{self.deployment.cluster_id}/{node.name}"

    # ---- one writer
    @contextmanager
    def one_writer(self, timeout_s: float, *, accept_other: bool = False) -> Iterator[None]:
        """Hold the cluster on this controller while the block runs. Who changes something takes the lease on the head too.

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
            self._let_others_finish()
            yield

    def take_lease(self) -> None:
        """Take the lease that lies on the head, once there is a head. Making one is a compare-and-set of the provider's.

        Raises `Overtaken`, the lease in hand, when others wrote since the provider was asked: what was planned then is void.
        """
        head, writer = self.deployment.head, self._writer
        if head is None or writer is None or writer.keeper is not None:
            return
        me = holder.myself(self._owner_text, controller=holder.controller_id(paths.controller_file(self.root)))
        before = seen_on(self.deployment, head)
        store = store_on(self.deployment, head, before)
        writer.keeper = writer.lease_stack.enter_context(
            keeper.keep(store, me, writer.token, timeout_s=writer.timeout_s, on_wait=self._waits, on_lost=self._lost)
        )
        if writer.keeper.lease.generation > before.generation + 1 or lease.stands(before):
            raise Overtaken

    def replanned(self, act: Callable[[], T]) -> T:
        """Plan and do. What was planned while somebody else wrote is planned again; from then on the lease is ours."""
        try:
            return act()
        except Overtaken:
            self.refresh()
            return act()

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

    def _let_others_finish(self) -> None:
        """Where another writer is at work there is nothing to be planned before it is done."""
        head = self.deployment.head
        if head is not None and lease.stands(seen_on(self.deployment, head)):
            try:
                self.take_lease()
            except Overtaken:
                self.refresh()

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
        """Store it. A token of the cluster that was known before is of no use to another one."""
        path = paths.record_file(self.root, self.name)
        known = cluster.load(path)
        if known is not None and known.cluster_id != record.cluster_id and isinstance(self.provider, DeclaresHosts):
            paths.token_file(self.root, self.name).unlink(missing_ok=True)
        cluster.save(path, record)
