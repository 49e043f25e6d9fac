# SPDX-License-Identifier: Apache-2.0
"""A real Ray on real hosts, from nothing to its end: who joins, what is repaired, and what is left alone.

The tests share one cluster and run in the order in which they stand: each says what it changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .clusters import note, noted
from .ray_clusters import WHERE, RayCluster, free_of_ours, lasting, ray_cluster
from .rig import Lab

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
SEES_A_THIRD_NODE = """
import time
import ray

ray.init(log_to_driver=False)

@ray.remote(num_cpus=1)
class Counter:
    def count(self):
        return 1

@ray.remote(num_cpus=0)
def there():
    return True

counter, end = Counter.remote(), time.monotonic() + 90
print("began", ray.get(counter.count.remote()), flush=True)
while len(alive := [node for node in ray.nodes() if node["Alive"]]) < 3 and time.monotonic() < end:
    time.sleep(0.5)
    ray.get(counter.count.remote())
print("ended with", len(alive), "nodes", ray.get(there.options(scheduling_strategy="SPREAD").remote()))
"""


@pytest.fixture(scope="module")
def cluster(lab4: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with ray_cluster(lab4, tmp_path_factory.mktemp("hosts"), ("h1", "h2", "h3", "h4")) as made:
        yield made


def kill(cluster: RayCluster, host: str, process: str) -> None:
    cluster.lab[host].exec(f"kill -9 {cluster.ray()[host][process]}")


def changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The hosts on which anything runs under another pid."""
    return [host for host in before if before[host] != after[host]]


def test_a_running_job_lives_through_the_coming_of_a_worker(cluster: RayCluster) -> None:
    assert cluster.joined("--max-workers", "1") == "2 of 2 nodes joined, 2 nodes changed"
    before = cluster.ray()
    script = cluster.folder / "long.py"
    script.write_text(SEES_A_THIRD_NODE)
    job = cluster.start("rayctl", "submit", str(cluster.file), str(script))
    assert job.stdout is not None
    assert job.stdout.readline() == "began 1\n"
    assert cluster.joined("--max-workers", "2", "--no-restart") == "3 of 3 nodes joined, 1 node changed"
    said, complaints = job.communicate(timeout=120)
    assert (job.returncode, said) == (0, "ended with 3 nodes True\n"), complaints
    assert changed(before, cluster.ray()) == ["h3"]


def test_the_head_and_all_three_workers_join(cluster: RayCluster) -> None:
    assert cluster.joined() == "4 of 4 nodes joined, 1 node changed"
    assert all(set(lasting) >= {"raylet"} for lasting in cluster.ray().values())
    assert [node["ray"] for node in cluster.status()["nodes"]].count("not joined") == 0


def test_a_job_runs_on_every_node(cluster: RayCluster) -> None:
    assert cluster.submit(WHERE) == [" ".join(["ran on", *sorted(cluster.addresses)])]


def test_a_second_up_changes_no_pid(cluster: RayCluster) -> None:
    before = cluster.ray()
    assert cluster.joined() == "4 of 4 nodes joined, nothing changed"
    assert cluster.ray() == before


def test_a_head_that_forwards_no_ports_is_asked_at_its_address(cluster: RayCluster) -> None:
    head = cluster.lab["h1"]
    head.sshd("AllowTcpForwarding=no")
    try:
        assert cluster.elsewhere("plain").joined() == "4 of 4 nodes joined, nothing changed"
    finally:
        head.sshd()


def test_behind_a_bastion_the_worker_whose_raylet_was_killed_is_repaired_and_no_other(cluster: RayCluster) -> None:
    kill(cluster, "h2", "raylet")
    before = cluster.ray()
    inside = cluster.elsewhere("inside")
    inside.auth["ssh_proxy_jump"] = f"ray@{cluster.lab['h4'].ip}"
    inside.write_for_ray()
    hidden = [cluster.lab[name] for name in ("h1", "h2", "h3")]
    for host in hidden:
        host.hide()
    try:
        assert inside.joined() == "4 of 4 nodes joined, 1 node changed"
    finally:
        for host in hidden:
            host.heal()
    assert changed(before, cluster.ray()) == ["h2"]


def test_a_killed_head_is_restarted_with_all_workers_in_one_run(cluster: RayCluster) -> None:
    before = cluster.ray()
    kill(cluster, "h1", "gcs_server")
    assert cluster.joined() == "4 of 4 nodes joined, 4 nodes changed"
    assert changed(before, cluster.ray()) == ["h1", "h2", "h3", "h4"]
    assert cluster.submit(WHERE) == [" ".join(["ran on", *sorted(cluster.addresses)])]


def test_no_restart_runs_new_steps_and_leaves_every_ray_alone(cluster: RayCluster) -> None:
    before = cluster.ray()
    cluster.write_for_ray(note("new"), available_node_types={name: {"resources": {"CPU": 2}} for name in ("head", "worker")})
    assert cluster.joined("--no-restart") == "4 of 4 nodes joined, 4 nodes changed"
    assert [noted(cluster.lab[name], "new") for name in cluster.hosts] == [1, 1, 1, 1]
    assert cluster.ray() == before
    cluster.write_for_ray(note("new"))


def test_a_rebooted_worker_is_started_again_and_no_other(cluster: RayCluster) -> None:
    cluster.lab["h3"].power_cycle()
    before = cluster.ray()
    assert before["h3"] == {}
    assert cluster.joined("--no-restart") == "4 of 4 nodes joined, 1 node changed"
    assert changed(before, cluster.ray()) == ["h3"]


def test_down_leaves_nothing_on_any_host(cluster: RayCluster) -> None:
    cluster.down()
    assert {name: free_of_ours(cluster.lab[name]) for name in cluster.hosts} == {name: {} for name in cluster.hosts}


@pytest.mark.timeout(420)
def test_seven_workers_join(lab8: Lab, tmp_path_factory: pytest.TempPathFactory) -> None:
    with ray_cluster(lab8, tmp_path_factory.mktemp("eight"), tuple(host.name for host in lab8)) as eight:
        assert eight.joined(timeout=360) == "8 of 8 nodes joined, 8 nodes changed"
        assert len([host for host in lab8 if "raylet" in lasting(host)]) == 8
