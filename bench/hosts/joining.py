# SPDX-License-Identifier: Apache-2.0
"""Runs that bring nodes up: the clock stops when one outside reader, the same for all sides, sees all of them alive."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.hosts.place import Cluster
from bench.pairs import Child, RunFailed, Sample
from rayctl.gcs.client import GcsClient
from rayctl.gcs.errors import GcsError

PATIENCE_S = 120.0
LOOK_S = 0.05
TOLD = 200  # characters of what a failed command said


def until_joined(cluster: Cluster, commands: Sequence[Sequence[str]]) -> Sample:
    """Start these commands at once, and let them end after all nodes have joined.

    A run in which one fails, or not all nodes join in time, is a sample all the same: of `PATIENCE_S` seconds, failed.
    """
    with ExitStack() as stack:
        children = [stack.enter_context(Child(argv)) for argv in commands]
        try:
            seconds = _wait(cluster, children)
            for child in children:
                child.finish()
            failure = ""
        except RunFailed as problem:
            seconds, failure = PATIENCE_S, str(problem)[-TOLD:]
    return Sample(seconds, sum(child.cpu_s for child in children), 0.0, children[0].load, failure=failure)


def _wait(cluster: Cluster, children: Sequence[Child]) -> float:
    """Seconds from the first start until all nodes are alive. Raises `RunFailed`."""
    began, wanted = children[0].began, len(cluster.hosts)
    with GcsClient(cluster.gcs) as client:
        while (alive := _alive(client)) != wanted:
            if time.monotonic() - began > PATIENCE_S:
                raise RunFailed(f"joined {alive} of {wanted} after {PATIENCE_S:g} s")
            for child in children:
                child.check()
            time.sleep(LOOK_S)
        return time.monotonic() - began


def _alive(client: GcsClient) -> int:
    """How many nodes the head's GCS calls alive; none while it does not answer."""
    try:
        return sum(node.state.alive for node in client.nodes(timeout_s=1.0))
    except GcsError:
        return 0
