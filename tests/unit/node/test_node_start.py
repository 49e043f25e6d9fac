# SPDX-License-Identifier: Apache-2.0
"""Ray is started where there is a reason to, never stopped for one that would not start, and nobody else's is touched.

A script stands in for the `ray` command. Its `ray start` starts processes named as Ray names them: one that listens as a
GCS does, and copies of `sleep`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from claim_bench import Host, request
from node_bench import Bench, Line, Message, eventually

from rayctl.node import claim, control, processes

VERSION = "2.60.0"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
GCS = """
import ctypes, socket, sys, time
ctypes.CDLL(None).prctl(15, b"gcs_server")
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(60)
"""
RAY = """\
#!{interpreter}
import os, subprocess, sys, time
from pathlib import Path
HERE, OUT = Path(__file__).parent, Path(os.environ["O"])
def say(word):
    with open(OUT / "ran", "a") as f:
        f.write(word + "\\n")
def daemon(*argv):
    subprocess.Popen(argv, start_new_session=False, stdin=subprocess.DEVNULL)
say("start:" + (sys.argv[2:] + [""])[0])
if "--fail" in sys.argv:
    sys.exit("no plasma")
if "--head" in sys.argv:
    daemon(sys.executable, str(HERE / "gcs.py"), os.environ["PORT"])
    time.sleep(float(os.environ.get("LATE", "0")))
if "--no-raylet" not in sys.argv:
    daemon(str(HERE / "raylet"), "60")
subprocess.Popen(["env", "-i", str(HERE / "agent"), "60"])
time.sleep(float(os.environ.get("LATE", "0")) + 0.2)
say("returned")
"""


class RayBench:
    """A node with a stand-in for Ray, and a GCS port of its own."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        bench.env["PORT"] = str(self.port)
        for name in ("raylet", "agent"):
            shutil.copy(str(shutil.which("sleep")), bench.bin / name)
        (bench.bin / "gcs.py").write_text(GCS)
        self.install(VERSION)

    def install(self, version: str) -> None:
        """A `ray` of this version, with an interpreter of its own that knows of it."""
        site = self.bench.bin / f"site-{version}"
        (site / f"ray-{version}.dist-info").mkdir(parents=True, exist_ok=True)
        (site / f"ray-{version}.dist-info" / "METADATA").write_text(f"Metadata-Version: 2.1\nName: ray\nVersion: {version}\n")
        interpreter = self.bench.bin / f"python-{version}"
        script(interpreter, f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} "$@"\n')
        script(self.bench.bin / "ray", RAY.format(interpreter=interpreter))

    def wanted(self, kind: str = "head", *flags: str, **changes: Any) -> dict[str, Any]:
        """A plan's `ray`."""
        text = " ".join(["ray start", *(["--head"] if kind == "head" else []), *flags])
        command = {"name": "ray start", "command": text, "timeout_s": None, "env": {}, "checks": True}
        return {
            "kind": kind, "digest": text, "commands": [command], "env": {}, "address": "127.0.0.1", "port": self.port,
            "processes": ["gcs_server", "raylet"] if kind == "head" else ["raylet"], "policy": "auto", "want_ray": "",
            "ports": [self.port] if kind == "head" else [], "temp_dir": str(self.bench.out), **changes,
        }  # fmt: skip

    def up(self, wanted: dict[str, Any], *steps: str, head: dict[str, Any] | None = None) -> Message:
        """Bring the node up; `head` is what a worker is answered."""
        return self.open(wanted, *steps, head=head).done()

    def open(self, wanted: dict[str, Any], *steps: str, head: dict[str, Any] | None = None, **changes: Any) -> Line:
        """The same, to be listened to."""
        answer = {"ok": True, "address": "127.0.0.1", "port": self.port, "incarnation": "h1", "versions": "", **(head or {})}
        return self.bench.open(self.bench.plan(*steps, ray=wanted, **changes), {"head": answer})

    def alive(self) -> dict[str, int]:
        """The pids of this node's Ray by name."""
        return {p.name: p.pid for p in processes.marked(f"{self.bench.cluster_id}/{self.bench.name}")}


def script(path: Path, text: str) -> None:
    path.write_text(textwrap.dedent(text))
    path.chmod(0o755)


