# SPDX-License-Identifier: Apache-2.0
"""What the scaler counts, for Prometheus: the metrics of Ray's autoscaler as Ray exports them, and rayctl's own.

Dashboards and alerts that were made for Ray's autoscaler go on working: names, types, labels, buckets and help are Ray's.
`serve.py` hands them out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Generic, TypeVar

import prometheus_client as prometheus
from prometheus_client.metrics import MetricWrapperBase

from rayctl.reconcile.serve import Served

__all__ = ["Counter", "Gauge", "Histogram", "Metrics", "Served"]

M = TypeVar("M", bound=MetricWrapperBase)
SESSION: Final = "SessionName"
MINUTES: Final = (5, 10, 20, 30, 45, 60, 90, 120, 180, 240, 300, 360, 480, 600, 720, 900, 1200, 1500, 1800)
DECADES: Final = (0.01, 0.1, 1, 10, 100, 1000)
TURN: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class _Metric(Generic[M]):
    """One metric. `fixed` are labels that all its series have; without others it is there from the beginning, as 0."""

    def __init__(self, metric: M, fixed: Mapping[str, str], labels: tuple[str, ...]) -> None:
        self._metric, self._fixed, self._labels = metric, fixed, labels
        if not labels:
            self._series({})

    def restart(self) -> None:
        """Begin anew, with the fixed labels as they are now."""
        self._metric.clear()
        if not self._labels:
            self._series({})

    def _series(self, labels: Mapping[str, str]) -> M:
        given = {**self._fixed, **labels}
        return self._metric.labels(**given) if given else self._metric


class Counter(_Metric[prometheus.Counter]):
    """Grows, until the scaler is started anew."""

    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add to it."""
        self._series(labels).inc(amount)


class Histogram(_Metric[prometheus.Histogram]):
    """Counts durations by their length, in seconds."""

    def observe(self, seconds: float, /, **labels: str) -> None:
        """Count one."""
        self._series(labels).observe(seconds)


class Gauge(_Metric[prometheus.Gauge]):
    """Is as it was set last."""

    def set(self, value: float, /, **labels: str) -> None:
        """Set one series."""
        self._series(labels).set(value)

    def set_all(self, values: Mapping[str, float]) -> None:
        """Set a gauge of one label, by the label's values; those that are not named are gone."""
        (label,) = self._labels
        for name, value in values.items():
            self.set(value, **{label: name})
        for sample in next(iter(self._metric.collect())).samples:
            if sample.labels[label] not in values:
                self._metric.remove(sample.labels[label], *self._fixed.values())


class _Family:
    """Metrics whose names begin alike and whose series all have the `fixed` labels."""

    def __init__(self, registry: prometheus.CollectorRegistry, prefix: str, fixed: Mapping[str, str]) -> None:
        self._registry, self._prefix, self._fixed = registry, prefix, fixed
        self.made: list[Counter | Gauge | Histogram] = []

    def counter(self, name: str, about: str, *labels: str) -> Counter:
        made = prometheus.Counter(self._prefix + name, about, (*labels, *self._fixed), registry=self._registry)
        self.made.append(found := Counter(made, self._fixed, labels))
        return found

    def gauge(self, name: str, about: str, *labels: str) -> Gauge:
        made = prometheus.Gauge(self._prefix + name, about, (*labels, *self._fixed), registry=self._registry)
        self.made.append(found := Gauge(made, self._fixed, labels))
        return found

    def histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        made = prometheus.Histogram(self._prefix + name, about, tuple(self._fixed), registry=self._registry, buckets=buckets)
        self.made.append(found := Histogram(made, self._fixed, ()))
        return found


