# SPDX-License-Identifier: Apache-2.0
"""Embedded nodes: what each gets of its own, what ends with it, and that nothing else does.

The processes are stand-ins: copies of `sleep` that bear the names of Ray's.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayctl.errors import Category, ProviderError, StateRefused
from rayctl.node import processes
from rayctl.providers.base import Kind, LaunchRequest, Node, NodeState, Slot
from rayctl.providers.embedded import EmbeddedProvider, ports, scratch

# not the same in each run: tests that run beside these must not end each other's stand-ins
CLUSTER_ID, OTHER_ID = str(uuid.uuid4()), str(uuid.uuid4())

StandIn = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home of rayctl, and a /tmp of its own."""
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(scratch, "TMP", tmp_path / "tmp")
    return tmp_path / "home"


@pytest.fixture
def stand_in(tmp_path: Path) -> Iterator[StandIn]:
    """Starts a `sleep` under another name in a session of its own, with these variables in its environment."""
    children: list[subprocess.Popen[bytes]] = []
    sleep = shutil.which("sleep")
    assert sleep

    def start(name: str, **env: str) -> subprocess.Popen[bytes]:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        if not program.exists():
            shutil.copy(sleep, program)
        child = subprocess.Popen([program, "60"], env={"STAND_IN": name, **env}, start_new_session=True)
        children.append(child)
        while b"STAND_IN=" not in Path(f"/proc/{child.pid}/environ").read_bytes():
            time.sleep(0.001)  # the kernel shows the new environment last
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()


def cluster(name: str = "demo", cluster_id: str = CLUSTER_ID) -> EmbeddedProvider:
    provider = EmbeddedProvider(name, {"type": "embedded"})
    provider.bootstrap(cluster_id)
    return provider


def launch(provider: EmbeddedProvider, *names: str, kind: Kind = Kind.WORKER) -> list[Node]:
    slots = tuple(Slot(name, f"token-of-{name}") for name in names)
    result = provider.launch(LaunchRequest(kind, "worker", slots))
    assert result.error is None
    return list(result.nodes)


def addresses(nodes: list[Node]) -> list[str]:
    return [node.addresses.internal for node in nodes if node.addresses]


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_nodes_of_all_clusters_have_addresses_of_their_own() -> None:
    nodes = launch(cluster(), "demo-0", "demo-1") + launch(cluster("other", OTHER_ID), "other-0")
    assert addresses(nodes) == ["127.0.0.2", "127.0.0.3", "127.0.0.4"]


def test_an_address_is_used_again_once_its_node_is_gone() -> None:
    provider = cluster()
    first, _ = launch(provider, "demo-0", "demo-1")
    provider.terminate([first.id])
    assert addresses(launch(provider, "demo-2")) == ["127.0.0.2"]


def test_no_two_nodes_share_a_port() -> None:
    provider, other = cluster(), cluster("other", OTHER_ID)
    nodes = [(provider, node) for node in launch(provider, "demo-0", "demo-1")]
    nodes += [(other, node) for node in launch(other, "other-0", kind=Kind.HEAD)]
    fixed: list[int] = []
    for owner, node in nodes:
        flags = dict(owner.start_flags(node))
        fixed += range(int(flags.pop("min-worker-port")), int(flags.pop("max-worker-port")) + 1)
        fixed += [int(value) for flag, value in flags.items() if flag == "port" or flag.endswith("-port")]
    assert len(fixed) == len(set(fixed)) > 3 * 240


def test_a_head_gets_the_ports_of_its_daemons_too() -> None:
    provider = cluster()
    (worker,) = launch(provider, "demo-0")
    (head,) = launch(provider, "demo-head", kind=Kind.HEAD)
    extra = provider.start_flags(head).keys() - provider.start_flags(worker).keys()
    assert extra == {"port", "ray-client-server-port", "dashboard-port"}


