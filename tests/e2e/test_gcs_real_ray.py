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

from rayctl.gcs.autoscaler import AutoscalerClient, Coming, DrainReason, Failed, NodeGroup, Report
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


CONFIG = """
import ray, sys
from ray._private.state import state
ray.init(address=sys.argv[1], log_to_driver=False)
print(state.get_cluster_config())
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


def printed(head, *command):
    done = subprocess.run(command, env=head.env, stdin=DEVNULL, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_we_report_is_what_ray_status_shows(head):
    report = Report(
        coming=(Coming("cpu.od"), Coming("cpu.spot", "i-7", "10.0.0.7", "set-up step 3 of 5")),
        failed=(Failed("gpu.spot", 1, "no capacity in zone a", time.time() - 5, time.time()),),
    )
    with AutoscalerClient(head.address) as client:
        client.report(report)
    shown = printed(head, RAY, "status", "-v", "--address", head.address)
    assert "cpu.od, 1 launching" in shown
    assert "i-7: cpu.spot, set-up step 3 of 5" in shown
    assert "gpu.spot: LaunchFailed" in shown
    assert "no capacity in zone a" in shown


def test_libraries_read_which_nodes_there_could_be(head):
    with AutoscalerClient(head.address) as client:
        client.describe([NodeGroup("cpu.spot", {"CPU": 8.0}, 0, 5)])
    shown = printed(head, sys.executable, "-c", CONFIG, head.address)
    assert 'name: "cpu.spot"' in shown
    assert "max_count: 5" in shown


def test_values_at_the_head_can_be_a_compare_and_set(head):
    with AutoscalerClient(head.address) as client:
        assert client.put(b"lease/1", b"ours", namespace=b"rayctl", overwrite=False)
        assert not client.put(b"lease/1", b"theirs", namespace=b"rayctl", overwrite=False)
        assert client.get(b"lease/1", namespace=b"rayctl") == b"ours"
        client.delete(b"lease/1", namespace=b"rayctl")
        assert client.get(b"lease/1", namespace=b"rayctl") == b""


def test_an_idle_node_is_drained_at_once_and_a_busy_one_refuses(head, tmp_path):
    with worker(head, "i-w") as ready, AutoscalerClient(head.address) as client:
        node = ready()
        with busy_on(head, "worker_only", tmp_path / "held"):
            assert "no longer idle" in refusal(client, node)
        assert until(lambda: client.drain(node, DrainReason.IDLE, "idle for 300 s") == "")
        assert until(lambda: all(n.state is RayState.DEAD for n in client.nodes() if n.instance_id == "i-w"))
        assert [n.instance_id for n in client.nodes() if n.state.alive] == ["i-head"]


def refusal(client, node):
    """The words with which a node refuses, once it knows that it is busy."""
    words = []
    until(lambda: words.append(client.drain(node, DrainReason.IDLE, "idle")) or words[-1] != "")
    return words[-1]


def until(happened, deadline_s=30):
    ends = time.monotonic() + deadline_s
    while time.monotonic() < ends:
        if happened():
            return True
        time.sleep(0.2)
    return False


@contextmanager
def worker(head, instance_id):
    """A second node of the head's cluster, on an address of its own; yields what waits for it."""
    folder = Path(tempfile.mkdtemp(prefix="rw-", dir="/tmp"))
    env = head.env | {"RAY_CLOUD_INSTANCE_ID": instance_id, "RAY_NODE_TYPE_NAME": "cpu.spot"}
    agents = free_ports(4)
    names = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "metrics-export-port", "runtime-env-agent-port")
    flags = [f"--{name}={value}" for name, value in zip(names, agents, strict=True)]
    flags += ["--node-ip-address=127.0.0.10", "--num-cpus=1", "--resources", '{"worker_only": 1}', "--min-worker-port=0"]
    command = [str(RAY), "start", f"--address={head.address}", "--disable-usage-stats", "--max-worker-port=0", *flags]
    start = subprocess.Popen(command, env=env, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, text=True, start_new_session=True)

    def ready():
        (node,) = wait_for_nodes(head.address, {instance_id}, deadline_s=60)
        return node

    try:
        out, _ = start.communicate(timeout=120)
        assert start.returncode == 0, out
        yield ready
    finally:
        end_session(start.pid)
        shutil.rmtree(folder)


@contextmanager
def busy_on(head, resource, mark):
    """A task that holds a resource, for the length of a `with` block. It makes a file `mark`."""
    script = (
        "import os, ray, sys, time\nray.init(address=sys.argv[1], log_to_driver=False)\n"
        "@ray.remote\ndef hold(path):\n    open(path, 'w').close()\n    time.sleep(600)\n"
        f"held = hold.options(num_cpus=1, resources={{{resource!r}: 1}}).remote(sys.argv[2])\n"
        "while not os.path.exists(sys.argv[2]): time.sleep(0.1)\n"
        "time.sleep(2)\nprint('held', flush=True)\nsys.stdin.readline()\n"
    )
    driver = subprocess.Popen(
        [sys.executable, "-c", script, head.address, mark], env=head.env, stdin=PIPE, stdout=PIPE, stderr=STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        assert any(line.strip() == "held" for line in driver.stdout), "the driver ended"
        yield
    finally:
        end_session(driver.pid)
        driver.communicate()


def test_a_plain_head_with_a_token_lets_in_only_its_bearer_and_stores_the_request():
    with ray_head(token=secrets.token_hex(32), modern=False) as head:
        with GcsClient(head.address, token=head.token) as client, asking(head):
            view = view_with_demand(client)
        assert [node.instance_id for node in view.nodes] == ["i-head"]
        assert sorted(view.requested, key=str) == [Demand({"CPU": 1.0}, 5), Demand({"GPU": 1.0}, 1)]
        for wrong in ("", "not-the-token"):
            with GcsClient(head.address, token=wrong) as client, pytest.raises(GcsUnauthenticated):
                client.ray_version()
