# SPDX-License-Identifier: Apache-2.0
"""The client against a real Ray head: its own, on a port of its own, ended by its own process session and nothing else."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT

import pytest

from rayctl.gcs.client import GcsClient, wait_for_nodes
from rayctl.gcs.errors import GcsUnauthenticated
from rayctl.gcs.view import ClusterView, Demand, RayState

import grpc  # isort: skip  # after the client, which keeps it quiet

ADDRESS = "127.0.0.9"  # Ray replaces 127.0.0.1 by the machine's own
RAY = Path(sys.executable).with_name("ray")
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.skipif(not RAY.exists(), reason="no ray beside this Python")]

DRIVER = """
import ray, sys
from ray.autoscaler.sdk import request_resources
from ray.util.placement_group import placement_group

ray.init(address=sys.argv[1], log_to_driver=False)

@ray.remote
def work(): pass

held = [work.options(num_cpus=3).remote() for _ in range(4)]
held.append(work.options(num_cpus=1, label_selector={"zone": "!in(b,a)"}, resources={"gold": 1}).remote())
group = placement_group([{"CPU": 2}] * 3, strategy="STRICT_SPREAD")
held.append(work.options(num_cpus=1, placement_group=group).remote())
request_resources(bundles=[{"CPU": 1}] * 5 + [{"GPU": 1}])
print("asked", flush=True)
sys.stdin.readline()
"""


@dataclass(frozen=True)
class Head:
    address: str
    token: str
    env: dict[str, str]


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def end_session(leader: int) -> None:
    """Kill what is left of one process session, again until a look finds nobody."""
    while members := [proc.name for proc in Path("/proc").glob("[0-9]*") if _session(proc) == leader]:
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.1)


def _session(proc: Path) -> int:
    """The session of a process; 0 for one that has ended."""
    try:
        stat = (proc / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    state, _, _, session = stat.rpartition(")")[2].split()[:4]
    return 0 if state == "Z" else int(session)


@contextmanager
def ray_head(*, token: str = "", modern: bool = True) -> Iterator[Head]:
    """A head on one loopback address; `modern` ones take resource requests through the autoscaler service."""
    folder = Path(tempfile.mkdtemp(prefix="rh-", dir="/tmp"))  # short: socket paths end at 107 bytes
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"HOME": str(folder), "RAY_CLOUD_INSTANCE_ID": "i-head", "RAY_NODE_TYPE_NAME": "head.type"}
    env |= {"RAY_enable_autoscaler_v2": "1" if modern else "0", "RAY_AUTH_MODE": "token" if token else "disabled"}
    if token:
        (folder / "token").touch(0o600)
        (folder / "token").write_text(token)
        env["RAY_AUTH_TOKEN_PATH"] = str(folder / "token")
    port, client, *agents = free_ports(6)
    names = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")
    flags = [f"--{name}={value}" for name, value in zip(names, agents, strict=True)]
    flags += [f"--port={port}", f"--ray-client-server-port={client}", "--min-worker-port=0", "--max-worker-port=0"]
    flags += [f"--node-ip-address={ADDRESS}", "--num-cpus=1", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}"]
    command = [str(RAY), "start", "--head", "--disable-usage-stats", *flags]
    start = subprocess.Popen(command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True)
    try:
        out, _ = start.communicate(timeout=120)
        assert start.returncode == 0, out
        yield Head(f"{ADDRESS}:{port}", token, env)
    finally:
        end_session(start.pid)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    with ray_head() as running:
        yield running


@contextmanager
def asking(head: Head) -> Iterator[None]:
    """A driver that wants more than the head has, for the length of a `with` block."""
    command = [sys.executable, "-c", DRIVER, head.address]
    driver = subprocess.Popen(command, env=head.env, stdin=PIPE, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True)
    try:
        assert any(line.strip() == "asked" for line in driver.stdout), "the driver ended"
        yield
    finally:
        end_session(driver.pid)
        driver.communicate()


@contextmanager
def as_old_head(address: str) -> Iterator[str]:
    """The same head as one of before the autoscaler service: a relay that does not serve it."""

    class Relay(grpc.GenericRpcHandler):
        def service(self, call: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            if "AutoscalerStateService" in call.method:
                return None
            return grpc.unary_unary_rpc_method_handler(lambda request, _: channel.unary_unary(call.method)(request, timeout=10))

    with grpc.insecure_channel(address) as channel, ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, handlers=(Relay(),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(grace=None).wait()


def view_with_demand(client: GcsClient) -> ClusterView:
    """The head hears of its nodes' load about once a second."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        view = client.cluster()
        if sorted(demand.count for demand in view.pending) == [1, 4] and view.gangs:
            return view
        time.sleep(0.2)
    raise AssertionError(f"demand never showed: {view}")


def test_a_real_head_tells_who_it_is(head):
    (node,) = wait_for_nodes(head.address, {"i-head"}, deadline_s=60)
    assert (node.instance_id, node.node_type, node.address, node.is_head) == ("i-head", "head.type", ADDRESS, True)
    assert node.state in (RayState.IDLE, RayState.RUNNING)
    assert node.total["CPU"] == 1
    assert node.total.keys() == {"CPU", "memory", "object_store_memory"}
    assert len(bytes.fromhex(node.node_id)) == 28
    with GcsClient(head.address) as client:
        assert client.ray_version() == version("ray")
        assert len(bytes.fromhex(client.cluster_id())) == 28
        view = client.cluster()
    assert view.session_name.startswith("session_")
    assert (view.pending, view.gangs, view.requested) == ((), (), ())


def test_real_demand_is_read_from_both_protocols(head):
    with asking(head), GcsClient(head.address) as client, as_old_head(head.address) as old, GcsClient(old) as old_client:
        view, old_view = view_with_demand(client), view_with_demand(old_client)
    plain, picky = sorted(view.pending, key=lambda demand: -demand.count)
    assert plain == Demand({"CPU": 3.0}, 4)
    assert (picky.shape, picky.count) == ({"CPU": 1.0, "gold": 1.0}, 1)
    ((rule,),) = picky.selectors
    assert (rule.key, rule.values, rule.negated) == ("zone", ("a", "b"), True)
    (gang,) = view.gangs
    assert (gang.strategy, gang.bundles) == ("STRICT_SPREAD", (Demand({"CPU": 2.0}, 3),))
    assert sorted(view.requested, key=str) == [Demand({"CPU": 1.0}, 5), Demand({"GPU": 1.0}, 1)]

    assert sorted(old_view.pending, key=str) == sorted((replace(demand, selectors=()) for demand in view.pending), key=str)
    assert old_view.gangs == view.gangs
    assert old_view.session_name == view.session_name
    (node,), (old_node,) = view.nodes, old_view.nodes
    assert replace(old_node, idle_s=0, state=node.state) == replace(node, idle_s=0)


def test_a_plain_head_with_a_token_lets_in_only_its_bearer_and_stores_the_request():
    with ray_head(token=secrets.token_hex(32), modern=False) as head:
        with GcsClient(head.address, token=head.token) as client, asking(head):
            view = view_with_demand(client)
        assert [node.instance_id for node in view.nodes] == ["i-head"]
        assert sorted(view.requested, key=str) == [Demand({"CPU": 1.0}, 5), Demand({"GPU": 1.0}, 1)]
        for wrong in ("", "not-the-token"):
            with GcsClient(head.address, token=wrong) as client, pytest.raises(GcsUnauthenticated):
                client.ray_version()