def test_a_block_with_a_foreign_listener_is_passed_over(free_blocks: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = free_blocks
    monkeypatch.setattr(ports, "blocks", lambda ephemeral, uid: [first, second])
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.77", first + 200))
        foreign.listen()
        provider = cluster()
        (node,) = launch(provider, "demo-0")
    assert provider.start_flags(node)["object-manager-port"] == str(second + 3)


def test_without_a_free_block_there_is_a_shortfall_for_capacity(
    free_blocks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = cluster()
    monkeypatch.setattr(ports, "blocks", lambda ephemeral, uid: free_blocks[:1])
    result = provider.launch(LaunchRequest(Kind.WORKER, "worker", (Slot("demo-0", "t0"), Slot("demo-1", "t1"))))
    assert ([node.name for node in result.nodes], result.shortfall) == (["demo-0"], 1)
    assert result.error is not None
    assert result.error.category is Category.CAPACITY


def test_folders_of_a_node_are_private_and_short_enough_for_sockets() -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    temporary = Path(provider.start_flags(node)["temp-dir"])
    assert temporary == scratch.TMP / f"rayctl-{os.geteuid()}" / CLUSTER_ID[:8] / "2" / "ray"
    state_dir = Path(provider.connection(node).state_dir)
    assert {mode(path) for path in (temporary.parent, temporary.parent.parent, state_dir)} == {0o700}
    session = "ray/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store_1"
    assert len(f"/tmp/rayctl-4294967294/0b0e1c9a/254/{session}") <= 107


def test_commands_run_with_the_interpreter_that_runs_rayctl() -> None:
    provider = cluster()
    connection = provider.connection(launch(provider, "demo-0")[0])
    assert (connection.kind, connection.address, dict(connection.env)) == ("local", "127.0.0.2", {})
    assert connection.python == (sys.executable,)
    assert connection.path_prefix == (str(Path(sys.executable).parent),)


def test_an_interpreter_of_the_users_choice_is_not_resolved(tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    cluster()
    provider = EmbeddedProvider("demo", {"python": str(python)})
    connection = provider.connection(launch(provider, "demo-0")[0])
    assert connection.python == (str(python),)
    assert connection.path_prefix == (str(python.parent),)


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    cluster()
    provider = EmbeddedProvider("demo", {"python": str(tmp_path / "python9")})
    with pytest.raises(ProviderError, match="python9 is no program"):
        provider.connection(launch(provider, "demo-0")[0])


def test_terminate_ends_all_of_the_node_and_nothing_else(home: Path, stand_in: StandIn) -> None:
    provider = cluster()
    doomed, neighbour = launch(provider, "demo-0", "demo-1")
    temporary = Path(provider.start_flags(doomed)["temp-dir"]).parent
    mark = f"{CLUSTER_ID}/demo-0"
    ours = [
        stand_in("raylet", RAYCTL_NODE=mark),
        stand_in("gcs_server", RAYCTL_NODE=mark),
        stand_in("dockerd", RAYCTL_STEP=mark),
    ]
    foreign = [
        stand_in("raylet"),
        stand_in("raylet", RAYCTL_NODE=f"{CLUSTER_ID}/demo-1"),
        stand_in("gcs_server", RAYCTL_NODE="x"),
    ]
    assert provider.terminate([doomed.id]) == {doomed.id: None}
    assert all(child.wait(1) for child in ours)
    assert [child.poll() for child in foreign] == [None, None, None]
    assert provider.list_nodes() == [neighbour]
    assert not temporary.exists()
    assert [path.name for path in sorted((home / "embedded/demo/nodes").iterdir())] == ["demo-1", "demo-1.json"]


def test_what_can_not_be_ended_stays_on_record_as_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    immortal = processes.Process(4242, 1, "raylet", 4242)
    with monkeypatch.context() as patch:
        patch.setattr(processes, "stop", lambda *args, **kwargs: [immortal])
        error = provider.terminate([node.id])[node.id]
    assert error is not None
    assert error.category is Category.TRANSIENT
    assert "raylet (4242)" in error.message
    assert [left.state for left in provider.list_nodes()] == [NodeState.STOPPING]
    assert provider.terminate([node.id]) == {node.id: None}
    assert provider.list_nodes() == []


def test_of_two_that_end_a_node_the_slower_one_spares_its_successor(monkeypatch: pytest.MonkeyPatch) -> None:
    provider, faster = cluster(), cluster()
    (node,) = launch(provider, "demo-0")
    successors: list[Node] = []

    def overtaken(state_dir: str, grace_s: float) -> None:
        patch.undo()
        faster.terminate([node.id])
        successors.extend(launch(faster, "demo-1"))

    with monkeypatch.context() as patch:
        patch.setattr("rayctl.node.control.stop_runner", overtaken)
        assert provider.terminate([node.id]) == {node.id: None}
    assert Path(provider.start_flags(successors[0])["temp-dir"]).parent.is_dir()


def test_a_runner_is_ended_before_what_it_could_start_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    order: list[str] = []
    monkeypatch.setattr("rayctl.node.control.stop_runner", lambda state_dir, grace_s: order.append(state_dir))
    monkeypatch.setattr(processes, "stop", lambda mark, **kwargs: order.append(mark))
    provider.terminate([node.id])
    assert order == [provider.connection(node).state_dir, f"{CLUSTER_ID}/demo-0"]


def test_step_logs_outlive_their_node_until_the_cluster_is_purged(home: Path) -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    logs = Path(provider.connection(node).state_dir) / "machine" / "logs"
    logs.mkdir(parents=True)
    (logs / "01-setup.log").write_text("collecting ray\n")
    provider.terminate([node.id])
    kept = home / "embedded" / ".logs" / "demo" / node.id / "01-setup.log"
    provider.teardown()
    assert kept.read_text() == "collecting ray\n"
    cluster().teardown(purge=True)
    assert not kept.parent.parent.exists()
    assert not (home / "embedded" / "demo").exists()


def test_only_the_latest_nodes_keep_their_logs(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rayctl.providers.embedded.records.LOGS_KEPT", 2)
    provider = cluster()
    for name in ("demo-0", "demo-1", "demo-2"):
        (node,) = launch(provider, name)
        (Path(provider.connection(node).state_dir) / "run.log").write_text(name)
        provider.terminate([node.id])
    kept = sorted(path.read_text() for path in (home / "embedded/.logs/demo").glob("*/run.log"))
    assert kept == ["demo-1", "demo-2"]


def test_a_temporary_folder_that_is_no_longer_ours_is_neither_followed_nor_removed(tmp_path: Path) -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    treasure = tmp_path / "treasure"
    treasure.mkdir()
    temporary = Path(provider.start_flags(node)["temp-dir"]).parent
    temporary.rmdir()
    temporary.symlink_to(treasure)
    error = provider.terminate([node.id])[node.id]
    assert error is not None
    assert "symlink" in error.message
    assert treasure.is_dir()
    assert [left.state for left in provider.list_nodes()] == [NodeState.STOPPING]


def test_a_record_with_a_foreign_path_removes_nothing_there(home: Path, tmp_path: Path) -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    treasure = tmp_path / "tmp" / "x" / "treasure"
    treasure.mkdir(parents=True)
    record = home / "embedded/demo/nodes/demo-0.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"scratch": str(treasure)}))
    error = provider.terminate([node.id])[node.id]
    assert error is not None
    assert treasure.is_dir()


def test_a_folder_in_tmp_that_someone_else_can_write_is_refused() -> None:
    provider = cluster()
    scratch.base().mkdir(parents=True, exist_ok=True)
    scratch.base().chmod(0o777)
    with pytest.raises(StateRefused):
        launch(provider, "demo-0")


def test_a_launch_that_was_killed_half_way_is_completed_by_its_token() -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    temporary = Path(provider.start_flags(node)["temp-dir"]).parent
    temporary.rmdir()
    assert launch(provider, "demo-0") == [node]
    assert temporary.is_dir()


def test_a_temporary_folder_that_a_reboot_took_is_there_again_when_ray_is_started() -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    shutil.rmtree(scratch.TMP)
    temporary = Path(provider.start_flags(node)["temp-dir"]).parent
    assert [mode(path) for path in (temporary, temporary.parent, scratch.base())] == [0o700] * 3


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "demo.json"])
def test_a_name_that_is_no_folder_name_gets_no_node(name: str, home: Path) -> None:
    provider = cluster()
    result = provider.launch(LaunchRequest(Kind.WORKER, "worker", (Slot(name, "t"),)))
    assert (result.nodes, result.shortfall) == ((), 1)
    assert provider.list_nodes() == []


def test_a_record_of_version_1_is_still_read(home: Path) -> None:
    provider = cluster()
    nodes = home / "embedded/demo/nodes"
    nodes.mkdir(mode=0o700)
    (nodes / "demo-0.json").write_text(
        '{"version": 1, "kind": "embedded-node", "id": "demo-0.1a2b3c4d", "name": "demo-0", "node_kind": "head",'
        '"type": "head", "token": "t", "number": 2, "first_port": 10240,'
        '"scratch": "/tmp/rayctl-0/0b0e1c9a/2", "launched_at": 1.5,'
        '"stopping": false, "launch_digest": "v1:00", "resources": {"CPU": 1}, "labels": {}, "tags": {"a": "b"}}'
    )
    nodes.joinpath("demo-0.json").chmod(0o600)
    (node,) = provider.list_nodes()
    assert (node.id, node.kind, node.tags, node.launched_at) == ("demo-0.1a2b3c4d", Kind.HEAD, {"a": "b"}, 1.5)


def test_another_writer_is_waited_for_until_the_deadline() -> None:
    provider = cluster()
    records = provider._records
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with records.locked(1):
            entered.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait(10)
    began = time.monotonic()
    with pytest.raises(ProviderError, match="another rayctl"):
        provider.bootstrap(OTHER_ID, deadline_s=0.05)
    assert time.monotonic() - began < 2
    threading.Timer(0.05, leave.set).start()
    assert provider.bootstrap(OTHER_ID, deadline_s=10) == CLUSTER_ID
    holder.join()


def test_start_flags_of_a_node_that_is_gone_are_refused() -> None:
    provider = cluster()
    (node,) = launch(provider, "demo-0")
    provider.terminate([node.id])
    with pytest.raises(ProviderError, match="no node with the id"):
        provider.start_flags(node)


def test_clusters_of_two_homes_share_no_address_and_no_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = launch(cluster(), "demo-0", "demo-1")
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "another home"))
    there = cluster("demo", OTHER_ID)
    nodes = launch(there, "demo-0")
    assert not set(addresses(nodes)) & set(addresses(here))
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    taken = {cluster().start_flags(node)["node-manager-port"] for node in here}
    assert there.start_flags(nodes[0])["node-manager-port"] not in taken


def test_what_the_first_version_recorded_is_read_for_ever(home: Path) -> None:
    stored = Path(__file__).parents[2] / "fixtures" / "v1"
    nodes = home / "embedded" / "demo" / "nodes"
    nodes.mkdir(parents=True, mode=0o700)
    for source, place in (
        ("embedded-cluster.json", nodes.parent / "cluster.json"),
        ("embedded-node.json", nodes / "demo-worker-1.json"),
    ):
        place.write_bytes((stored / source).read_bytes())
        place.chmod(0o600)
    for folder in (home, home / "embedded", nodes.parent, nodes):
        folder.chmod(0o700)
    provider = EmbeddedProvider("demo", {"type": "embedded"})
    assert provider.cluster_id() == "5f2a7c1e-3b1d-4c55-9a57-0d6d3a0e8b11"
    (node,) = provider.list_nodes()
    assert (node.id, node.resources, node.labels) == ("demo-worker-1.dc41b91f", {"CPU": 1.0}, {"tier": "gold"})
    assert node.addresses is not None
    assert node.addresses.internal == "127.0.0.3"