class Metrics:
    """All of them, each an attribute. `session_name` is that of Ray's head: a label of all of Ray's metrics."""

    def __init__(self, session_name: str = "") -> None:
        self._registry = prometheus.CollectorRegistry()
        self._session = {SESSION: session_name}
        self._rays = _Family(self._registry, "autoscaler_", self._session)
        self._make_rays(self._rays)
        self._make_ours(_Family(self._registry, "rayctl_scaler_", {}))

    @property
    def session_name(self) -> str:
        """Which run of Ray's head it is about. With another one Ray's metrics begin anew, and ours go on."""
        return self._session[SESSION]

    @session_name.setter
    def session_name(self, name: str) -> None:
        if name != self.session_name:
            self._session[SESSION] = name
            for metric in self._rays.made:
                metric.restart()

    def render(self) -> bytes:
        """All of them as text, in version 0.0.4 of Prometheus's format."""
        return prometheus.generate_latest(self._registry)

    def _make_rays(self, ray: _Family) -> None:
        """In Ray's own words, its slips of the pen included."""
        self.worker_create_node_time = ray.histogram(
            "worker_create_node_time_seconds",
            "Worker launch time. This is the time it takes for a call to a node provider's create_node method to return. "
            "Note that when nodes are launched in batches, the launch time for that batch will be observed once for *each* "
            "node in that batch. For example, if 8 nodes are launched in 3 minutes, a launch time of 3 minutes will be "
            "observed 8 times.",
            MINUTES,
        )
        self.worker_update_time = ray.histogram(
            "worker_update_time_seconds",
            "Worker update time. This is the time between when an updater thread begins executing and when it exits "
            "successfully. This metric only observes times for successful updates.",
            MINUTES,
        )
        self.update_time = ray.histogram(
            "update_time_seconds",
            "Autoscaler update time. This is the time for an autoscaler update iteration to complete.",
            DECADES,
        )
        self.pending_nodes = ray.gauge("pending_nodes", "Number of nodes pending to be started.", "NodeType")
        self.active_nodes = ray.gauge("active_nodes", "Number of nodes in the cluster.", "NodeType")
        self.recently_failed_nodes = ray.gauge(
            "recently_failed_nodes",
            "The number of recently failed nodes. This count could reset at undefined times.",
            "NodeType",
        )
        self.updating_nodes = ray.gauge("updating_nodes", "Number of nodes in the process of updating.")
        self.recovering_nodes = ray.gauge("recovering_nodes", "Number of nodes in the process of recovering.")
        self.running_workers = ray.gauge("running_workers_nodes", "Number of worker nodes running.")
        self.cluster_resources = ray.gauge("cluster_resources", "Total logical resources in the cluster.", "resource")
        self.pending_resources = ray.gauge("pending_resources", "Pending logical resources in the cluster.", "resource")
        self.started_nodes = ray.counter("started_nodes", "Number of nodes started.")
        self.stopped_nodes = ray.counter("stopped_nodes", "Number of nodes stopped.")
        self.failed_create_nodes = ray.counter(
            "failed_create_nodes",
            "Number of nodes that failed to be created due to an exception in the node provider's create_node method.",
        )
        self.failed_updates = ray.counter("failed_updates", "Number of failed worker node updates.")
        self.successful_updates = ray.counter("successful_updates", "Number of succesfful worker node updates.")
        self.failed_recoveries = ray.counter("failed_recoveries", "Number of failed node recoveries.")
        self.successful_recoveries = ray.counter("successful_recoveries", "Number of successful node recoveries.")
        self.update_loop_exceptions = ray.counter(
            "update_loop_exceptions", "Number of exceptions raised in the update loop of the autoscaler."
        )
        self.node_launch_exceptions = ray.counter(
            "node_launch_exceptions", "Number of exceptions raised while launching nodes."
        )
        self.reset_exceptions = ray.counter("reset_exceptions", "Number of exceptions raised while resetting the autoscaler.")
        self.config_validation_exceptions = ray.counter(
            "config_validation_exceptions",
            "Number of exceptions raised while validating the config during a reset.",
        )
        self.drain_node_exceptions = ray.counter(
            "drain_node_exceptions",
            "Number of exceptions raised when making a DrainNode rpcprior to node termination.",
        )

    def _make_ours(self, own: _Family) -> None:
        self.turns_total = own.counter("turns", "Turns of the scaler.")
        self.launches_total = own.counter("launches", "Machines that were asked for.", "NodeType")
        self.launch_failures_total = own.counter(
            "launch_failures", "Machines that the provider did not give, by what it said.", "NodeType", "category"
        )
        self.plays_total = own.counter("plays", "Playbook runs, by how they ended.", "result")
        self.drains_total = own.counter("drains", "Nodes that Ray was asked to drain, by its answer.", "result")
        for result in ("accepted", "refused"):
            self.drains_total.inc(0, result=result)
        self.terminations_total = own.counter("terminations", "Machines that were ended, by the reason.", "why")
        self.gcs_errors_total = own.counter("gcs_errors", "Calls to Ray's head that failed.")
        self.provider_errors_total = own.counter(
            "provider_errors", "Calls to the provider that failed, by what it said.", "call", "category"
        )
        self.turn_seconds = own.histogram("turn_seconds", "How long a turn took.", TURN)
        self.play_seconds = own.histogram("play_seconds", "How long a playbook run took.", MINUTES)
        self.breaker_open = own.gauge("breaker_open", "1 while nothing is ended, for too many nodes are unwell; else 0.")
        self.demand_waiting = own.gauge("demand_waiting", "Requests that wait for room.")
        self.infeasible = own.gauge("infeasible", "Requests that no node type could ever hold.")
        self.quarantined_hosts = own.gauge("quarantined_hosts", "Hosts that are not used for some time.")
        self.journal_pending = own.gauge("journal_pending", "Actions that were begun and are not known to be done.")
        self.last_turn_timestamp_seconds = own.gauge(
            "last_turn_timestamp_seconds", "When the last turn ended, in seconds since the epoch."
        )
