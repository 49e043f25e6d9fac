# SPDX-License-Identifier: Apache-2.0
"""`down`: end the cluster, or its workers, and make sure that they are gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from rayctl import plan
from rayctl.errors import NodeFailure, NodesFailed, ProviderError
from rayctl.operations import machines, scalerwork
from rayctl.operations.options import DownOptions, DownResult
from rayctl.operations.proposal import INTERRUPTED
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Kind, Node
from rayctl.state import paths

GONE_S = 60.0


def down(session: Session, options: DownOptions, confirm: Callable[[Sequence[str]], None]) -> DownResult:
    """End nodes, workers first. `confirm` is shown the plan and raises when the answer is no."""
    began = time.monotonic()
    with session.one_writer(options.lock_timeout_s, accept_other=options.accept_other):
        result = session.replanned(lambda: _down(session, options, confirm))
        return replace(result, seconds=time.monotonic() - began)


def _down(session: Session, options: DownOptions, confirm: Callable[[Sequence[str]], None]) -> DownResult:
    config, nodes, known = session.config, session.deployment.nodes, session.deployment.cluster_id
    if not nodes:
        machines.require_head(session.provider)
    hosts = machines.declared(session.provider)
    going = plan.teardown(
        config, nodes, hosts, workers_only=options.workers_only, keep_min_workers=options.keep_min_workers
    )  # fmt: skip
    staying = [node for node in nodes if node.state.alive and node not in going]
    itself = scalerwork.is_inside(known)
    if going:
        whose = INTERRUPTED["all" if any(node.kind is Kind.HEAD for node in going) else "some"]
        confirm([f"{session.name}: end {', '.join(node.name for node in going)}", whose])
        session.take_lease()
        if not options.workers_only and not options.keep_min_workers and not itself:
            _end_scaler(session)  # first, or it would launch again what is ended
        session.give_lease_back(keep=bool(staying))
        _must_succeed(session, machines.end(session, [(node, "down") for node in going]))
        _wait_until_gone(session, going)
    elif not staying:
        _end_scaler(session)  # what it left on hosts that were silent when the rest ended
    silent = machines.silent(session.provider)
    # declared hosts know of no cluster once their claims are gone, and still there are connections to them
    if not staying and (known or isinstance(session.provider, DeclaresHosts)):
        _forget(session, silent)
    if itself and not staying:
        _end_scaler(session, itself=True)  # last: this runs in its environment
    if silent:
        raise _still_there(session, len(going), silent)
    return DownResult(session.name, tuple(node.name for node in going), tuple(node.name for node in staying), 0.0)


def _end_scaler(session: Session, *, itself: bool = False) -> None:
    """Where there is one on the head, with what it has on the other hosts."""
    if scalerwork.concerns(session):
        from rayctl.operations import headscaler

        _must_succeed(session, headscaler.retire(session, itself=itself))


def _still_there(session: Session, ended: int, silent: tuple[NodeFailure, ...]) -> NodesFailed:
    """A host that does not answer may still run its part of the cluster: nobody shall believe that it is gone."""
    hint = f"What of the cluster runs there runs on. When they are back: {session.command('down')}"
    return NodesFailed(f"{ended} of the hosts ended, {len(silent)} did not answer", silent, hint=hint)


def _wait_until_gone(session: Session, nodes: Sequence[Node]) -> None:
    """A termination that was accepted is not yet one that happened."""
    ids = {node.id for node in nodes}
    end = time.monotonic() + GONE_S + session.provider.listing_lag_s
    while True:
        session.refresh()
        left = [node for node in session.deployment.nodes if node.id in ids and node.state.alive]
        if not left:
            return
        if time.monotonic() > end:
            failures = [NodeFailure(node.name, "still there after it was ended") for node in left]
            _must_succeed(session, failures)
        time.sleep(0.5)


def _must_succeed(session: Session, failures: Sequence[NodeFailure]) -> None:
    if failures:
        raise NodesFailed(f"{len(failures)} of the nodes did not end", tuple(failures), hint=session.command("down"))


def _forget(session: Session, silent: Sequence[NodeFailure]) -> None:
    try:
        session.provider.teardown()
    except ProviderError:
        if not silent:  # else that is why, and is told with what to do about it
            raise
    for path in (paths.token_file(session.root, session.name), *paths.of_scaler(session.root, session.name)):
        path.unlink(missing_ok=True)