@pytest.fixture
def ray(bench: Bench) -> Iterator[RayBench]:
    yield RayBench(bench)
    processes.stop(f"{bench.cluster_id}/{bench.name}")


@pytest.fixture
def foreign(ray: RayBench) -> Iterator[subprocess.Popen[bytes]]:
    """Somebody else's raylet on the same machine, which must never be touched."""
    child = subprocess.Popen([ray.bench.bin / "raylet", "60"], env={}, start_new_session=True)
    yield child
    assert child.poll() is None, "somebody else's raylet was ended"
    child.kill()
    child.wait()


@pytest.fixture
def gcs(ray: RayBench) -> Iterator[socket.socket]:
    """A head elsewhere that answers."""
    with socket.create_server(("127.0.0.1", ray.port)) as server:
        yield server


pytestmark = pytest.mark.usefixtures("foreign")


# ---- when it is started
def test_a_head_is_started_once(ray: RayBench) -> None:
    first = ray.up(ray.wanted())
    pids = ray.alive()
    second = ray.up(ray.wanted())
    assert (first["ray"], second["ray"]) == ("it was not started yet", None)
    assert set(pids) == {"gcs_server", "raylet", "agent"}
    assert ray.alive() == pids
    assert first["incarnation"] == second["incarnation"]
    assert (first["versions"], first["port"]) == (f"{VERSION} {PYTHON}", ray.port)


def test_changed_start_commands_start_it_anew_and_only_it(ray: RayBench) -> None:
    ray.up(ray.wanted(), "echo a >> $O/ran")
    before = ray.alive()
    outcome = ray.up(ray.wanted("head", "--changed"), "echo a >> $O/ran")
    assert (outcome["ray"], outcome["steps"]) == ("its start commands changed", [])
    assert not set(before.values()) & set(ray.alive().values())
    assert ray.bench.traces().count("a") == 1


def test_a_set_up_step_starts_it_anew_also_in_a_later_run(ray: RayBench) -> None:
    ray.up(ray.wanted(), "true")
    line = ray.open(ray.wanted(), "echo a >> $O/ran", phases=["setup"])
    line.done()
    assert ray.up(ray.wanted(), "echo a >> $O/ran")["ray"] == "a set-up step ran since it was started"


def test_a_killed_raylet_is_noticed(ray: RayBench) -> None:
    ray.up(ray.wanted())
    os.kill(ray.alive()["raylet"], 9)
    eventually(lambda: "raylet" not in ray.alive())
    assert ray.up(ray.wanted())["ray"] == "its raylet is not running"
    assert set(ray.alive()) == {"gcs_server", "raylet", "agent"}


def test_never_means_that_one_that_works_is_spared(ray: RayBench) -> None:
    ray.up(ray.wanted())
    pids = ray.alive()
    assert ray.up(ray.wanted("head", "--changed", policy="never"))["ray"] is None
    assert ray.alive() == pids


def test_ending_a_set_up_step_leaves_ray_alone(ray: RayBench) -> None:
    ray.up(ray.wanted())
    pids = ray.alive()
    line = ray.open(ray.wanted(), "echo going; sleep 60")
    line.until("out")
    line.channel.send({"cancel": "enough"})
    assert line.done()["cancelled"] is True
    assert ray.alive() == pids


def test_rays_processes_are_nobodys_leftover_once_their_start_ended_well(ray: RayBench) -> None:
    ray.up(ray.wanted())
    pids = ray.alive()
    control.stop_runner(str(ray.bench.state_dir))
    assert ray.bench.run("true")["failed"] is False
    assert ray.alive() == pids


def test_a_kill_in_the_middle_of_a_start_ends_what_it_started_before_the_next(ray: RayBench) -> None:
    ray.bench.env["LATE"] = "30"
    line = ray.open(ray.wanted())
    line.until("head")
    before = ray.alive()
    os.kill(ray.bench.runner()["pid"], 9)
    line.done()
    ray.bench.env["LATE"] = "0"
    assert ray.up(ray.wanted())["ray"] == "it was not started yet"
    assert not set(before.values()) & set(ray.alive().values())


