# SPDX-License-Identifier: Apache-2.0
"""Launching and ending machines: the thin acting half of `rayctl/plan.py`."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from rayctl import plan
from rayctl.errors import Category, NodeFailure, ProviderError, RayctlError, Unreachable
from rayctl.events import EventKind
from rayctl.operations.session import Session
from rayctl.plan import Launch, Machines
from rayctl.providers.base import DeclaresHosts, Kind, LaunchResult, Node, Provider, Slot
from rayctl.reconcile.requests import host_slots, numbers, request_for, slot_of
from rayctl.state import cluster, paths


def apply(session: Session, wanted: Machines) -> tuple[list[Node], list[NodeFailure]]:
    """Launch and end what the plan says; the nodes launched, and what could not be done.

    Asking the provider is the compare-and-set that decides which of two controllers makes a new cluster.
    """
    session.take_lease()
    cluster_id = session.deployment.cluster_id or session.provider.bootstrap(_identity(session))
    session.remember(session.record(cluster_id))
    launched: list[Node] = []
    failures = end(session, [(ending.node, ending.reason) for ending in wanted.endings])
    if wanted.endings:
        session.list_again()  # hosts that were ended may be launched as another type
    for launch in wanted.launches:
        nodes, missing = _launch(session, cluster_id, launch)
        launched += nodes
        failures += missing
        if launch.kind is Kind.HEAD and not nodes:
            break  # workers without a head would cost money and do nothing
    session.list_again()
    return launched, failures


def _identity(session: Session) -> str:
    """A new one, but hosts that were out of reach when their cluster ended are still its own when it comes back."""
    known = cluster.load(paths.record_file(session.root, session.name))
    same = known is not None and known.config_path == str(session.loaded.path.resolve())
    return known.cluster_id if known and same and isinstance(session.provider, DeclaresHosts) else str(uuid.uuid4())


def _launch(session: Session, cluster_id: str, launch: Launch) -> tuple[Sequence[Node], list[NodeFailure]]:
    session.check_lease()
    # names and tokens are given here, and remembered before the provider is asked
    request = request_for(session.config, launch.type, launch.kind, _slots(session, cluster_id, launch))
    try:
        result = session.provider.launch(request)
    except ProviderError as e:
        return [], [_missing(launch, launch.count, e)]
    for node in result.nodes:
        session.bus.emit(EventKind.NODE_LAUNCHED, node.name, type=node.type, id=node.id)
    return result.nodes, _shortfall(launch, result)


def _shortfall(launch: Launch, result: LaunchResult) -> list[NodeFailure]:
    """What is missing, one by one where the provider knows."""
    found = [
        NodeFailure(name, _in_words(error), unreachable=error.category is Category.TRANSIENT)
        for name, error in result.errors.items()
    ]
    unnamed = result.shortfall - len(found)
    if unnamed > 0 or (result.error and not found):
        found.append(_missing(launch, unnamed, result.error))
    return found


def wanted(session: Session) -> Machines:
    """What the file wants, against what the provider lists."""
    return plan.machines(session.config, session.deployment.nodes, declared(session.provider))


def declared(provider: Provider) -> Sequence[Node]:
    """The hosts of the file, where it names them."""
    return provider.declared() if isinstance(provider, DeclaresHosts) else ()


def silent(provider: Provider) -> tuple[NodeFailure, ...]:
    """The declared hosts that did not answer."""
    problems = provider.silent() if isinstance(provider, DeclaresHosts) else {}
    return tuple(NodeFailure(name, _in_words(problem), unreachable=True) for name, problem in problems.items())


def require_head(provider: Provider) -> None:
    """Raise `Unreachable` for a declared head that does not answer: nobody can tell who is at work on its cluster."""
    if not isinstance(provider, DeclaresHosts):
        return
    problems, hosts = provider.silent(), provider.declared()
    if problem := problems.get(hosts[0].name):
        others = f" (of {len(hosts)} hosts, {len(problems)} are out of reach)" if len(problems) > 1 else ""
        raise Unreachable(f"the head is out of reach: {problem.message}{others}", hint=problem.hint)


def the_head(session: Session) -> Node:
    """The head that is there. Raises `Unreachable` or RayctlError where there is none."""
    head = session.deployment.head
    if head is None:
        require_head(session.provider)
        raise RayctlError(f"the cluster {session.name} is not up", hint=f"Bring it up: {session.command('up')}")
    return head


def _in_words(error: RayctlError) -> str:
    return ". ".join(text.rstrip(".") for text in (error.message, error.hint) if text)


def _missing(launch: Launch, count: int, error: ProviderError | None) -> NodeFailure:
    why = f": {error.message} ({error.category})" if error else ""
    machines = "the head" if launch.kind is Kind.HEAD else f"{count} of {launch.count} machines of type {launch.type}"
    return NodeFailure(node=launch.type, reason=f"{machines} could not be launched{why}")


def _slots(session: Session, cluster_id: str, launch: Launch) -> tuple[Slot, ...]:
    if isinstance(session.provider, DeclaresHosts):
        return _hosts(session.provider, session.deployment.nodes, cluster_id, launch)
    record = session.record(cluster_id)
    seen = numbers(session.deployment.nodes, launch.type)
    slots = []
    for _ in range(launch.count):
        number, record = record.next_sequence(launch.type, seen)
        slots.append(slot_of(session.name, cluster_id, launch.type, number))
    session.remember(record)
    return tuple(slots)


def _hosts(provider: DeclaresHosts, nodes: Sequence[Node], cluster_id: str, launch: Launch) -> tuple[Slot, ...]:
    """Of the declared hosts that are free, so many: those that answer before those that did not, else as in the file."""
    mine, silent = {node.name for node in nodes}, provider.silent()
    free = [host.name for host in provider.declared() if (host.kind, host.type) == (launch.kind, launch.type)]
    free = sorted((name for name in free if name not in mine), key=lambda name: name in silent)
    return host_slots(free[: launch.count], cluster_id)


def end(session: Session, nodes: Sequence[tuple[Node, str]]) -> list[NodeFailure]:
    """End these machines, each with the reason that people are told; what could not be ended."""
    if not nodes:
        return []
    session.check_lease()
    results: dict[str, ProviderError | None] = {}
    for kind in (Kind.WORKER, Kind.HEAD):  # a head's GCS waits for workers that are still connected
        if ids := [node.id for node, _ in nodes if node.kind is kind]:
            results |= session.provider.terminate(ids)
    failures = []
    for node, reason in nodes:
        error = results.get(node.id)
        if error is None:
            session.bus.emit(EventKind.NODE_TERMINATED, node.name, type=node.type, id=node.id, text=reason)
        else:
            failures.append(NodeFailure(node.name, f"could not be ended: {error.message} ({error.category})"))
    return failures


def explain(wanted: Machines) -> list[str]:
    """The plan in lines for people."""
    lines = [f"launch {_count(launch)}" for launch in wanted.launches]
    return lines + [f"end {ending.node.name}: {ending.reason}" for ending in wanted.endings]


def _count(launch: Launch) -> str:
    if launch.kind is Kind.HEAD:
        return f"the head ({launch.type})"
    return f"{launch.count} worker{'s' if launch.count > 1 else ''} ({launch.type})"
