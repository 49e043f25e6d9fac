# SPDX-License-Identifier: Apache-2.0
"""The provider contract for nodes on this machine.

Every change happens under one lock and ends with a record on disk, so that a killed rayctl leaves nothing that the next
one does not see. Ending processes takes seconds and happens outside the lock, with the node marked as stopping.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from rayctl.errors import Category, ProviderError, RayctlError
from rayctl.node import processes
from rayctl.providers.base import DEADLINE_S, Connection, Kind, LaunchRequest, LaunchResult, Node, Provider, Slot
from rayctl.providers.embedded import ports, scratch
from rayctl.providers.embedded.records import Record, Records
from rayctl.state import paths

GRACE_S = 5.0
FIRST_NUMBER = 2  # 127.0.0.1 is everyone's
AT_ONCE = 8


class EmbeddedProvider(Provider):
    """Nodes that are marked processes on this machine.

    Settings: `python`, the interpreter whose folder holds `ray` (default: the one that runs rayctl).
    """

    listing_every_s = 0.5  # a few files are read

    def __init__(self, cluster_name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(cluster_name, settings)
        self._records = Records(paths.home(os.environ), cluster_name)

    def cluster_id(self, *, deadline_s: float = DEADLINE_S) -> str | None:  # noqa: ARG002  a file is read, nothing waits
        """See `Provider`."""
        return self._records.cluster_id()

    def bootstrap(self, cluster_id: str, *, deadline_s: float = DEADLINE_S) -> str:
        """See `Provider`."""
        with self._records.locked(deadline_s):
            self._records.found(cluster_id)
            return self._records.cluster_id() or cluster_id

    def list_nodes(self, *, deadline_s: float = DEADLINE_S) -> list[Node]:  # noqa: ARG002  files are read, nothing waits
        """See `Provider`. Raises `StateRefused` for a record that cannot be trusted."""
        return [record.node() for record in self._records.nodes()]

    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        """See `Provider`."""
        nodes: list[Node] = []
        error: ProviderError | None = None
        with self._records.locked(deadline_s):
            cluster_id = self._identity()
            for slot in request.slots:
                try:
                    nodes.append(self._claim(slot, request, cluster_id).node())
                except ProviderError as problem:
                    error = problem
        return LaunchResult(tuple(nodes), len(request.slots) - len(nodes), error)

    def terminate(self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Mapping[str, ProviderError | None]:
        """See `Provider`. Ends the node's runner and all its processes, then removes its folders and its record."""
        end = time.monotonic() + deadline_s
        doomed = self._change(ids, lambda record: replace(record, stopping=True), deadline_s)
        results: dict[str, ProviderError | None] = dict.fromkeys(ids)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            ended = pool.map(lambda record: self._end(record, end), doomed.values())
            results.update(zip(doomed, ended, strict=True))
        return results

    def set_tags(
        self, ids: Sequence[str], tags: Mapping[str, str], *, deadline_s: float = DEADLINE_S
    ) -> Mapping[str, ProviderError | None]:
        """See `Provider`."""
        changed = self._change(ids, lambda record: replace(record, tags={**record.tags, **tags}), deadline_s)
        return {id: None if id in changed else self._unknown(id) for id in ids}

    def connection(self, node: Node) -> Connection:
        """See `Provider`. PATH begins with the interpreter's own folder as it was named: a virtual environment is a symlink."""
        python = self._python()
        return Connection(
            kind="local",
            address=node.addresses.internal if node.addresses else "127.0.0.1",
            state_dir=str(self._records.state_dir(node.name)),
            env=ports.variables(self._record_of(node).first_port) if node.kind is Kind.HEAD else {},
            path_prefix=(str(Path(python).parent),),
            python=(python,),
        )

    def teardown(self, *, purge: bool = False, deadline_s: float = DEADLINE_S) -> None:
        """See `Provider`. Refused (invalid) while nodes are left; `purge` also removes the step logs of nodes that ended."""
        with self._records.locked(deadline_s):
            if left := self._records.nodes():
                names = ", ".join(record.name for record in left)
                raise ProviderError(Category.INVALID, f"cluster {self.cluster_name} still has nodes: {names}")
            self._records.remove(logs=purge)

    def start_flags(self, node: Node) -> Mapping[str, str]:
        """See `Provider`: the node's own address, temporary folder and ports.

        Ray opens its temporary folder to all users, so it gets one inside of the node's own, which stays closed. That one is
        made anew where a reboot emptied /tmp.
        """
        record = self._record_of(node)
        scratch.make(Path(record.scratch))
        address = {"node-ip-address": f"127.0.0.{record.number}", "temp-dir": f"{record.scratch}/ray"}
        return address | ports.flags(record.first_port, head=node.kind is Kind.HEAD)

    def _record_of(self, node: Node) -> Record:
        record = next((record for record in self._records.nodes() if record.id == node.id), None)
        if record is None:
            raise self._unknown(node.id)
        return record

    def _claim(self, slot: Slot, request: LaunchRequest, cluster_id: str) -> Record:
        """The slot's record: the one there is, or a new one. Its folders come after it, so that none is without a record."""
        mine = self._records.nodes()
        record = next((record for record in mine if record.token == slot.token), None)
        if record is None:
            self._check_name(slot.name, mine)
            record = self._allot(slot, request, cluster_id)
            self._records.save(record)
        if not record.stopping:
            scratch.make(Path(record.scratch))
            self._records.make_state_dir(record.name)
        return record

    def _check_name(self, name: str, mine: list[Record]) -> None:
        if not paths.SAFE_NAME.fullmatch(name) or name.endswith(".json"):
            raise ProviderError(Category.INVALID, f"{name!r} cannot be a node's name: it is a folder's name too")
        if any(record.name == name for record in mine):
            raise ProviderError(
                Category.INVALID,
                f"there is already a node {name} in cluster {self.cluster_name}, launched with another token",
                hint="Terminate it first, or launch under another name.",
            )

    def _allot(self, slot: Slot, request: LaunchRequest, cluster_id: str) -> Record:
        neighbours = self._records.everywhere()
        numbers = {record.number for record in neighbours}
        number = next(number for number in range(FIRST_NUMBER, 255) if number not in numbers)
        return Record(
            id=f"{slot.name}.{secrets.token_hex(4)}",
            name=slot.name,
            node_kind=request.kind.value,
            type=request.type,
            token=slot.token,
            number=number,
            first_port=_free_block({record.first_port for record in neighbours}),
            scratch=str(scratch.folder(cluster_id, number)),
            launched_at=time.time(),
            launch_digest=request.launch_digest,
            resources=dict(request.resources),
            labels=dict(request.labels),
            tags=dict(request.tags),
        )

    def _change(self, ids: Sequence[str], change: Callable[[Record], Record], deadline_s: float) -> dict[str, Record]:
        """Change the records with these ids; returns them by id. Unknown ids are left out."""
        with self._records.locked(deadline_s):
            changed = {record.id: change(record) for record in self._records.nodes() if record.id in ids}
            for record in changed.values():
                self._records.save(record)
        return changed

    def _end(self, record: Record, end: float) -> ProviderError | None:
        try:
            self._stop(record, end)
            self._remove(record, end)
        except ProviderError as problem:
            return problem
        except RayctlError as problem:
            return ProviderError(Category.INVALID, f"{record.name}: {problem.message}", hint=problem.hint)
        except OSError as problem:
            return ProviderError(Category.TRANSIENT, f"{record.name}: {problem.filename}: {problem.strerror}")
        return None

    def _stop(self, record: Record, end: float) -> None:
        """End the runner first, or it would start anew what is ended."""
        from rayctl.node.control import stop_runner  # noqa: PLC0415
        from rayctl.node.state import NodeError  # noqa: PLC0415

        if time.monotonic() >= end:
            raise ProviderError(Category.TRANSIENT, f"no time was left to end {record.name}")
        try:
            stop_runner(str(self._records.state_dir(record.name)), _grace(end))
        except NodeError as problem:
            raise ProviderError(Category.INVALID, f"{record.name}: {problem}") from None
        mark = f"{self._identity()}/{record.name}"
        left = processes.stop(mark, grace_s=_grace(end), variables=(processes.RAY, processes.STEP))
        if left:
            those = ", ".join(f"{process.name} ({process.pid})" for process in left)
            raise ProviderError(Category.TRANSIENT, f"these processes of {record.name} do not end: {those}")

    def _remove(self, record: Record, end: float) -> None:
        """Forget the node, unless another call did: its number and its folders may be a new node's by now."""
        with self._records.locked(max(1.0, end - time.monotonic())):
            if any(known.id == record.id for known in self._records.nodes()):
                scratch.remove(Path(record.scratch))
                self._records.forget(record)

    def _identity(self) -> str:
        cluster_id = self._records.cluster_id()
        if cluster_id is None:
            raise ProviderError(Category.INVALID, f"there is no embedded cluster {self.cluster_name}", hint="Run `rayctl up`.")
        return cluster_id

    def _unknown(self, id: str) -> ProviderError:
        return ProviderError(Category.INVALID, f"cluster {self.cluster_name} has no node with the id {id}")

    def _python(self) -> str:
        given = self.settings.get("python")
        if not given:
            return sys.executable
        found = shutil.which(Path(given).expanduser())
        if found is None:
            raise ProviderError(Category.INVALID, f"provider.python: {given} is no program on this machine")
        return str(Path(found).absolute())


def _free_block(taken: set[int]) -> int:
    ephemeral = ports.ephemeral_range()
    first = ports.choose(ports.blocks(ephemeral, uid=os.geteuid()), taken)
    if first is None:
        low, high = ephemeral
        raise ProviderError(
            Category.CAPACITY,
            f"no {ports.SIZE} ports in a row are free between {ports.LOWEST} and {ports.HIGHEST} (outside of {low}-{high}, "
            "which the kernel gives to outgoing connections)",
            hint="End other embedded nodes, or narrow net.ipv4.ip_local_port_range.",
        )
    return first


def _grace(end: float) -> float:
    return max(0.0, min(GRACE_S, end - time.monotonic()))