def test_rays_processes_carry_the_nodes_mark(ray: RayBench) -> None:
    ray.up(ray.wanted())
    environ = Path(f"/proc/{ray.alive()['raylet']}/environ").read_bytes().split(b"\0")
    assert f"RAYCTL_NODE={ray.bench.cluster_id}/{ray.bench.name}".encode() in environ
    assert not [entry for entry in environ if entry.startswith((b"RAYCTL_WANT", b"RAYCTL_VERSIONS", b"RAYCTL_PATH"))]


# ---- head and workers
def test_the_head_is_told_before_its_start_returns(ray: RayBench) -> None:
    ray.bench.env["LATE"] = "0.5"
    line = ray.open(ray.wanted())
    word = line.until("head")
    assert "returned" not in ray.bench.traces()
    assert (word["address"], word["port"], word["versions"]) == ("127.0.0.1", ray.port, f"{VERSION} {PYTHON}")
    assert line.done()["incarnation"] == word["incarnation"]


def test_a_head_that_already_runs_is_told_too(ray: RayBench) -> None:
    ray.up(ray.wanted())
    line = ray.open(ray.wanted())
    word = line.until("head")
    assert line.done()["incarnation"] == word["incarnation"]


def test_a_worker_waits_for_its_head_and_joins_it(ray: RayBench, gcs: socket.socket) -> None:
    line = ray.open(ray.wanted("worker", "--address=$RAY_HEAD_ADDRESS"))
    answer = dict(line.answers)
    line.answers = {}
    need = line.until("need", what="head")
    assert ray.bench.traces() == []
    line.channel.send({"answer": need["id"], **answer["head"]})
    assert line.done()["failed"] is False
    assert ray.bench.traces()[0] == f"start:--address=127.0.0.1:{ray.port}"


def test_a_worker_does_not_join_a_head_that_did_not_start(ray: RayBench) -> None:
    outcome = ray.up(ray.wanted("worker"), "echo a >> $O/ran", head={"ok": False, "message": "not joined: no head"})
    assert (outcome["failed"], outcome["message"]) == (True, "not joined: no head")
    assert ray.bench.traces() == ["a"]


def test_a_restarted_head_starts_its_workers_anew(ray: RayBench, gcs: socket.socket) -> None:
    ray.up(ray.wanted("worker"))
    assert ray.up(ray.wanted("worker"))["ray"] is None
    assert ray.up(ray.wanted("worker"), head={"incarnation": "h2"})["ray"] == "the head was restarted"


def test_check_mode_tells_why_a_worker_would_be_started_anew(ray: RayBench, gcs: socket.socket) -> None:
    ray.up(ray.wanted("worker"))
    plan = ray.bench.plan(ray=ray.wanted("worker"))
    answers: list[tuple[dict[str, Any], str | None]] = [
        ({"ok": True, "incarnation": "h1", "restarts": False}, None),
        ({"ok": True, "incarnation": "h2", "restarts": False}, "the head was restarted"),
        ({"ok": True, "incarnation": "h1", "restarts": True}, "the head will be restarted"),
    ]
    assert [ray.bench.check(plan, {"head": answer})["ray"] for answer, _ in answers] == [why for _, why in answers]
    assert ray.bench.traces().count("returned") == 1


def test_a_cancel_while_the_head_cannot_be_reached_leaves_a_worker_as_it_is(ray: RayBench) -> None:
    with socket.create_server(("127.0.0.1", ray.port)):
        ray.up(ray.wanted("worker"))
    pids = ray.alive()
    line = ray.open(ray.wanted("worker"), head={"incarnation": "h2"})
    line.until("need")
    line.channel.send({"answer": 1, **line.answers["head"]})
    line.channel.send({"cancel": "enough"})
    assert line.done()["message"] == "cancelled: enough"
    assert ray.alive() == pids


