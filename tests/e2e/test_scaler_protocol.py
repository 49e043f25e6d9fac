# SPDX-License-Identifier: Apache-2.0
"""What the scaler sends to a real head, recorded on the way: nothing that could end it; and nothing goes beside the seam."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from rayctl.events import Bus
from rayctl.gcs.messages import MESSAGES
from rayctl.operations import joined
from rayctl.operations.scaling.outside import RealOutside
from rayctl.operations.session import Session
from rayctl.reconcile.seam import seam
from rayctl.scaler import Scaler
from tests.e2e.scaled_clusters import Cluster, cluster_of
from tests.unit.scaler.bypass import watching

import grpc  # isort: skip  # after the client, which keeps it quiet

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
STATE = "/ray.rpc.autoscaler.AutoscalerStateService/GetClusterResourceState"
DRAIN = "/ray.rpc.autoscaler.AutoscalerStateService/DrainNode"
FILE = """\
cluster_name: recorded
provider: {type: embedded}
max_workers: 1
idle_timeout_minutes: 0.05
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1, object_store_memory: 80000000}}
  worker: {max_workers: 1, resources: {CPU: 1, gold: 1, object_store_memory: 80000000}}
"""
JOB = """
@ray.remote(num_cpus=1, resources={"gold": 1})
def work():
    return "done"

print(ray.get(work.remote()))
"""


class Recorder(grpc.GenericRpcHandler):
    """Hands every call on to a head, and keeps what was asked."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.requests: list[tuple[str, bytes]] = []

    def service(self, call: Any) -> Any:
        def handle(request: bytes, context: Any) -> bytes:
            self.requests.append((call.method, request))
            try:
                return self.channel.unary_unary(call.method)(request, metadata=call.invocation_metadata, timeout=5)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details())
                raise

        return grpc.unary_unary_rpc_method_handler(handle)


@contextmanager
def recording(address: str) -> Iterator[tuple[Recorder, str]]:
    recorder = Recorder(address)
    with ThreadPoolExecutor(4) as pool:
        server = grpc.server(pool, handlers=(recorder,), options=(("grpc.so_reuseport", 0),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield recorder, f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()
            recorder.channel.close()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with cluster_of(tmp_path, FILE) as made:
        monkeypatch.setenv("RAYCTL_HOME", str(made.home))
        yield made


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Session]:
    """A session on a cluster that is up."""
    with closing(Session.open("scaler", cluster.file, {}, Bus("scaler", "recorded", []))) as opened:
        yield opened


def test_neither_a_remembered_version_nor_an_id_of_another_length_is_sent_and_no_effect_bypasses_the_seam(
    cluster: Cluster, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ExitStack() as watched, recording(joined.gcs_address(session)) as (recorder, via):

        @contextmanager
        def way_to(_: Session) -> Iterator[str]:
            yield via

        monkeypatch.setattr(joined, "_way_to", way_to)
        outside = RealOutside(session)
        outside.start()
        watch = watched.enter_context(watching(threads=("",)))  # what was begun through the seam goes on in other threads
        scaler = Scaler(seam(outside, watch.around), session.deployment.cluster_id or "")
        job = cluster.driver(JOB)
        end = time.monotonic() + 120
        try:
            while time.monotonic() < end and not (job.poll() is not None and len(scaler.lives) == 1):
                time.sleep(watch.turn(scaler))
        finally:
            outside.close()
    said, _ = job.communicate(timeout=30)
    assert not watch.strays
    assert {"remember", "publish", "hold"} <= watch.within.keys()
    assert "done" in said
    states = [request for method, request in recorder.requests if method == STATE]
    assert states
    assert set(states) == {b""}
    drains = [MESSAGES["DrainNodeRequest"].FromString(request) for method, request in recorder.requests if method == DRAIN]
    assert drains
    assert {len(drain.node_id) for drain in drains} == {28}
    assert any(method.endswith("ReportAutoscalingState") for method, _ in recorder.requests)
    assert any(method.endswith("ReportClusterConfig") for method, _ in recorder.requests)
