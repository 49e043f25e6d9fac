# SPDX-License-Identifier: Apache-2.0
"""The client against a server that answers as a head would, good and bad."""

import socket
import subprocess
import sys
import threading
import time
from subprocess import PIPE

import grpc
import pytest
from fake_gcs import ALIVE, CLUSTER_ID, INFOS, KV, STATE, USAGE, encoded, kv, serving, state

from rayctl.errors import RayctlError, Unreachable
from rayctl.gcs.client import GcsClient, wait_for_nodes
from rayctl.gcs.errors import GcsError, GcsUnauthenticated, GcsUnavailable, GcsUnexpected
from rayctl.gcs.view import Demand, RayState

RUNNING, DEAD, IDLE, DRAINING = 1, 2, 3, 4
REQUESTED = kv({(b"", b"autoscaler_resource_request"): b'[{"CPU": 2}]', (b"session", b"session_name"): b"session_old"})


def nodes(**status_of: int) -> bytes:
    """A reply with these instances in these states."""
    return state(node_states=[{"instance_id": name, "status": status} for name, status in status_of.items()])


def failing(code: grpc.StatusCode, details: str = ""):
    def answer(_, context):
        context.abort(code, details)

    return answer


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Clock:
    """Time that passes only by sleeping; `script` runs at the sleep of its number."""

    def __init__(self, *script):
        self.now, self.script, self.naps = 100.0, list(script), []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps.append(seconds)
        if self.script:
            self.script.pop(0)()


def test_the_handshake_tells_version_and_cluster():
    answers = {
        ALIVE: encoded("CheckAliveReply", ray_version="2.60.0"),
        CLUSTER_ID: encoded("GetClusterIdReply", cluster_id=b"\x0a\xff"),
    }
    with serving(answers) as fake, GcsClient(fake.address) as client:
        assert (client.ray_version(), client.cluster_id()) == ("2.60.0", "0aff")


def test_the_cluster_is_read_in_one_view():
    constraint = {"resource_requests": [{"request": {"resources_bundle": {"CPU": 1}}, "count": 8}]}
    queued = {"request": {"resources_bundle": {"GPU": 1}}, "count": 3}
    answer = state(
        cluster_session_name="session_x",
        node_states=[{"instance_id": "i-1", "status": IDLE}, {"instance_id": "i-2", "status": DEAD}],
        pending_resource_requests=[queued],
        cluster_resource_constraints=[constraint],
    )
    with serving({STATE: answer, KV: REQUESTED}) as fake, GcsClient(fake.address) as client:
        view = client.cluster()
    assert view.session_name == "session_x"
    assert [(node.instance_id, node.state) for node in view.nodes] == [("i-1", RayState.IDLE), ("i-2", RayState.DEAD)]
    assert view.pending == (Demand({"GPU": 1}, 3),)
    assert view.requested == (Demand({"CPU": 1}, 8),), "the service's answer wins over the key-value store's"


def test_a_resource_request_is_found_where_a_plainly_started_head_keeps_it():
    with serving({STATE: state(), KV: REQUESTED}) as fake, GcsClient(fake.address) as client:
        assert client.cluster().requested == (Demand({"CPU": 2}, 1),)


def test_the_store_is_not_asked_by_those_who_know_that_nothing_goes_there():
    with serving({STATE: state(), KV: REQUESTED}) as fake, GcsClient(fake.address) as client:
        assert client.cluster(stored=False).requested == ()
    assert [method for method, _ in fake.requests] == [STATE]


def test_no_request_ever_carries_a_remembered_version():
    with serving({STATE: state(cluster_session_name="s")}) as fake, GcsClient(fake.address) as client:
        client.cluster()
        client.cluster()
        client.nodes()
    assert [request for method, request in fake.requests if method == STATE] == [b"", b"", b""]


def test_a_head_without_the_autoscaler_service_is_asked_the_old_way():
    answers = {
        INFOS: encoded("GetAllNodeInfoReply", node_info_list=[{"node_id": b"\x01", "instance_id": "i-1"}]),
        USAGE: encoded(
            "GetAllResourceUsageReply",
            resource_usage_data={
                "batch": [{"node_id": b"\x01", "resources_total": {"CPU": 4}, "resources_available": {"CPU": 4}}]
            },
        ),
        KV: REQUESTED,
    }
    with serving(answers) as fake, GcsClient(fake.address) as client:
        view = client.cluster()
        assert client.nodes() == view.nodes
        assert client.cluster_id() == ""
    assert view.session_name == "session_old"
    assert [(node.instance_id, node.state, node.total) for node in view.nodes] == [("i-1", RayState.IDLE, {"CPU": 4.0})]
    assert view.requested == (Demand({"CPU": 2}, 1),)


