# SPDX-License-Identifier: Apache-2.0
"""The outside, counted: each call that passes leaves its mark in the metrics, and is passed on as it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from rayctl.config.model import ClusterConfig
from rayctl.errors import ProviderError
from rayctl.gcs.autoscaler import DrainReason
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import RayNode
from rayctl.operations.scaling.outside import RealOutside
from rayctl.planner.model import Why
from rayctl.providers.base import LaunchRequest
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.ending import DRAINED
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.lives import Stage
from rayctl.reconcile.metrics import Metrics
from rayctl.reconcile.report import COMING
from rayctl.reconcile.seam import Listing, Played, Reply, Sight
from rayctl.reconcile.told import ScalerStatus

CAUSES = {why.value: why.name.lower() for why in Why} | {DRAINED: "drained"}  # all else is a machine's health
RECENT_S = 1800.0  # so long a failure is a recent one


class Counted:
    """See `Outside`. What is not counted passes by itself."""

    def __init__(self, outside: RealOutside, metrics: Metrics) -> None:
        self._outside, self._metrics = outside, metrics
        self._launched: dict[str, float] = {}
        self._playing: dict[str, tuple[float, str]] = {}
        self._why: dict[str, str] = {}
        self._config: ClusterConfig | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outside, name)

    def config(self) -> ClusterConfig:
        """See `Outside`."""
        before = self._outside.damaged
        self._config = self._outside.config()
        self._metrics.config_validation_exceptions.inc(self._outside.damaged - before)
        return self._config

    # ---- the provider
    def machines(self) -> Listing:
        """See `Outside`."""
        try:
            return self._outside.machines()
        except ProviderError as error:
            self._metrics.provider_errors_total.inc(call="list_nodes", category=str(error.category))
            raise

    def launch(self, request: LaunchRequest) -> None:
        """See `Outside`."""
        self._metrics.launches_total.inc(len(request.slots), NodeType=request.type)
        self._launched[request.slots[0].token] = self._outside.now()
        self._outside.launch(request)

    def replies(self) -> Sequence[Reply]:
        """See `Outside`."""
        found = self._outside.replies()
        for reply in found:
            self._count_reply(reply)
        return found

    def _count_reply(self, reply: Reply) -> None:
        metrics, request = self._metrics, reply.request
        seconds = self._outside.now() - self._launched.pop(request.slots[0].token, self._outside.now())
        error, missing = reply.error, len(request.slots)
        if reply.result is not None:
            error, missing = reply.result.error, reply.result.shortfall
            metrics.started_nodes.inc(len(reply.result.nodes))
            for _ in reply.result.nodes:
                metrics.worker_create_node_time.observe(seconds)
        else:
            metrics.node_launch_exceptions.inc()
        if missing:
            category = str(error.category) if error else "unknown"
            metrics.failed_create_nodes.inc(missing)
            metrics.launch_failures_total.inc(missing, NodeType=request.type, category=category)

    def terminate(self, machines: Sequence[Machine]) -> None:
        """See `Outside`."""
        self._metrics.stopped_nodes.inc(len(machines))
        for machine in machines:
            self._metrics.terminations_total.inc(why=self._why.get(machine.id, "other"))
        self._outside.terminate(machines)

    def remember(self, journal: Journal) -> None:
        """See `Outside`."""
        self._why = {id: CAUSES.get(ending.why, "health") for id, ending in journal.ending.items()}
        pending = len(journal.asked) + len(journal.ending) + len(journal.draining)
        self._metrics.journal_pending.set(pending)
        self._outside.remember(journal)

    # ---- Ray
    def ray(self) -> Sight:
        """See `Outside`."""
        try:
            sight = self._outside.ray()
        except GcsError:
            self._metrics.gcs_errors_total.inc()
            raise
        self._metrics.session_name = sight.view.session_name
        total: Counter[str] = Counter()
        for node in sight.view.nodes:
            total.update(node.total)
        self._metrics.cluster_resources.set_all(dict(total))
        waiting = sum(demand.count for demand in sight.view.pending) + len(sight.view.gangs)
        self._metrics.demand_waiting.set(waiting)
        return sight

    def drain(self, node: RayNode, reason: DrainReason, message: str) -> str:
        """See `Outside`."""
        try:
            refusal = self._outside.drain(node, reason, message)
        except GcsError:
            self._metrics.drain_node_exceptions.inc()
            raise
        self._metrics.drains_total.inc(result="refused" if refusal else "accepted")
        return refusal

    # ---- nodes
    def play(self, names: Sequence[str], restart: str) -> None:
        """See `Outside`."""
        self._playing |= dict.fromkeys(names, (self._outside.now(), restart))
        self._outside.play(names, restart)

    def played(self) -> Sequence[Played]:
        """See `Outside`."""
        found = self._outside.played()
        metrics, now = self._metrics, self._outside.now()
        for played in found:
            began, restart = self._playing.pop(played.node, (now, "auto"))
            metrics.play_seconds.observe(now - began)
            result = "unreachable" if played.unreachable else "failed" if played.reason else "ok"
            metrics.plays_total.inc(result=result)
            if restart == "always":
                (metrics.failed_recoveries if played.reason else metrics.successful_recoveries).inc()
            else:
                (metrics.failed_updates if played.reason else metrics.successful_updates).inc()
            if not played.reason:
                metrics.worker_update_time.observe(now - began)
        return found

    # ---- our own
    def publish(self, status: ScalerStatus) -> None:
        """See `Outside`."""
        metrics = self._metrics
        stages = Counter(node.stage for node in status.nodes)
        metrics.active_nodes.set_all(Counter(node.type for node in status.nodes if node.stage == Stage.UP))
        metrics.pending_nodes.set_all(Counter(node.type for node in status.nodes if node.stage in COMING))
        metrics.pending_resources.set_all(self._resources(node.type for node in status.nodes if node.stage in COMING))
        failed = Counter(failure.type for failure in status.failures if status.at - failure.at < RECENT_S)
        metrics.recently_failed_nodes.set_all(failed)
        metrics.updating_nodes.set(stages[Stage.SETTING_UP])
        metrics.recovering_nodes.set(stages[Stage.RESTARTING])
        metrics.running_workers.set(stages[Stage.UP])
        metrics.breaker_open.set(1 if status.breaker else 0)
        metrics.infeasible.set(len(status.infeasible))
        metrics.quarantined_hosts.set(len(status.quarantined))
        self._outside.publish(status)

    def _resources(self, types: Iterable[str]) -> dict[str, float]:
        """What machines of these types have by the file, in all."""
        total: Counter[str] = Counter()
        known = self._config.available_node_types if self._config else {}
        for node_type in types:
            total.update(known[node_type].resources if node_type in known else {})
        return dict(total)
