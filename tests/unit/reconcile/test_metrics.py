# SPDX-License-Identifier: Apache-2.0
"""The scaler's metrics are Ray's, as the installed Ray exports them, and rayctl's own; any client may ask, none holds it up."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from rayctl.errors import RayctlError
from rayctl.node import processes
from rayctl.reconcile import serve
from rayctl.reconcile.metrics import Metrics, Served

OURS = {
    "turns_total", "turn_seconds", "launches_total", "launch_failures_total", "plays_total", "play_seconds", "drains_total",
    "terminations_total", "breaker_open", "gcs_errors_total", "provider_errors_total", "demand_waiting", "infeasible",
    "quarantined_hosts", "journal_pending", "last_turn_timestamp_seconds",
}  # fmt: skip


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("session_1")


@pytest.fixture
def served(metrics: Metrics) -> Iterator[Served]:
    with Served(metrics, port=free_port()) as found:
        yield found


def get(served: Served, path: str = "/metrics", method: str = "GET") -> tuple[int, str, str]:
    """Status, type and text of an answer."""
    line = http.client.HTTPConnection(served.address, timeout=10)
    try:
        line.request(method, path)
        answer = line.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read().decode()
    finally:
        line.close()


def scraped(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Each series by its name and the values of its labels, in the labels' order."""
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels[key] for key in sorted(sample.labels))] = sample.value
    return found


def now(metrics: Metrics) -> dict[str, dict[tuple[str, ...], float]]:
    return scraped(metrics.render().decode())


# ---- which there are
def without_times(text: str) -> list[str]:
    """The lines in an order; when a series was made differs."""
    return sorted(line for line in text.splitlines() if "_created{" not in line)


def exercised(metrics: Any) -> None:
    """What is the same call with Ray's class and with ours."""
    metrics.worker_create_node_time.observe(7)
    metrics.worker_update_time.observe(100)
    metrics.update_time.observe(0.05)
    metrics.started_nodes.inc(3)
    metrics.stopped_nodes.inc()
    metrics.failed_create_nodes.inc(2)
    metrics.updating_nodes.set(4)
    metrics.recovering_nodes.set(1)
    metrics.running_workers.set(9)
    metrics.drain_node_exceptions.inc()


def test_rays_metrics_are_those_of_the_installed_ray_word_by_word(metrics: Metrics) -> None:
    prom_metrics = pytest.importorskip("ray.autoscaler._private.prom_metrics")
    rays = prom_metrics.AutoscalerPrometheusMetrics(session_name="session_1")
    exercised(rays)
    exercised(metrics)
    for name in ("pending_nodes", "active_nodes", "recently_failed_nodes"):
        getattr(rays, name).labels(NodeType="gpu", SessionName="session_1").set(2)
        getattr(metrics, name).set(2, NodeType="gpu")
    for name in ("cluster_resources", "pending_resources"):
        getattr(rays, name).labels(resource="CPU", SessionName="session_1").set(8)
        getattr(metrics, name).set_all({"CPU": 8})
    wanted = without_times(generate_latest(rays.registry).decode())
    assert sum(line.startswith("# TYPE") and "_created" not in line for line in wanted) == 23
    assert [line for line in without_times(metrics.render().decode()) if "autoscaler_" in line] == wanted


def test_rays_attributes_are_called_as_with_ray(metrics: Metrics) -> None:
    prom_metrics = pytest.importorskip("ray.autoscaler._private.prom_metrics")
    rays = {name for name in vars(prom_metrics.AutoscalerPrometheusMetrics("s")) if not name.startswith("_")} - {"registry"}
    assert rays <= set(vars(metrics))


def test_ours_have_names_of_their_own(metrics: Metrics) -> None:
    found = {line.split()[2] for line in metrics.render().decode().splitlines() if line.startswith("# TYPE rayctl_")}
    assert {name.removeprefix("rayctl_scaler_") for name in found if not name.endswith("_created")} == OURS
    assert set(vars(metrics)) >= OURS