def test_the_right_token_is_let_in():
    with serving({STATE: nodes(a=RUNNING)}, token="s3cret") as fake, GcsClient(fake.address, token="s3cret\n") as client:
        assert [node.instance_id for node in client.nodes()] == ["a"]


@pytest.mark.parametrize(("token", "says"), [("", "we have none"), ("other", "refuses our token")])
def test_a_missing_or_wrong_token_is_told_apart(token, says):
    with serving({STATE: state()}, token="s3cret") as fake, GcsClient(fake.address, token=token) as client:
        with pytest.raises(GcsUnauthenticated, match=says) as caught:
            client.cluster()
        assert "RAY_AUTH_TOKEN" in caught.value.hint
        assert "s3cret" not in str(caught.value)


def test_nothing_listening_is_told_at_once(free_port):
    before = time.monotonic()
    with GcsClient(f"127.0.0.1:{free_port}") as client, pytest.raises(GcsUnavailable, match="Connection refused") as caught:
        client.ray_version()
    assert time.monotonic() - before < 2
    assert caught.value.exit_code == Unreachable.exit_code == 4
    assert str(free_port) in str(caught.value)


def test_a_head_that_hangs_ends_at_the_deadline():
    release = threading.Event()

    def hang(*_) -> bytes:
        release.wait(30)
        return b""

    with serving({STATE: hang}) as fake, GcsClient(fake.address, timeout_s=0.2) as client:
        try:
            with pytest.raises(GcsUnavailable, match=r"no answer within 0\.2 s"):
                client.cluster()
        finally:
            release.set()


def test_something_that_is_no_ray_head_is_unexpected():
    with serving({}) as fake, GcsClient(fake.address) as client:
        for ask in (client.ray_version, client.cluster, client.nodes):
            with pytest.raises(GcsUnexpected) as caught:
                ask()
            assert "ray start --port" in caught.value.hint


def test_a_head_that_fails_while_answering_is_quoted():
    with serving({STATE: failing(grpc.StatusCode.INTERNAL, "out of ideas")}) as fake, GcsClient(fake.address) as client:
        with pytest.raises(GcsUnexpected, match="INTERNAL: out of ideas") as caught:
            client.cluster()
        assert caught.value.exit_code == RayctlError.exit_code == 1


def test_an_answer_that_is_no_message_is_unexpected(capfd):
    with serving({STATE: b"\xff\xff\xff", KV: kv({})}) as fake, GcsClient(fake.address) as client:
        with pytest.raises(GcsUnexpected, match="cannot be read"):
            client.cluster()
        assert capfd.readouterr().err == "", "grpc's own decoding would log a traceback"


def test_a_stored_request_that_cannot_be_read_is_unexpected():
    broken = kv({(b"", b"autoscaler_resource_request"): b"{"})
    with serving({STATE: state(), KV: broken}) as fake, GcsClient(fake.address) as client:
        with pytest.raises(GcsUnexpected, match="resource request cannot be read") as caught:
            client.cluster()
        assert fake.address in caught.value.message


def test_a_proxy_in_the_environment_is_not_asked(monkeypatch, free_port):
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving({STATE: nodes(a=IDLE)}) as fake, GcsClient(fake.address) as client:
        assert len(client.nodes()) == 1


def test_all_errors_are_one_family():
    assert all(issubclass(kind, GcsError) for kind in (GcsUnavailable, GcsUnauthenticated, GcsUnexpected))


PROBE = """
import os, sys
before = dict(os.environ)
from rayctl.gcs.client import GcsClient, GcsUnavailable
client = GcsClient(sys.argv[1])
print(len(client.nodes()), flush=True)
sys.stdin.readline()
for _ in range(3):
    try: client.nodes()
    except GcsUnavailable: print("gone")
if os.fork() == 0: os._exit(0)
os.wait()
print("ray" in sys.modules, dict(os.environ) == before)
"""


