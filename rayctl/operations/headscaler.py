# SPDX-License-Identifier: Apache-2.0
"""The scaler on the head in an operation: found out with the rest of the survey, installed by `up`, removed by `down`.

What it has comes with the look at the head that is taken in any case; a scaler that is as wanted costs nothing more.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rayctl.errors import NodeFailure, RayctlError, Unreachable
from rayctl.events import EventKind
from rayctl.operations import play
from rayctl.operations.scalerwork import NOTHING, Work
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts
from rayctl.provision.digests import digests_of
from rayctl.provision.driver import Outcome, Playbook
from rayctl.provision.headscaler import bundle as bundles
from rayctl.provision.headscaler import facts, wanted, why
from rayctl.provision.headscaler.asking import target_of
from rayctl.provision.headscaler.target import Target
from rayctl.provision.headscaler.wheeldigest import digest_for
from rayctl.state import cluster, paths
from rayctl.transport.glance import Glance

AT_ONCE = 32


def find_out(session: Session, *, check: bool) -> Work:
    """What is to be done. Raises `Refused`, nothing touched, where the head cannot run a scaler."""
    provider = session.provider
    assert isinstance(provider, DeclaresHosts)
    head = provider.declared()[0]
    seen = _glances(session).get(head.name)
    if seen is None:
        return NOTHING
    had = wanted.Had.of(seen.scaler)
    if session.config.scaler_runs_on != "head":
        return Work(head.name, leaves=seen.scaler is not None)
    target = target_of(session.deployment, session.transport(head), had)
    want = _wanted(session, target, check=check)
    return Work(head.name, want.why(had), tuple(_strangers(session, had)), target)


def _wanted(session: Session, target: Target, *, check: bool) -> wanted.Wanted:
    answers = session.deployment.reach.look(bundles.connections(session.deployment))
    known = facts.learnt(paths.cluster_dir(session.root, session.name), answers, keep=not check)
    found = bundles.Bundle.of(session.deployment, digests_of(session.deployment.mounts), known)
    wheels = wanted.environment(target, digest_for(target))
    return wanted.Wanted(session.deployment.cluster_id or "", found.digest, wheels)


def _strangers(session: Session, had: wanted.Had | None) -> list[str]:
    """Hosts that answer and do not let the head's key in."""
    cluster_id, key = session.deployment.cluster_id or "", had.key if had else ""
    return [name for name, seen in _glances(session).items() if not wanted.lets_in(seen, cluster_id, key)]


def _glances(session: Session) -> Mapping[str, Glance]:
    """What the hosts that answer told."""
    answers = session.deployment.reach.look(bundles.connections(session.deployment))
    return {name: told for name, told in answers.items() if isinstance(told, Glance)}


# ---- doing it
def prepare(work: Work) -> None:
    """What can fail without a touch to any host does so here: all that the head needs is put together on this machine."""
    if work.target is not None and work.why in (why.INSTALL, why.RENEW):
        from rayctl.provision.headscaler import wheelhouse

        wheelhouse.make(wheelhouse.plan(work.target))


class Narrator(play.Narrator):
    """Tells what becomes of the scaler; how each host fared is told at the end."""

    def tell(self, message: dict[str, Any]) -> None:
        """One message of a host."""
        if message["event"] == "scaler":
            self.bus.emit(EventKind.NOTICE, message["host"], text=message["text"])


def carry_out(session: Session, work: Work) -> tuple[bool, list[NodeFailure]]:
    """Do it by the play that a person would run; whether anything changed, and what went wrong."""
    if work.leaves:
        failures = retire(session)
        return not failures, failures
    playbook = Playbook("up", session.loaded.path.resolve(), session.overrides, work.names, tags=("scaler",))
    outcome = play.run(session, playbook, {}, narrator=Narrator(session.bus, {}))
    failures = [_of_scaler(failure) for failure in play.failures(outcome, work.names)]
    return _changed(outcome), failures


def _changed(outcome: Outcome) -> bool:
    return any(done["changed"] for done in outcome.nodes.values())


def _of_scaler(failure: NodeFailure) -> NodeFailure:
    return NodeFailure(failure.node, f"the scaler: {failure.reason}", unreachable=failure.unreachable)


# ---- its end
def retire(session: Session, *, itself: bool = False) -> list[NodeFailure]:
    """End the scaler, and let its key in nowhere any more; what could not be done. Nothing where there was none.

    `itself`: this runs within the scaler, with its key, so the head comes last.
    """
    provider = session.provider
    if not isinstance(provider, DeclaresHosts):
        return []
    glances, head = _glances(session), provider.declared()[0]
    seen = glances.get(head.name)
    known = cluster.load(paths.record_file(session.root, session.name))
    had = wanted.Had.of(seen.scaler) if seen else None
    cluster_id = (had.cluster_id if had else None) or session.deployment.cluster_id or (known.cluster_id if known else "")
    if not cluster_id or not (session.config.scaler_runs_on == "head" or (seen and seen.scaler)):
        return []
    from rayctl.provision.headscaler import install

    everywhere = session.config.scaler_runs_on != "head"  # then nobody was asked which keys may log in

    def end(name: str) -> None:
        told, transport = glances[name], session.transport(hosts[name])
        if name == head.name and (told.scaler or wanted.knows(told, cluster_id)):
            install.removed(transport, session.name, cluster_id, apart=os.getpid() if itself else 0)
        elif everywhere or wanted.knows(told, cluster_id):
            install.withdrawn(transport, cluster_id)

    hosts = {host.name: host for host in provider.declared()}
    rounds = [[name for name in glances if name != head.name], [head.name]] if itself else [list(glances)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        failures = [found for names in rounds for found in pool.map(lambda name: _tried(name, end), names)]
    provider.reach.forget()
    return [failure for failure in failures if failure]


def _tried(name: str, act: Callable[[str], None]) -> NodeFailure | None:
    try:
        act(name)
    except Unreachable as problem:
        return NodeFailure(name, problem.message, unreachable=True)
    except RayctlError as problem:
        return NodeFailure(name, f"the scaler: {problem.message}")
    return None
