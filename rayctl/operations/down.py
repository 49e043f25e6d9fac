# SPDX-License-Identifier: Apache-2.0
"""`down`: end the cluster, or its workers, and make sure that they are gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rayctl import plan
from rayctl.errors import NodeFailure, NodesFailed
from rayctl.operations import machines
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.state import paths

GONE_S = 60.0


@dataclass(frozen=True)
class DownOptions:
    """The flags of `down`."""

    workers_only: bool = False
    keep_min_workers: bool = False
    lock_timeout_s: float = 60.0
    accept_other: bool = False


@dataclass(frozen=True)
class DownResult:
    """Names of the nodes that were ended and of those that stay."""

    ended: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


def down(session: Session, options: DownOptions, confirm: Callable[[Sequence[str]], None]) -> DownResult:
    """End nodes, workers first. `confirm` is shown the plan and raises when the answer is no."""
    began = time.monotonic()
    with session.one_writer(options.lock_timeout_s, accept_other=options.accept_other):
        config, nodes = session.deployment.config, session.deployment.nodes
        going = plan.teardown(config, nodes, workers_only=options.workers_only, keep_min_workers=options.keep_min_workers)
        staying = [node for node in nodes if node.state.alive and node not in going]
        if going:
            confirm([f"end {node.name} ({node.type})" for node in going])
            session.give_lease_back(keep=bool(staying))
            _must_succeed(session, machines.end(session, [(node, "down") for node in going]))
            _wait_until_gone(session, going)
        if not staying and session.deployment.cluster_id:
            _forget(session)
        names = tuple(node.name for node in going)
        return DownResult(names, tuple(node.name for node in staying), time.monotonic() - began)


def _wait_until_gone(session: Session, nodes: Sequence[Node]) -> None:
    """A termination that was accepted is not yet one that happened."""
    ids = {node.id for node in nodes}
    end = time.monotonic() + GONE_S + session.deployment.provider.listing_lag_s
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


def _forget(session: Session) -> None:
    session.deployment.provider.teardown()
    token = paths.token_file(session.root, session.name)
    token.unlink(missing_ok=True)
