# SPDX-License-Identifier: Apache-2.0
"""`kill-random-node`: what befalls clusters anyway, on purpose."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from rayctl.errors import NodeFailure, NodesFailed, UsageError
from rayctl.operations import machines
from rayctl.operations.session import Session


def kill_random_node(
    session: Session, confirm: Callable[[Sequence[str]], None], *, hard: bool, timeout_s: float, accept_other: bool
) -> str:
    """End the Ray of a worker, or its machine (`hard`); the name of the chosen one. Raises `UsageError` without any."""
    with session.one_writer(timeout_s, accept_other=accept_other):
        machines.the_head(session)
        workers = session.deployment.workers
        if not workers:
            raise UsageError(f"{session.name} has no workers just now")
        node = random.choice(workers)  # noqa: S311  nobody gains anything by guessing it
        confirm([f"{session.name}: end {node.name}" if hard else f"{session.name}: end the Ray of {node.name}"])
        session.take_lease()
        if hard:
            failures = machines.end(session, [(node, "chosen by chance")])
        else:
            left = session.transport(node).stop_ray(session.mark(node))
            failures = [NodeFailure(node.name, f"these of its processes do not end: {', '.join(left)}")] if left else []
    if failures:
        raise NodesFailed(f"{node.name} was not ended", tuple(failures))
    return node.name
