# SPDX-License-Identifier: Apache-2.0
"""What is said of the scaler's work: to Ray's head, and to people (pure)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rayctl.config.model import ClusterConfig
from rayctl.gcs.autoscaler import Coming, Failed, NodeGroup, Report
from rayctl.gcs.view import Demand
from rayctl.planner.model import Answer, Plan, Snapshot
from rayctl.reconcile.journal import Failure, Journal
from rayctl.reconcile.lives import Life, Lives, Stage
from rayctl.reconcile.told import FailureTold, NodeTold, ScalerStatus

COMING = (Stage.BOOTING, Stage.WAITING, Stage.SETTING_UP, Stage.JOINING, Stage.LOST, Stage.RESTARTING)
# Ray's values of the tag `ray-node-status`, which its tools show of a pending node
WORDS = {
    Stage.BOOTING: "waiting-for-ssh", Stage.WAITING: "waiting-for-ssh", Stage.SETTING_UP: "setting-up",
    Stage.JOINING: "setting-up: waiting until Ray knows it", Stage.LOST: "lost contact with raylet",
    Stage.RESTARTING: "restarting Ray",
}  # fmt: skip


def for_ray(lives: Lives, journal: Journal, infeasible: Iterable[Mapping[str, float]]) -> Report:
    """The report for Ray's head: one record for each machine that is coming, the last failures, what can never be."""
    coming = [_coming(life, journal) for life in lives.values() if life.worker and life.stage in COMING]
    failed = tuple(Failed(f.type, f.count, _named(f.node, f.reason), f.since, f.at) for f in journal.failures)
    return Report(tuple(coming), failed, tuple(infeasible))


def _coming(life: Life, journal: Journal) -> Coming:
    machine = life.machine
    asked = machine.id == machine.launch_token  # nothing is known of it but that it was asked for
    address = machine.addresses.internal if machine.addresses else ""
    return Coming(machine.type, "" if asked else machine.id, address, detail(life, journal), life.since)


def _named(node: str, reason: str) -> str:
    return f"{node}: {reason}" if node else reason


def detail(life: Life, journal: Journal) -> str:
    """More of a machine's stage, in words; "" where there is nothing to say."""
    id = life.machine.id
    if ending := journal.ending.get(id):
        return ending.why
    if drain := journal.draining.get(id):
        return f"{drain.why}: {drain.reason}"
    trouble = journal.troubles.get(id)
    words = "missing from the provider's list" if life.missing_since is not None else WORDS.get(life.stage, "")
    return f"{words} ({trouble.reason})" if trouble and life.stage is not Stage.UP else words


def groups(config: ClusterConfig, learnt: Mapping[str, Mapping[str, float]]) -> list[NodeGroup]:
    """Which nodes there could be, for libraries of Ray's that plan by it."""
    return [
        NodeGroup(
            name, config.available_node_types[name].resources or learnt.get(name, {}), config.min_workers_of(name),
            config.max_workers_of(name),
        ) for name in config.worker_types
    ]  # fmt: skip


def infeasible(snapshot: Snapshot, plan: Plan) -> list[tuple[Demand, str]]:
    """What is queued and can never be, with the reason."""
    pairs = [*zip(snapshot.pending, plan.pending, strict=True), *zip(snapshot.requested, plan.requested, strict=True)]
    return [(demand, answer.why) for demand, answer in pairs if answer.never]


def reasons(plan: Plan) -> list[str]:
    """Why what waits has to wait: each reason once, with how many wait for it."""
    counts: Counter[str] = Counter()
    for answer in _answers(plan):
        if answer.unplaced:
            counts[answer.why] += answer.unplaced
    return [f"{count} x {why}" for why, count in counts.items()] + list(plan.waits)


def _answers(plan: Plan) -> Iterable[Answer]:
    yield from plan.pending
    yield from plan.gangs
    yield from plan.requested


def for_people(
    lives: Lives, journal: Journal, *, now: float, turn: int, process: tuple[int, int], plan: Plan | None, never: Iterable[str],
    breaker: str = "", problem: str = "",
) -> ScalerStatus:  # fmt: skip
    """How things stand, for `rayctl status`."""
    pid, started = process
    return ScalerStatus(
        at=now, pid=pid, started=started, turn=turn,
        nodes=tuple(_told(life, journal) for life in lives.values()),
        launching=dict(Counter(asked.request.type for asked in journal.asked.values() for _ in asked.request.slots)),
        failures=tuple(_failure(journal, failure) for failure in journal.failures),
        infeasible=tuple(never), waiting=tuple(reasons(plan) if plan is not None else ()), breaker=breaker,
        quarantined=tuple((host, held.reason, held.until) for host, held in journal.quarantine.items() if now < held.until),
        problem=problem,
    )  # fmt: skip


def _told(life: Life, journal: Journal) -> NodeTold:
    machine = life.machine
    return NodeTold(machine.name, machine.id, machine.type, str(life.stage), life.since, detail(life, journal))


def _failure(journal: Journal, failure: Failure) -> FailureTold:
    held = journal.quarantine.get(failure.node) or journal.setbacks.get(failure.type)
    return FailureTold(failure.type, failure.node, failure.reason, failure.at, held.until if held else 0.0, failure.log)
