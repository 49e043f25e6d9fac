# SPDX-License-Identifier: Apache-2.0
"""A real Ray, from a cluster file to its end, beside a Ray that is none of ours.

The tests share one cluster and run in the order in which they stand: each says what it changes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rayctl.node import processes

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]
CLUSTER = """\
cluster_name: {name}
provider: {{type: embedded}}
max_workers: 2
available_node_types:
  head: {{resources: {{CPU: 1, pin: 1}}}}
  worker: {{resources: {{CPU: 1, special: 4.0}}, labels: {{tier: gold}}, min_workers: {workers}}}
setup_commands:
  - echo ran >> {out}/$RAYCTL_WHERE
"""
JOB = """\
import sys, tempfile, time
from pathlib import Path
import ray

ray.init(log_to_driver=False)

@ray.remote(num_cpus=1)
def where(folder):
    here = ray.util.get_node_ip_address()
    (folder / here).touch()
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.1)
    return here

folder = Path(tempfile.mkdtemp())
print("nodes", *sorted(set(ray.get([where.remote(folder) for _ in range(3)]))))
print("args", sys.argv[1:])
sys.exit(int(sys.argv[1]))
"""
LONG_JOB = """\
import time
import ray

ray.init(log_to_driver=False)

@ray.remote(num_cpus=0, resources={"pin": 1})
class Counter:
    def count(self):
        time.sleep(0.1)
        return 1

counter = Counter.remote()
ray.get(counter.count.remote())
print("started", flush=True)
total = sum(ray.get(counter.count.remote()) for _ in range(150))
print("total", total)
"""


WAITING_JOB = """\
import time
import ray

ray.init(log_to_driver=False)

@ray.remote
def task():
    return 1

waiting = [task.options(num_cpus=4).remote() for _ in range(3)]
spread = ray.util.placement_group([{"CPU": 1, "special": 1}] * 3, strategy="STRICT_SPREAD")
gold = [task.options(num_cpus=1, resources={"special": 9}, label_selector={"tier": "gold"}).remote() for _ in range(2)]
print("waiting", flush=True)
time.sleep(120)
"""


class Cluster:
    """The cluster under test."""

    def __init__(self, folder: Path, name: str = "real", workers: int = 2) -> None:
        self.folder, self.file = folder, folder / f"{name}.yaml"
        self.file.write_text(CLUSTER.format(name=name, workers=workers, out=folder).replace("$RAYCTL_WHERE", "ran"))
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAYCTL_", "RAY_", "ANSIBLE_"))}
        self.env = {**kept, "RAYCTL_HOME": str(folder / "home")}

    def rayctl(self, *argv: str, code: int | None = 0, **kw: Any) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [BIN / "rayctl", *argv], env=self.env, capture_output=True, text=True, timeout=120, check=False, **kw
        )
        assert code is None or done.returncode == code, done.stdout + done.stderr
        return done

    def up(self, *flags: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        return self.rayctl("up", "-y", *flags, str(self.file), code=code)

    def status(self) -> dict[str, Any]:
        return json.loads(self.rayctl("status", "--probe", "--format", "json", str(self.file)).stdout)

    def nodes(self) -> dict[str, dict[str, Any]]:
        return {node["name"]: node for node in self.status()["nodes"]}

    def ours(self, node: str) -> dict[str, processes.Process]:
        """The named processes of a node's Ray."""
        mark = f"{self.status()['cluster_id']}/{node}"
        return {process.name: process for process in processes.marked(mark)}

    def job(self, text: str, *argv: str, code: int | None = 0) -> str:
        script = self.folder / "job.py"
        script.write_text(text)
        return self.rayctl("submit", str(self.file), str(script), *argv, code=code).stdout


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[set[processes.Process]]:
    """A Ray that somebody else runs on this machine: the set of its main processes."""
    scratch = Path(f"/tmp/rf{os.getpid()}")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("RAYCTL_", "RAY_"))}
    command = [
        BIN / "ray", "start", "--head", "--node-ip-address=127.0.0.251", "--port=9379", "--num-cpus=1",
        "--include-dashboard=false", f"--temp-dir={scratch}", "--disable-usage-stats", "--ray-client-server-port=9380",
        "--min-worker-port=9400", "--max-worker-port=9450", "--dashboard-agent-listen-port=9381",
        "--dashboard-agent-grpc-port=9382", "--metrics-export-port=9383", "--runtime-env-agent-port=9384",
    ]  # fmt: skip
    starter = subprocess.Popen(
        command, env={**env, "RAY_AUTH_MODE": "disabled", "FOREIGN": scratch.name}, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    out, _ = starter.communicate(timeout=90)
    assert starter.returncode == 0, out
    yield {p for p in processes.marked(scratch.name, ("FOREIGN",)) if p.name in ("raylet", "gcs_server")}
    processes.stop(scratch.name, variables=("FOREIGN",))
    subprocess.run(["rm", "-r", str(scratch)], check=False)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, foreign: set[processes.Process]) -> Iterator[Cluster]:
    made = Cluster(tmp_path_factory.mktemp("real"))
    try:
        made.up()
        yield made
    finally:
        made.rayctl("down", "-y", str(made.file), code=None)