def after_ray(wanted: dict[str, Any], command: str, **env: str) -> dict[str, Any]:
    """The same with a start command of the user's behind it."""
    step = {"name": "mine", "command": command, "timeout_s": None, "env": env, "checks": False}
    return {**wanted, "commands": [*wanted["commands"], step]}


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_start_commands_that_do_not_start_ray_find_ours(ray: RayBench, kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "worker":
        request.getfixturevalue("gcs")
    ray.up(after_ray(ray.wanted(kind), 'echo "$RAY_ADDRESS" >> $O/ran'))
    assert ray.bench.traces()[-1] == f"127.0.0.1:{ray.port}"


def test_an_address_of_the_users_own_wins(ray: RayBench) -> None:
    ray.up(after_ray(ray.wanted(), 'echo "$RAY_ADDRESS" >> $O/ran', RAY_ADDRESS="elsewhere:1"))
    assert ray.bench.traces()[-1] == "elsewhere:1"


# ---- what may go wrong
def test_no_ray_on_the_path_is_a_sentence(ray: RayBench) -> None:
    (ray.bench.bin / "ray").unlink()
    outcome = ray.up(ray.wanted())
    assert outcome["step"]["rc"] == 90
    assert outcome["step"]["tail"][-1].startswith("rayctl: there is no ray command on this node's PATH: ")


def test_another_version_than_the_file_wants_is_a_sentence(ray: RayBench) -> None:
    outcome = ray.up(ray.wanted(want_ray="2.9.0"))
    assert outcome["step"]["rc"] == 91
    assert f"this node has Ray {VERSION} on Python {PYTHON}, but the cluster needs Ray 2.9.0;" in outcome["step"]["tail"][-1]


def test_a_worker_with_another_version_than_its_head_is_a_sentence(ray: RayBench, gcs: socket.socket) -> None:
    outcome = ray.up(ray.wanted("worker"), head={"versions": "2.9.0 3.8"})
    assert "but the cluster needs Ray 2.9.0 on Python 3.8; all nodes must be alike" in outcome["step"]["tail"][-1]
    assert ray.alive() == {}


def test_a_ray_that_works_is_not_stopped_for_one_that_would_not_start(ray: RayBench) -> None:
    ray.up(ray.wanted())
    pids = ray.alive()
    outcome = ray.up(ray.wanted("head", "--changed", want_ray="2.9.0"))
    assert (outcome["failed"], outcome["step"]["phase"]) == (True, "check")
    assert ray.alive() == pids
    assert ray.up(ray.wanted())["changed"] is False


def test_an_interpreter_with_a_long_path_is_found(ray: RayBench) -> None:
    """Where a path is too long for a first line, installers write a shell script that is a Python script too."""
    ray.install(VERSION)
    path = ray.bench.bin / "ray"
    body = path.read_text().split("\n", 1)[1]
    (ray.bench.bin / "with blank").mkdir()
    interpreter = ray.bench.bin / "with blank" / "python"
    shutil.copy(ray.bench.bin / f"python-{VERSION}", interpreter)
    script(path, f"#!/bin/sh\n'''exec' \"{interpreter}\" \"$0\" \"$@\"\n' '''\n{body}")
    assert ray.up(ray.wanted(want_ray=VERSION))["versions"] == f"{VERSION} {PYTHON}"


def test_an_alias_or_a_function_named_ray_is_not_taken_for_it(ray: RayBench) -> None:
    (ray.bench.home / ".bashrc").write_text("alias ray='echo alias'; ray() { echo function; }\n")
    outcome = ray.up(ray.wanted(want_ray="2.9.0"))
    assert f"this node has Ray {VERSION}" in outcome["step"]["tail"][-1]


def test_start_commands_that_end_well_without_ray_are_a_failure(ray: RayBench) -> None:
    outcome = ray.up(ray.wanted("head", "--no-raylet"))
    assert outcome["message"] == "the start commands ended well, but raylet is not running"
    assert ray.up(ray.wanted())["ray"] == "it was not started yet"


def test_a_start_that_fails_tells_why_and_is_tried_again(ray: RayBench) -> None:
    outcome = ray.up(ray.wanted("head", "--fail"))
    assert (outcome["step"]["name"], outcome["step"]["tail"][-1]) == ("ray start", "no plasma")
    assert ray.up(ray.wanted())["failed"] is False


def test_a_start_out_of_time_leaves_nothing_of_ray(ray: RayBench) -> None:
    wanted = ray.wanted()
    wanted["commands"][0]["timeout_s"] = 1.5
    ray.bench.env["LATE"] = "30"
    assert ray.up(wanted)["step"]["state"] == "timeout"
    assert ray.alive() == {}


def test_a_port_in_use_is_told_with_its_holder(ray: RayBench, gcs: socket.socket) -> None:
    outcome = ray.up(ray.wanted())
    who = f"(pid {os.getpid()} of user "
    assert outcome["message"].startswith(f"port {ray.port} is in use by ")
    assert who in outcome["message"]
    assert ray.bench.traces() == []


# ---- on a host that others use too
def test_others_see_the_processes_of_our_ray_in_the_claim(ray: RayBench, shared_host: Host) -> None:
    claimed(ray, shared_host)
    line = ray.open(ray.wanted(), claimed=True)
    assert line.done()["message"] == ""
    mine = shared_host.board.mine()
    assert mine is not None
    named = {name: pid for pid, _, name in mine.processes}
    assert {name: named[name] for name in ("raylet", "gcs_server")} == {
        name: pid for name, pid in ray.alive().items() if name != "agent"
    }
    assert mine.expires > processes.uptime() + 600


def test_a_lost_claim_is_published_again_by_a_run_that_starts_nothing(ray: RayBench, shared_host: Host) -> None:
    claimed(ray, shared_host)
    ray.open(ray.wanted(), claimed=True).done()
    shared_host.file().unlink()
    assert ray.open(ray.wanted(), claimed=True).done()["changed"] is False
    mine = shared_host.board.mine()
    assert mine is not None
    assert {"raylet", "gcs_server"} <= {name for _, _, name in mine.processes}


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_people_who_log_in_find_the_cluster(ray: RayBench, kind: str) -> None:
    env = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "{state_dir}/token"}
    with socket.create_server(("127.0.0.1", 0)) as head:
        port = head.getsockname()[1] if kind == "worker" else ray.port
        assert ray.open(ray.wanted(kind), head={"port": port}, handover={"env": env}).done()["message"] == ""
    show = f'. "{ray.bench.state_dir}/env"; echo "$RAY_ADDRESS $RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH"'
    said = subprocess.run(["/bin/sh", "-c", show], capture_output=True, text=True, check=True).stdout
    assert said == f"127.0.0.1:{port} token {ray.bench.state_dir}/token\n"