# ---- what they say
def test_counters_histograms_and_gauges_with_labels(metrics: Metrics) -> None:
    metrics.launches_total.inc(3, NodeType="gpu")
    metrics.launch_failures_total.inc(NodeType="gpu", category="capacity")
    metrics.provider_errors_total.inc(call="launch", category="quota")
    metrics.turn_seconds.observe(0.3)
    metrics.breaker_open.set(1)
    found = now(metrics)
    assert found["rayctl_scaler_launches_total"] == {("gpu",): 3.0}
    assert found["rayctl_scaler_launch_failures_total"] == {("gpu", "capacity"): 1.0}
    assert found["rayctl_scaler_provider_errors_total"] == {("launch", "quota"): 1.0}
    assert found["rayctl_scaler_turn_seconds_bucket"][("0.25",)] == 0.0
    assert found["rayctl_scaler_turn_seconds_bucket"][("0.5",)] == 1.0
    assert found["rayctl_scaler_breaker_open"] == {(): 1.0}


def test_what_has_not_happened_yet_is_0_and_not_missing(metrics: Metrics) -> None:
    found = now(metrics)
    assert found["rayctl_scaler_drains_total"] == {("accepted",): 0.0, ("refused",): 0.0}
    assert found["rayctl_scaler_turns_total"] == {(): 0.0}
    assert found["autoscaler_started_nodes_total"] == {("session_1",): 0.0}


def test_types_that_are_gone_are_forgotten(metrics: Metrics) -> None:
    metrics.active_nodes.set_all({"cpu": 3, "gpu": 1})
    metrics.active_nodes.set_all({"cpu": 2, "tpu": 1})
    assert now(metrics)["autoscaler_active_nodes"] == {("cpu", "session_1"): 2.0, ("tpu", "session_1"): 1.0}
    metrics.active_nodes.set_all({})
    assert "autoscaler_active_nodes" not in now(metrics)


def test_another_run_of_the_head_begins_rays_metrics_anew_and_ours_go_on(metrics: Metrics) -> None:
    metrics.started_nodes.inc()
    metrics.active_nodes.set(1, NodeType="cpu")
    metrics.turns_total.inc()
    metrics.session_name = "session_1"
    assert now(metrics)["autoscaler_started_nodes_total"] == {("session_1",): 1.0}
    metrics.session_name = "session_2"
    found = now(metrics)
    assert found["autoscaler_started_nodes_total"] == {("session_2",): 0.0}
    assert "autoscaler_active_nodes" not in found
    assert found["rayctl_scaler_turns_total"] == {(): 1.0}


def test_a_name_may_hold_anything(metrics: Metrics) -> None:
    name = 'a "type"\\ of\nours'
    metrics.active_nodes.set_all({name: 1})
    assert now(metrics)["autoscaler_active_nodes"] == {(name, "session_1"): 1.0}


# ---- serving
def test_a_scrape_is_text_that_prometheus_reads(metrics: Metrics, served: Served) -> None:
    metrics.turns_total.inc(5)
    status, kind, text = get(served)
    assert (status, kind) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert scraped(text)["rayctl_scaler_turns_total"] == {(): 5.0}
    assert get(served, "/metrics?name[]=x")[0] == 200


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("GET", "/metricsx", 404), ("POST", "/metrics", 501)]
)
def test_nothing_else_is_answered(served: Served, method: str, path: str, status: int) -> None:
    assert get(served, path, method)[0] == status


def test_without_a_port_nothing_is_served(metrics: Metrics) -> None:
    with Served(metrics, port=0) as served:
        assert served.address == ""
        assert "metrics" not in {thread.name for thread in threading.enumerate()}


def test_it_is_this_machine_alone_that_may_ask_unless_told_otherwise(metrics: Metrics) -> None:
    with Served(metrics, port=free_port()) as served:
        assert served.address.startswith("127.0.0.1:")
    port = free_port()
    with Served(metrics, "::1", port) as served:
        assert served.address == f"[::1]:{port}"
        socket.create_connection(("::1", port)).close()


def test_closed_is_closed_and_the_port_is_free_at_once(metrics: Metrics) -> None:
    port = free_port()
    for _ in range(3):
        served = Served(metrics, port=port)
        assert get(served)[0] == 200
        served.close()
        served.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_a_port_that_is_taken_is_told_with_its_holder(metrics: Metrics) -> None:
    me = Path("/proc/self/stat").read_text().split("(")[1].split(")")[0]
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(RayctlError) as caught:
        port = other.getsockname()[1]
        Served(metrics, port=port)
    assert str(caught.value) == f"metrics cannot be served at 127.0.0.1:{port}: {me} (pid {os.getpid()}) listens there"
    assert "metrics_port" in caught.value.hint