def test_losing_the_head_is_silent_leaves_the_environment_alone_and_lets_the_process_end():
    command = [sys.executable, "-W", "error", "-c", PROBE]
    with serving({STATE: nodes(a=IDLE)}) as fake:
        probe = subprocess.Popen([*command, fake.address], stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True)
        assert probe.stdout.readline() == "1\n"
    out, err = probe.communicate("the head is gone\n", timeout=30)
    assert (out.split(), err, probe.returncode) == (["gone"] * 3 + ["False", "True"], "", 0)


def test_waiting_ends_when_all_wanted_nodes_are_alive_in_whatever_way():
    counts, clock = (
        [],
        Clock(
            lambda: fake.answers.update({STATE: nodes(a=RUNNING, other=RUNNING)}),
            lambda: fake.answers.update({STATE: nodes(a=RUNNING, b=DEAD, c=DRAINING)}),
            lambda: fake.answers.update({STATE: nodes(a=RUNNING, b=IDLE, c=DRAINING, other=RUNNING)}),
        ),
    )
    with serving({STATE: state()}) as fake:
        alive = wait_for_nodes(
            fake.address, {"a", "b", "c"}, deadline_s=60, clock=clock, sleep=clock.sleep, on_change=counts.append
        )
    assert [node.instance_id for node in alive] == ["a", "b", "c"]
    assert counts == [1, 2, 3]
    assert clock.naps == [0.2, 0.2, 0.2]


def test_waiting_gives_what_is_alive_at_the_deadline(monkeypatch):
    monkeypatch.setattr("rayctl.gcs.client.POLL_S", 5.0)  # which the last question is given
    clock = Clock()
    with serving({STATE: nodes(a=IDLE, b=DEAD)}) as fake:
        alive = wait_for_nodes(fake.address, {"a", "b"}, deadline_s=0.5, clock=clock, sleep=clock.sleep)
    assert [node.instance_id for node in alive] == ["a"]
    assert clock.now == pytest.approx(100.5)


def test_a_node_that_came_back_counts_once_beside_its_dead_self():
    twice = state(node_states=[{"instance_id": "a", "status": DEAD}, {"instance_id": "a", "status": RUNNING}])
    counts = []
    with serving({STATE: twice}) as fake:
        (node,) = wait_for_nodes(fake.address, {"a"}, deadline_s=5, on_change=counts.append)
    assert (node.state, counts) == (RayState.RUNNING, [1])


def test_waiting_takes_a_head_that_does_not_answer_for_not_yet():
    clock = Clock(lambda: fake.answers.update({STATE: nodes(a=IDLE)}))
    with serving({STATE: failing(grpc.StatusCode.UNAVAILABLE)}) as fake:
        alive = wait_for_nodes(fake.address, {"a"}, deadline_s=60, clock=clock, sleep=clock.sleep)
    assert (len(alive), len(clock.naps)) == (1, 1)


def test_waiting_sees_a_head_that_starts_late_soon(free_port):
    address, started = f"127.0.0.1:{free_port}", []

    def sleep(seconds: float) -> None:
        time.sleep(seconds)
        if not started:
            started.append((serving({STATE: nodes(a=IDLE)}, port=free_port), time.monotonic()))
            started[0][0].__enter__()

    try:
        assert len(wait_for_nodes(address, {"a"}, deadline_s=20, sleep=sleep)) == 1
        assert time.monotonic() - started[0][1] < 2, "grpc's back-off must stay short"
    finally:
        started[0][0].__exit__(None, None, None)


def test_waiting_for_a_head_that_never_starts_ends_empty(free_port):
    clock = Clock()
    assert wait_for_nodes(f"127.0.0.1:{free_port}", {"a"}, deadline_s=1, clock=clock, sleep=clock.sleep) == ()


def test_waiting_asks_once_even_without_time(monkeypatch):
    monkeypatch.setattr("rayctl.gcs.client.POLL_S", 5.0)  # which the last question is given
    with serving({STATE: nodes(a=IDLE)}) as fake:
        assert len(wait_for_nodes(fake.address, {"a"}, deadline_s=0)) == 1


def test_waiting_for_nobody_asks_nobody():
    with serving({STATE: state()}) as fake:
        assert wait_for_nodes(fake.address, set(), deadline_s=60) == ()
    assert fake.requests == []


def test_waiting_with_a_wrong_token_raises_at_once():
    with serving({STATE: state()}, token="s3cret") as fake, pytest.raises(GcsUnauthenticated):
        wait_for_nodes(fake.address, {"a"}, deadline_s=60, token="other")