def test_ray_is_told_where_the_token_is_on_its_own_node(ray: RayBench) -> None:
    wanted = ray.wanted(env={"RAY_AUTH_TOKEN_PATH": "{state_dir}/token"})
    wanted["commands"].insert(
        0, {**wanted["commands"][0], "command": 'echo "$RAY_AUTH_TOKEN_PATH" >> "$O/path"', "checks": False}
    )
    assert ray.up(wanted)["message"] == ""
    assert ray.bench.traces("path") == [f"{ray.bench.state_dir}/token"]


def claimed(ray: RayBench, host: Host) -> None:
    """The node's host is taken for its cluster."""
    wanted = request(cluster_id=ray.bench.cluster_id, node=ray.bench.name)
    claim.take(str(ray.bench.state_dir), wanted, str(host.place))


@pytest.fixture
def others(tmp_path: Path) -> Path:
    """A folder that belongs to another user."""
    if os.geteuid() != 0:
        return Path("/")
    folder = tmp_path / "others"
    folder.mkdir()
    os.chown(folder, 65534, -1)
    return folder


def test_beside_another_users_ray_our_own_start_commands_get_free_ports_and_a_folder(ray: RayBench, others: Path) -> None:
    wanted = ray.wanted(temp_dir=str(others), preferred_ports={"metrics-export-port": 20103})
    wanted["commands"][0]["command"] = 'echo "$RAYCTL_RAY_FLAGS" >> $O/ran; ray start --head'
    ray.up(wanted)
    ports, folder = ray.bench.traces()[:2]
    assert ports.startswith("--metrics-export-port=")
    assert folder == f"--temp-dir=/tmp/rayctl-{os.geteuid()}/ray"


def test_start_commands_of_the_users_get_neither(ray: RayBench, others: Path) -> None:
    wanted = ray.wanted(temp_dir=str(others))
    wanted["commands"][0]["command"] = 'echo "flags:$RAYCTL_RAY_FLAGS" >> $O/ran; ray start --head'
    ray.up(wanted)
    assert ray.bench.traces()[0] == "flags:"
