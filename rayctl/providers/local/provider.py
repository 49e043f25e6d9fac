# SPDX-License-Identifier: Apache-2.0
"""The provider contract for declared hosts.

A host that does not answer is in no listing: nobody can tell whose it is. It is named by `silent`, holds up nobody, and is
a node again as soon as it answers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, TypeVar

from rayctl.errors import Category, ProviderError, RayctlError, Refused, Unreachable
from rayctl.providers.base import (
    DEADLINE_S,
    Connection,
    DeclaresHosts,
    Kind,
    LaunchRequest,
    LaunchResult,
    Node,
    Provider,
    Slot,
    Standing,
)
from rayctl.providers.local import claims
from rayctl.providers.local.hosts import Host
from rayctl.state import paths
from rayctl.transport.glance import Claim, Glance
from rayctl.transport.reach import Reach
from rayctl.transport.ssh import SshTransport

AT_ONCE = 64
T = TypeVar("T")


class LocalProvider(Provider, DeclaresHosts):
    """Hosts that the cluster file names. Settings: `hosts`, as the file's settled form has them."""

    def __init__(self, cluster_name: str, settings: Mapping[str, Any]) -> None:
        super().__init__(cluster_name, settings)
        self._asked: tuple[Host, ...] = ()  # empty: all of them
        if not settings.get("hosts"):
            raise Refused(
                "`provider.coordinator_address` is not built yet: this rayctl wants the hosts themselves; nothing was touched.",
                hint="Name them under `hosts:`, or as `head_ip:` and `worker_ips:`.",
            )

    @cached_property
    def hosts(self) -> Mapping[str, Host]:
        """The declared hosts by name, the head first."""
        hosts = [Host.of(settings, self.folder) for settings in self.settings["hosts"]]
        return {host.name: host for host in sorted(hosts, key=lambda host: host.kind is not Kind.HEAD)}

    @property
    def reach(self) -> Reach:
        """See `DeclaresHosts`."""
        return self._reach

    @cached_property
    def _reach(self) -> Reach:
        folder = paths.cluster_dir(paths.home(os.environ), self.cluster_name)
        return Reach(folder, [self._connection(host) for host in self.hosts.values()])

    def declared(self) -> list[Node]:
        """See `DeclaresHosts`."""
        return [host.node() for host in self.hosts.values()]

    def ask_only_head(self) -> None:
        """See `DeclaresHosts`."""
        self._asked = (self._head,)

    def silent(self) -> Mapping[str, Unreachable]:
        """See `DeclaresHosts`."""
        return {name: answer for name, answer in self._answers().items() if isinstance(answer, Unreachable)}

    def standing(self) -> Mapping[str, Standing]:
        """See `DeclaresHosts`."""
        return {name: claims.standing(answer, self.cluster_name) for name, answer in self._answers().items()}

    def head_scaler(self) -> Mapping[str, Any] | None:
        """See `DeclaresHosts`."""
        answer = self._answers().get(self._head.name)
        return answer.scaler if isinstance(answer, Glance) else None

    def cluster_id(self, *, deadline_s: float = DEADLINE_S) -> str | None:  # noqa: ARG002  a look has its own patience
        """See `Provider`. The head's claim says it; without one, the newest of those that were made for this head."""
        if head := self._founded():
            return head.cluster_id
        # among these hosts may be workers of another cluster of this name: its head is another
        ours = [claim for name, claim in self._claims().items() if claims.head_of(self._glance(name)) == self._head.address]
        newest = max(ours, key=lambda claim: claim.since, default=None)
        return newest.cluster_id if newest else None

    def bootstrap(self, cluster_id: str, *, deadline_s: float = DEADLINE_S) -> str:  # noqa: ARG002
        """See `Provider`. Raises `Refused` when somebody else has the head's host."""
        reply = self._claim(self._head, claims.founding(self.cluster_name, cluster_id, self._head))
        self.reach.forget([self._head.name])
        return str(reply["cluster_id"])

    def list_nodes(self, *, deadline_s: float = DEADLINE_S) -> list[Node]:  # noqa: ARG002
        """See `Provider`. Those that answer and are ours."""
        cluster_id, found = self.cluster_id(), []
        for name, claim in self._claims().items():
            if claim.cluster_id == cluster_id:
                found.append(claims.node(self.hosts[name], self._glance(name), claim))
        return [node for node in found if node is not None]

    def launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:  # noqa: ARG002
        """See `Provider`. A slot's name is a host's. Raises `Refused` when somebody else has the head's host."""
        cluster_id, silent = self._identity(), self.silent()
        request = replace(request, tags={**request.tags, claims.HEAD_TAG: self._head.address})
        errors: dict[str, ProviderError] = {}

        def claim(slot: Slot) -> None:
            try:
                host = self._host(slot.name)
                if host.name in silent:  # asking again would hold up all others
                    raise _transient(silent[host.name])
                self._claim(host, claims.launching(self.cluster_name, cluster_id, host, slot, request))
            except ProviderError as problem:
                errors[slot.name] = problem

        _side_by_side(claim, request.slots)
        self.reach.forget([slot.name for slot in request.slots])
        names = {slot.name for slot in request.slots}.difference(errors)
        nodes = tuple(node for node in self.list_nodes() if node.name in names)
        first = next((errors[slot.name] for slot in request.slots if slot.name in errors), None)
        return LaunchResult(nodes, len(request.slots) - len(nodes), first, errors)

    def terminate(self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S) -> Mapping[str, ProviderError | None]:  # noqa: ARG002
        """See `Provider`. Ends the node's runner and all its processes, removes its folder, releases the claim."""
        cluster_id = self._identity()
        results = self._each([id for id in ids if id in self.hosts], lambda host: self._released(host, cluster_id))
        self.reach.forget(ids)
        return {**dict.fromkeys(ids), **results}

    def set_tags(
        self,
        ids: Sequence[str],
        tags: Mapping[str, str],
        *,
        deadline_s: float = DEADLINE_S,  # noqa: ARG002
    ) -> Mapping[str, ProviderError | None]:
        """See `Provider`."""
        cluster_id = self._identity()
        request = {"op": "set_tags", "cluster_id": cluster_id, "tags": dict(tags)}
        results = self._each(ids, lambda host: self._ask(host, request))
        self.reach.forget(ids)
        return results

    def connection(self, node: Node) -> Connection:
        """See `Provider`."""
        return self._connection(self._host(node.name))

    def teardown(self, *, purge: bool = False, deadline_s: float = DEADLINE_S) -> None:  # noqa: ARG002
        """See `Provider`. Refused (invalid) while hosts that answer are nodes. What founded the cluster goes."""
        if left := ", ".join(node.name for node in self.list_nodes()):
            raise ProviderError(Category.INVALID, f"cluster {self.cluster_name} still has nodes: {left}")
        if head := self._founded():
            self._released(self._head, head.cluster_id)
            self.reach.forget([self._head.name])
        self.reach.close_masters()
        if silence := self.silent().get(self._head.name):
            raise self._not_now(silence)

    # ---- asking hosts
    @property
    def _head(self) -> Host:
        return next(iter(self.hosts.values()))

    def _host(self, name: str) -> Host:
        if name not in self.hosts:
            raise ProviderError(Category.INVALID, f"{name} is none of the hosts in the cluster file")
        return self.hosts[name]

    def _connection(self, host: Host) -> Connection:
        common = replace(self.ssh, options=tuple(self.ssh_options.get(host.name, ())))
        return host.connection(self.cluster_name, common, tells_keys=self.scaled_by_head)

    def _answers(self) -> Mapping[str, Glance | Unreachable]:
        return self.reach.look([self._connection(host) for host in self._asked or self.hosts.values()])

    def _claims(self) -> dict[str, Claim]:
        """Our claims on hosts that answer, whatever cluster identity they bear."""
        glances = {name: answer for name, answer in self._answers().items() if isinstance(answer, Glance)}
        found = ((name, claims.ours(glance, self.cluster_name)) for name, glance in glances.items())
        return {name: claim for name, claim in found if claim is not None}

    def _not_now(self, silence: Unreachable) -> ProviderError:
        """For a head that is silent. At the next call it may answer."""
        self.reach.forget()
        return _transient(silence)

    def _founded(self) -> Claim | None:
        """Our claim on the head's host, if it is there as a head."""
        claim = self._claims().get(self._head.name)
        return claim if claim and claim.node_kind == Kind.HEAD else None

    def _glance(self, name: str) -> Glance:
        answer = self._answers()[name]
        assert isinstance(answer, Glance)
        return answer

    def _identity(self) -> str:
        """The cluster's identity, without which nothing is changed."""
        cluster_id = self.cluster_id()
        if cluster_id is not None:
            return cluster_id
        if silence := self.silent().get(self._head.name):
            raise self._not_now(silence)
        problem = f"none of the hosts is claimed for {self.cluster_name}"
        raise ProviderError(Category.INVALID, problem, hint="Run `rayctl up`.")

    def _ask(self, host: Host, request: Mapping[str, Any]) -> dict[str, Any]:
        """One question to a host's end of the line. Raises `ProviderError`."""
        transport = self.reach.transport(self._connection(host))
        assert isinstance(transport, SshTransport)
        try:
            return transport.ask(request)
        except Unreachable as problem:
            raise _transient(problem) from None
        except RayctlError as problem:
            raise ProviderError(Category.INVALID, problem.message, hint=problem.hint) from None

    def _claim(self, host: Host, request: Mapping[str, Any]) -> dict[str, Any]:
        reply = self._ask(host, {"op": "claim", "claim": request})
        if held := reply.get("held"):
            words, hint = claims.taken(host.name, held), claims.release_hint(held)
            if host.kind is Kind.HEAD:
                raise Refused(f"{words}; nothing was touched.", hint=hint)
            raise ProviderError(Category.CAPACITY, words, hint=hint)
        return reply

    def _released(self, host: Host, cluster_id: str | None) -> None:
        reply = self._ask(host, {"op": "release", "cluster_id": cluster_id})
        if left := ", ".join(reply.get("left", ())):
            raise ProviderError(Category.TRANSIENT, f"these processes of {host.name} do not end: {left}")

    def _each(self, ids: Sequence[str], act: Callable[[Host], object]) -> dict[str, ProviderError | None]:
        results: dict[str, ProviderError | None] = dict.fromkeys(ids)

        def one(name: str) -> None:
            try:
                act(self._host(name))
            except ProviderError as problem:
                results[name] = problem

        _side_by_side(one, ids)
        return results


def _transient(problem: Unreachable) -> ProviderError:
    return ProviderError(Category.TRANSIENT, problem.message, hint=problem.hint)


def _side_by_side(act: Callable[[T], object], items: Iterable[T]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in pool.map(act, items):
            pass  # what it raises is raised here