def test_all_nodes_joined_with_what_the_file_gives_them(cluster: Cluster) -> None:
    seen = cluster.status()
    assert seen["ray_version"]
    nodes = cluster.nodes()
    assert list(nodes) == ["real-head-1", "real-worker-1", "real-worker-2"]
    assert {node["ray"] for node in nodes.values()} <= {"idle", "running"}
    assert nodes["real-worker-1"]["resources"]["special"] == 4
    assert nodes["real-head-1"]["resources"]["CPU"] == 1
    assert (cluster.folder / "ran").read_text().splitlines() == ["ran"] * 3


def test_a_job_runs_on_several_nodes_and_its_exit_code_comes_back(cluster: Cluster) -> None:
    out = cluster.job(JOB, "7", "--name", "a b", code=7)
    assert len(out.splitlines()[0].split()) >= 3, out
    assert "args ['7', '--name', 'a b']" in out


def test_an_exec_finds_this_cluster_and_not_the_foreign_one(cluster: Cluster) -> None:
    out = cluster.rayctl(
        "exec", str(cluster.file), "echo $RAY_ADDRESS; ray list nodes --format json 2>/dev/null | head -c 1"
    ).stdout
    assert out.splitlines()[0] == cluster.status()["address"]
    assert out.splitlines()[1] == "["


