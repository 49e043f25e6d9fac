# SPDX-License-Identifier: Apache-2.0
"""Whether this node's Ray works, whether its ports are free, whether a head answers."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rayctl.node import processes, ray
from rayctl.node.state import NodeError


def me() -> processes.Process:
    found = processes.find(os.getpid())
    assert found is not None
    return found


def started(**changes: Any) -> dict[str, Any]:
    return {"boot_id": processes.boot_id(), "processes": [[me().pid, me().started, "raylet"]], **changes}


@pytest.mark.parametrize(
    ("known", "why"),
    [
        (None, "it was not started yet"),
        (started(), None),
        (started(processes=[]), None),
        (started(boot_id="before"), "the machine was rebooted"),
        (started(processes=[[me().pid, me().started - 1, "raylet"]]), "its raylet is not running"),
    ],
)
def test_why_ray_does_not_work(known: dict[str, Any] | None, why: str | None) -> None:
    assert ray.broken(known) == why


def test_an_incarnation_is_one_life_of_the_gcs() -> None:
    gcs = processes.Process(7, 4711, "gcs_server", 1)
    lives = {ray.incarnation([life]) for life in (gcs, gcs._replace(pid=8), gcs._replace(started=4712))}
    assert len(lives) == 3
    assert ray.incarnation([gcs._replace(name="raylet")]) is None


# ---- ports
def test_a_free_port_is_free_also_right_after_its_connections_ended() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(server.getsockname()), server.accept()[0]:
            pass
    ray.check_ports([port])


@pytest.mark.parametrize(
    ("family", "address"), [(socket.AF_INET, "127.0.0.7"), (socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")]
)
def test_the_holder_of_a_port_is_named(family: socket.AddressFamily, address: str) -> None:
    with socket.socket(family) as server:
        server.bind((address, 0))
        server.listen()
        port = server.getsockname()[1]
        user = pwd.getpwuid(os.geteuid()).pw_name
        who = rf"{me().name} \(pid {me().pid} of user {user}\)"
        with pytest.raises(
            NodeError, match=rf"port {port} is in use by {who}\. End that process, or give this node another port"
        ):
            ray.check_ports([1, port])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_holder_that_we_may_not_see_is_another_users_process() -> None:
    code = """
import os, sys
from rayctl.node import ray, state
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    ray.check_ports([int(sys.argv[1])])
except state.NodeError as e:
    sys.exit(str(e))
"""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run([sys.executable, "-c", code, port], capture_output=True, text=True, check=False)
    assert f"port {port} is in use by another user's process (user root)." in done.stderr


def test_a_process_that_is_just_ending_holds_its_port_a_moment_longer_than_it_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
import ctypes, socket, threading, time
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
threading.Thread(target=lambda: (input(), time.sleep(0.5))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        port = int(child.stdout.readline())
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":  # its first thread
            time.sleep(0.01)
        assert processes.find(child.pid) is not None, "it has another one"
        with (
            monkeypatch.context() as impatient,
            pytest.raises(NodeError, match=f"port {port} is in use by another user's process"),
        ):
            impatient.setattr(ray, "LEAVING_S", 0.1)
            ray.check_ports([port])
        child.stdin.write("\n")
        child.stdin.flush()
        ray.check_ports([port])


# ---- the head
def test_an_address_that_nobody_answers_at_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        ray.wait_until_reachable("127.0.0.1", port, lambda: None, 0)
    with pytest.raises(NodeError, match=rf"the head's GCS does not answer at 127.0.0.1:{port} from this node"):
        ray.wait_until_reachable("127.0.0.1", port, lambda: None, 0)


def test_the_wait_for_a_head_can_be_broken_off() -> None:
    def check() -> None:
        raise KeyError

    with pytest.raises(KeyError):
        ray.wait_until_reachable("127.0.0.1", 1, check, 60)


@pytest.mark.parametrize(("written", "stays"), [("127.0.0.1:1", False), ("127.0.0.1:1\n", False), ("10.0.0.1:6379", True)])
def test_only_our_own_note_of_a_stopped_head_is_removed(tmp_path: Path, written: str, stays: bool) -> None:
    note = tmp_path / "ray_current_cluster"
    note.write_text(written)
    ray.forget_address(str(tmp_path), "127.0.0.1", 1)
    assert note.exists() is stays


def test_the_note_of_a_head_that_answers_stays(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (tmp_path / "ray_current_cluster").write_text(f"127.0.0.1:{port}")
        ray.forget_address(str(tmp_path), "127.0.0.1", port)
    assert (tmp_path / "ray_current_cluster").exists()
    ray.forget_address(str(tmp_path / "none"), "127.0.0.1", port)


def test_rays_usual_folder_is_taken_where_it_is_ours_or_not_there_yet(tmp_path: Path) -> None:
    assert ray.temp_dir(str(tmp_path)) == str(tmp_path)
    assert ray.temp_dir(str(tmp_path / "none")) == str(tmp_path / "none")


def test_where_it_is_another_users_ray_gets_a_private_and_short_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    monkeypatch.setattr(ray, "make_private", made.append)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 4_000_000_000)
    folder = ray.temp_dir(str(tmp_path))
    assert made == [os.path.dirname(folder)]
    assert len(f"{folder}/session_2026-11-21_07-17-11_123212_4194304/sockets/plasma_store") <= 107