def test_another_users_holder_is_one_we_cannot_see(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "who_listens", lambda port: None)
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(RayctlError, match="a process of another user listens"):
        Served(metrics, port=other.getsockname()[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_an_address_that_is_not_ours_is_told(metrics: Metrics, host: str) -> None:
    with pytest.raises(RayctlError, match="metrics cannot be served at"):
        Served(metrics, host, free_port())


# ---- clients
def connected(served: Served, sent: bytes = b"") -> socket.socket:
    host, _, port = served.address.rpartition(":")
    line = socket.create_connection((host, int(port)), timeout=10)
    line.sendall(sent)
    return line


def ended(line: socket.socket) -> bool:
    """Whether the other end is closed, which may be told in two ways."""
    try:
        return line.recv(1) == b""
    except ConnectionResetError:
        return True


def at_work() -> int:
    """How many clients have a thread."""
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def until(condition: Any) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "it did not become true in time"
        time.sleep(0.01)


def test_a_client_that_hangs_holds_up_nobody_and_is_cut_off(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "PATIENCE_S", 0.5)
    with connected(served), connected(served, b"GET /metrics HTTP/1.1\r\nHos") as hanging:
        assert get(served)[0] == 200
        assert ended(hanging)


def test_one_that_sends_a_byte_now_and_then_is_cut_off_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "PATIENCE_S", 0.3)
    began = time.monotonic()
    with connected(served, b"GET /metrics HTTP/1.1\r\nx: ") as slow, pytest.raises(OSError):
        while time.monotonic() - began < 10:
            slow.sendall(b"x")
            time.sleep(0.02)
    assert time.monotonic() - began < 5


def test_one_that_does_not_read_is_cut_off(metrics: Metrics, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve, "PATIENCE_S", 0.3)
    monkeypatch.setattr(metrics, "render", lambda: b"x" * 50_000_000)
    with connected(served, b"GET /metrics HTTP/1.0\r\n\r\n"):
        until(at_work)
        until(lambda: not at_work())


def test_more_clients_than_threads_are_sent_away(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    with ExitStack() as stack:
        monkeypatch.setattr(serve, "PATIENCE_S", 60.0)
        lines = [stack.enter_context(connected(served)) for _ in range(serve.MOST)]
        until(lambda: at_work() == serve.MOST)
        assert all(ended(stack.enter_context(connected(served))) for _ in range(3))
        assert at_work() == serve.MOST
        monkeypatch.setattr(serve, "PATIENCE_S", 0.0)
        assert all(ended(line) for line in lines)
        monkeypatch.setattr(serve, "PATIENCE_S", 60.0)
    until(lambda: not at_work())
    assert get(served)[0] == 200


def test_clients_that_are_gone_before_their_answer_leave_no_word(served: Served, capfd: pytest.CaptureFixture[str]) -> None:
    for sent in (b"", b"GET /metrics HTTP/1.0\r\n\r\n", b"\x16\x03\x01 no HTTP at all\r\n\r\n"):
        connected(served, sent).close()
    assert get(served)[0] == 200
    assert capfd.readouterr().err == ""


def test_closing_waits_for_no_client(served: Served) -> None:
    with connected(served) as hanging:
        began = time.monotonic()
        served.close()
        assert ended(hanging)
        assert time.monotonic() - began < 3


def test_many_scrapes_at_the_same_time_while_it_is_counted(metrics: Metrics, served: Served) -> None:
    stop = threading.Event()

    def count() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            metrics.turns_total.inc()
            metrics.active_nodes.set_all({f"type-{n % 7}": 1, "cpu": n})

    counting = threading.Thread(target=count)
    counting.start()
    try:
        with ThreadPoolExecutor(8) as pool:
            texts = list(pool.map(lambda _: get(served), range(80)))
    finally:
        stop.set()
        counting.join()
    assert {status for status, _, _ in texts} == {200}
    for _, _, text in texts:
        found = scraped(text)
        assert ("cpu", "session_1") in found.get("autoscaler_active_nodes", {("cpu", "session_1"): 0.0})
        assert found["rayctl_scaler_turns_total"][()] >= 0
