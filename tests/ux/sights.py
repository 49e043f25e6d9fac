# SPDX-License-Identifier: Apache-2.0
"""Clusters as `status` sees them, made up: small ones, big ones, and ones in trouble, all at the same moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rayctl.gcs.view import ClusterView, Demand, Gang, LabelRule
from rayctl.operations import census
from rayctl.operations.asked import asked
from rayctl.operations.status import ClusterStatus, NodeStatus
from rayctl.reconcile.told import FailureTold, NodeTold, ScalerStatus

NOW = 1_800_000_000.0
GIB = 2.0**30
LIMITS = {"cpu": (10, 400), "gpu": (0, 100), "trainium": (0, 8)}
TOTALS = {
    "head": {"CPU": 8.0, "memory": 32 * GIB},
    "worker": {"CPU": 1.0, "memory": 15.8 * GIB, "object_store_memory": 6 * GIB},
    "cpu": {"CPU": 16.0, "memory": 64 * GIB},
    "gpu": {"CPU": 8.0, "GPU": 8.0, "accelerator_type:A100": 1.0, "memory": 256 * GIB},
    "trainium": {"CPU": 32.0, "memory": 512 * GIB, "neuron_cores": 2.0},
}

ORDER = list(TOTALS)


def node(kind: str, number: int, counts_as: str = "idle", *, use: float = 0.0, **more: Any) -> NodeStatus:
    """A node; one that Ray knows uses a part `use` of what it has."""
    joined = counts_as in ("running", "idle") or (counts_as == "draining" and use > 0)
    total = TOTALS[kind] if joined else {}
    fields: dict[str, Any] = {
        "state": "running", "address": f"10.{ORDER.index(kind)}.{number // 250}.{number % 250 + 1}",
        **({"stage": "up", "since": NOW - 3600} if more.pop("told", False) else {}), **more,
    }  # fmt: skip
    return NodeStatus(
        name=f"demo-{kind}-{number}", kind="head" if kind == "head" else "worker", type=kind, id=f"i-{kind}-{number}",
        ray=counts_as if joined else "not joined", resources=dict(total),
        used={name: amount * use for name, amount in total.items()}, counts_as=counts_as, **fields,
    )  # fmt: skip


def seen(nodes: Iterable[NodeStatus], view: ClusterView | None = None, **more: Any) -> ClusterStatus:
    """A cluster of these nodes."""
    there = tuple(nodes)
    load = asked(view or ClusterView("s"), None)
    fields = {"ray_version": "2.60.0", "address": "10.0.0.1:6379", "workers_wanted": 10, **more}
    return ClusterStatus(
        cluster="demo", cluster_id="6f1de0bb", provider="aws", nodes=there, at=NOW, types=census.census(there, LIMITS),
        pending=load.pending, gangs=load.gangs, requested=load.requested, **fields,
    )  # fmt: skip


def small() -> ClusterStatus:
    """A head and three workers, and no scaler."""
    nodes = [node("head", 1), node("worker", 1, "running", use=1), node("worker", 2), node("worker", 3)]
    view = ClusterView("s", pending=(Demand({"CPU": 1.0}, 12), Demand({"CPU": 4.0}, 2)))
    whys = ("3 fit on nodes that run, 9 wait: max_workers (3) is reached", "2 can never be placed: worker has 1 CPU")
    found = seen(nodes, view, workers_wanted=3)
    pending = tuple(replace_why(request, why) for request, why in zip(found.pending, whys, strict=True))
    return replace(found, pending=pending)


def replace_why(request: Any, why: str) -> Any:
    return {**request, "why": why}


def scaler(nodes: Iterable[NodeStatus] = (), **more: Any) -> ScalerStatus:
    """One that has just told of these nodes."""
    told = tuple(NodeTold(n.name, n.id, n.type, n.stage, n.since or 0.0, n.detail) for n in nodes if n.stage)
    return ScalerStatus(at=NOW - 1, pid=4711, started=815, turn=1204, nodes=told, **more)


def load() -> ClusterView:
    """Work of many shapes, among them placement groups that differ in one thing each."""
    big, small_, gpu = Demand({"CPU": 4.0}, 3), Demand({"CPU": 4.0}, 2), Demand({"CPU": 1.0, "GPU": 1.0}, 8)
    zone = ((LabelRule("zone", ("a", "b")),),)
    return ClusterView(
        "s",
        pending=(Demand({"CPU": 1.0}, 4000), Demand({"CPU": 2.0, "memory": 4 * GIB}, 17, zone), Demand({"TPU": 4.0}, 1)),
        gangs=(
            Gang("a", "STRICT_SPREAD", (big, gpu)), Gang("b", "STRICT_SPREAD", (small_, gpu)), Gang("c", "PACK", (big, gpu)),
            Gang("d", "STRICT_SPREAD", (gpu, big)),
        ),
        requested=(Demand({"CPU": 1.0}, 800),),
    )  # fmt: skip


def many() -> ClusterStatus:
    """500 nodes of three types, and a scaler that has its hands full."""
    nodes = [node("head", 1, "running", use=0.25, told=True)]
    nodes += [node("cpu", n, "running", use=0.75, told=True) for n in range(1, 381)]
    nodes += [node("cpu", n, told=True) for n in range(381, 393)]
    nodes += [
        node("cpu", 393, "pending", stage="setting up", since=NOW - 130, detail="step 3/5 pip install -r [all].txt"),
        node("cpu", 394, "pending", stage="setting up", since=NOW - 131, detail="step 3/5 pip install -r [all].txt"),
        node("cpu", 395, "pending", stage="booting", since=NOW - 20, state="pending", address=""),
        node("cpu", 396, "draining", use=0.5, stage="draining", since=NOW - 40, detail="idle: nothing ran there for 300 s"),
        node("cpu", 397, "lost", stage="lost", since=NOW - 61, detail="Ray lost it; started anew in 59 s"),
    ]
    nodes += [node("gpu", n, "running", use=1, told=True) for n in range(1, 97)]
    nodes += [node("gpu", 97, "pending", stage="booting", since=NOW - 9, state="asked for", address="")]
    nodes += [node("gpu", 98, "failed", stage="ending", since=NOW - 3, detail="its set-up failed")]
    nodes += [node("trainium", n, "running" if n == 1 else "idle", use=0.5 * (n == 1), told=True) for n in range(1, 5)]
    waiting = ("3900 x cpu has its max_workers (400)", "cpu-9: outdated, replaced when 2 others are up")
    told = scaler(nodes, launching={"gpu": 1}, waiting=waiting, infeasible=("{TPU: 4}: no node type has TPU",))
    return seen(nodes, load(), scaler=told)


def troubled() -> ClusterStatus:
    """Launches and set-ups that failed, hosts in quarantine, and a scaler that cannot work."""
    nodes = [
        node("head", 1), node("cpu", 1, "running", use=0.5),
        node("cpu", 2, "failed", stage="waiting", since=NOW - 700, detail="no ssh: Connection refused"),
        node("cpu", 3, "lost", stage="lost", since=NOW - 65, detail="lost contact with raylet"),
    ]  # fmt: skip
    none_left = "InsufficientInstanceCapacity: we do not have enough p4d.24xlarge in us-west-2a"
    failures = (
        *(FailureTold("gpu", "", none_left, NOW - 30 - n, NOW + 90) for n in range(3)),
        FailureTold("cpu", "demo-cpu-2", "step 2/5 FAILED with exit code 1:\n\x1b[31mNo space left\x1b[0m", NOW - 200, NOW + 40,
                    "/home/ray/.rayctl/demo/logs/02-setup.log"),
        FailureTold("trainium", "", "not authorized to launch trn1.32xlarge", NOW - 4000),
    )  # fmt: skip
    quarantined = (("10.0.0.9", "its disk is full", NOW + 1500), ("10.0.0.17", "no ssh for 10 min", NOW + 61))
    told = scaler(
        nodes, failures=failures, quarantined=quarantined, breaker="2 of 3 workers are unwell",
        problem="the provider refuses us: ExpiredToken", waiting=("8 x gpu could not be launched, next try in 90 s",),
    )  # fmt: skip
    view = ClusterView("s", pending=(Demand({"GPU": 1.0}, 8),))
    return seen(nodes, view, scaler=told, workers_wanted=3)