def test_without_the_token_nobody_gets_in(cluster: Cluster) -> None:
    probe = f"""
from rayctl.gcs.client import GcsClient
from rayctl.gcs.errors import GcsUnauthenticated
try:
    GcsClient({cluster.status()["address"]!r}).ray_version()
except GcsUnauthenticated:
    print("refused")
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "refused\n"
    secret = next(Path(cluster.env["RAYCTL_HOME"]).glob("clusters/*/token")).read_text().strip()
    logs = [path for path in Path(cluster.env["RAYCTL_HOME"]).rglob("*") if path.is_file() and path.name != "token"]
    assert not [path for path in logs if secret in path.read_text(errors="replace")]
    lines = [Path(f"/proc/{p.pid}/cmdline").read_bytes() for p in processes.snapshot() if Path(f"/proc/{p.pid}").exists()]
    assert not any(secret.encode() in line for line in lines)


def test_a_second_up_restarts_nothing(cluster: Cluster) -> None:
    before = {node: cluster.ours(node) for node in cluster.nodes()}
    assert "nothing changed" in cluster.up().stdout
    assert {node: cluster.ours(node)["raylet"] for node in before} == {n: known["raylet"] for n, known in before.items()}


def test_a_head_that_does_not_answer_is_not_restarted_unasked(cluster: Cluster) -> None:
    before = {name: cluster.ours(name)["raylet"] for name in cluster.nodes()}
    gcs = cluster.ours("real-head-1")["gcs_server"].pid
    os.kill(gcs, signal.SIGSTOP)
    try:
        done = cluster.up(code=1)
    finally:
        os.kill(gcs, signal.SIGCONT)
    assert "`up --restart` starts it anew" in done.stderr
    assert "nothing changed" in cluster.up().stdout
    assert {name: cluster.ours(name)["raylet"] for name in before} == before


def test_a_killed_raylet_is_started_anew_and_the_others_are_left_alone(cluster: Cluster) -> None:
    others = [cluster.ours(name)["raylet"] for name in ("real-head-1", "real-worker-2")]
    os.kill(cluster.ours("real-worker-1")["raylet"].pid, signal.SIGKILL)
    assert "3 of 3 nodes joined, 1 node changed" in cluster.up().stdout
    assert [cluster.ours(name)["raylet"] for name in ("real-head-1", "real-worker-2")] == others


def told_of(cluster: Cluster) -> dict[str, dict[str, Any]]:
    data = json.loads(cluster.rayctl("explain", str(cluster.file), "--format", "json").stdout)
    return {asked["asked"]: asked["answer"] for asked in data["asked"]}


def test_what_waits_is_told_with_its_reason(cluster: Cluster) -> None:
    tasks, gold = "{CPU: 4} x 3", "{CPU: 1, special: 9} x 2 on tier in (gold)"
    spread = "STRICT_SPREAD of {CPU: 1, special: 1} x 3"
    script = cluster.folder / "waiting.py"
    script.write_text(WAITING_JOB)
    command = [BIN / "rayctl", "submit", str(cluster.file), str(script)]
    with subprocess.Popen(command, env=cluster.env, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout
        assert any("waiting" in line for line in job.stdout)
        end = time.monotonic() + 90
        while not {tasks, gold, spread} <= (told := told_of(cluster)).keys() and time.monotonic() < end:
            time.sleep(0.3)
        job.send_signal(signal.SIGINT)
    assert told[tasks]["never"] == 3
    assert told[tasks]["why"] == "no node type can hold it: worker has 1 CPU"
    assert told[gold]["why"] == "no node type can hold it: worker has 4 special"
    assert told[spread]["never"] == 1
    assert told[spread]["why"].startswith("it needs 3 nodes, and with max_workers 2 there are never so many")


def test_workers_come_and_go_while_a_job_runs(cluster: Cluster) -> None:
    script = cluster.folder / "long.py"
    script.write_text(LONG_JOB)
    job = subprocess.Popen([BIN / "rayctl", "submit", cluster.file, script], env=cluster.env, stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None
    assert job.stdout.readline() == "started\n"
    cluster.up("--max-workers", "1")
    assert list(cluster.nodes()) == ["real-head-1", "real-worker-1"]
    cluster.up()
    assert list(cluster.nodes()) == ["real-head-1", "real-worker-1", "real-worker-3"], "a name is never used again"
    out, _ = job.communicate(timeout=60)
    assert out.endswith("total 150\n")


def test_a_second_cluster_by_plain_ansible_beside_the_first(cluster: Cluster, tmp_path: Path) -> None:
    second = Cluster(tmp_path, "other", workers=0)
    second.env["RAYCTL_HOME"] = cluster.env["RAYCTL_HOME"]
    before = cluster.ours("real-head-1")["raylet"]
    playbook = [BIN / "ansible-playbook", "-i", second.file, "playbooks/up.yml"]
    try:
        by_hand = subprocess.run(playbook, cwd=ROOT, env=second.env, capture_output=True, text=True, timeout=120, check=False)
        assert by_hand.returncode == 0, by_hand.stdout + by_hand.stderr
        assert {"gcs_server", "raylet"} <= set(second.ours("other-head-1"))
        assert "1 of 1 nodes joined, nothing changed" in second.up().stdout
        assert second.status()["address"] != cluster.status()["address"]
        assert len(cluster.nodes()) == 3
    finally:
        second.rayctl("down", "-y", str(second.file))
    assert cluster.ours("real-head-1")["raylet"] == before


def test_a_killed_head_is_started_anew_and_takes_its_workers_along(cluster: Cluster) -> None:
    before = {name: cluster.ours(name)["raylet"] for name in cluster.nodes()}
    for process in cluster.ours("real-head-1").values():
        os.kill(process.pid, signal.SIGKILL)
    out = cluster.up().stdout
    assert "3 of 3 nodes joined, 3 nodes changed" in out
    assert not {cluster.ours(name)["raylet"] for name in before} & set(before.values())


def test_down_leaves_nothing_of_ours_and_everything_of_others(cluster: Cluster, foreign: set[processes.Process]) -> None:
    identity = cluster.status()["cluster_id"]
    marks = [f"{identity}/{name}" for name in cluster.nodes()]
    cluster.rayctl("down", "-y", str(cluster.file))
    end = time.monotonic() + 30
    while any(processes.marked(mark, (processes.RAY, processes.STEP)) for mark in marks) and time.monotonic() < end:
        time.sleep(0.1)
    assert not [p for mark in marks for p in processes.marked(mark, (processes.RAY, processes.STEP))]
    assert not list(Path(f"/tmp/rayctl-{os.geteuid()}").glob(f"{identity[:8]}*"))
    assert all(processes.alive(process.pid, process.started) for process in foreign)
    assert len(foreign) == 2
