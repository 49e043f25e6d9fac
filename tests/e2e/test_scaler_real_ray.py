# SPDX-License-Identifier: Apache-2.0
"""The scaler beside a real Ray on embedded nodes: work comes, nodes come; work ends, nodes go; what fails is mended.

The tests share one cluster and one scaler and run in the order in which they stand.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.scaled_clusters import RAYCTL, Cluster, cluster_of

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(900)]
FILE = """\
cluster_name: scaled
scaler: {metrics_port: 44331}
provider: {type: embedded}
max_workers: 4
idle_timeout_minutes: 0.1
head_node_type: head
available_node_types:
  head: {resources: {CPU: 1, object_store_memory: 80000000}}
  worker: {min_workers: 0, max_workers: 4, resources: {CPU: 1, object_store_memory: 80000000}}
"""


def ran_on(said: str) -> list[str]:
    """The addresses that a driver printed."""
    return said.partition("RAN ")[2].splitlines()[0].split()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster_of(tmp_path_factory.mktemp("scaled"), FILE) as made:
        made.start()
        yield made


def test_a_job_that_needs_three_times_the_cpus_gets_nodes_and_they_go_when_it_is_done(cluster: Cluster) -> None:
    said = cluster.job("ran(3, 1)")
    assert len(ran_on(said)) == 3, said
    assert "(autoscaler" in said
    assert "Adding 2 node(s) of type worker." in said
    cluster.until(cluster.alone)
    assert len(cluster.launched()) == 2
    assert all(event["data"]["text"] == "idle" for event in cluster.events("node_terminated"))


def test_ray_status_shows_what_is_coming(cluster: Cluster) -> None:
    driver = cluster.driver("ran(3, 1)")
    cluster.until(lambda: len(cluster.launched()) > 2)
    shown = cluster.rayctl("exec", str(cluster.file), "ray status")
    assert "worker, " in shown.partition("Pending:")[2].partition("Recent failures")[0], shown
    driver.communicate(timeout=120)
    cluster.until(cluster.alone)


@pytest.mark.parametrize(
    ("strategy", "bundles", "nodes"),
    [("PACK", 2, 2), ("SPREAD", 2, 2), ("STRICT_PACK", 1, 1), ("STRICT_SPREAD", 3, 3)],
)
def test_groups_of_each_strategy_get_their_nodes(cluster: Cluster, strategy: str, bundles: int, nodes: int) -> None:
    said = cluster.job(f"""
group = placement_group([{{"CPU": 1}}] * {bundles}, strategy="{strategy}")
ray.get(group.ready(), timeout=90)
print("nodes", len(set(placement_group_table(group)["bundles_to_node_id"].values())))
remove_placement_group(group)
""")
    assert int(said.partition("nodes ")[2].split()[0]) == nodes
    cluster.until(cluster.alone)


def test_what_is_requested_is_held_until_it_is_requested_no_more(cluster: Cluster) -> None:
    cluster.job('from ray.autoscaler.sdk import request_resources\nrequest_resources(bundles=[{"CPU": 1}] * 3)')
    cluster.until(lambda: sum(node["ray"] in ("idle", "running") for node in cluster.workers()) == 2)
    time.sleep(10)  # longer than the idle time
    assert len(cluster.workers()) == 2
    cluster.job("from ray.autoscaler.sdk import request_resources\nrequest_resources(bundles=[])")
    cluster.until(cluster.alone)


def test_what_can_never_be_is_told_once_and_nothing_is_launched(cluster: Cluster) -> None:
    before = len(cluster.launched())
    driver = cluster.driver("held = meet.options(num_cpus=10000).remote(None, 1, 1)\nhold()")
    cluster.until(lambda: any("10000" in text for text in cluster.texts()))
    time.sleep(10)  # in which it might be told again
    cluster.enough.touch()
    said, _ = driver.communicate(timeout=120)
    assert len(cluster.launched()) == before
    assert len([text for text in cluster.texts() if "10000" in text]) == 1
    assert said.count("No available node types can fulfill") == 1, said


def test_forty_groups_that_no_limit_allows_launch_nothing_and_have_one_reason(cluster: Cluster) -> None:
    before, events = len(cluster.launched()), len(cluster.texts())
    driver = cluster.driver('held = [placement_group([{"CPU": 1}] * 6, strategy="STRICT_SPREAD") for _ in range(40)]\nhold()')
    cluster.until(lambda: any(text.startswith("waits: ") for text in cluster.texts()[events:]))
    time.sleep(5)  # in which something might be launched
    cluster.enough.touch()
    driver.communicate(timeout=120)
    assert len(cluster.launched()) == before
    waits = [text for text in cluster.texts()[events:] if text.startswith("waits: ")]
    assert {text.partition(" x ")[2] for text in waits} == {text.partition(" x ")[2] for text in waits[:1]}
    assert waits


def test_a_dead_raylet_is_started_anew_in_place(cluster: Cluster) -> None:
    ended = len(cluster.events("node_ended"))
    driver = cluster.driver("ran(2, 30)")
    cluster.until(lambda: len(cluster.events("node_ended")) > ended)
    name = cluster.events("node_ended")[ended]["node"]
    (raylet,) = [process for process in cluster.processes_of(name) if process.name == "raylet"]
    os.kill(raylet.pid, signal.SIGKILL)
    # the head takes a while to miss it, and until then the work that it lost may be given another node
    cluster.until(
        lambda: any("started anew" in event["data"].get("text", "") for event in cluster.events() if event["node"] == name)
    )
    cluster.until(lambda: [process for process in cluster.processes_of(name) if process.name == "raylet"])
    said, _ = driver.communicate(timeout=150)
    assert driver.returncode == 0, said
    assert all("idle" in event["data"]["text"] for event in cluster.events("node_terminated"))
    cluster.until(cluster.alone)


def test_the_log_of_a_set_up_that_failed_is_kept_and_named(cluster: Cluster) -> None:
    good = cluster.file.read_text()
    cluster.file.write_text(good + "worker_setup_commands: ['seq 3000; echo no such thing; exit 3']\n")
    driver = cluster.driver("ran(2, 1)")
    failures = cluster.until(lambda: (cluster.status()["scaler"] or {}).get("failures"))
    assert "exit code 3" in failures[0]["reason"]
    assert Path(failures[0]["log"]).read_text().splitlines()[-3001:] == [*map(str, range(1, 3001)), "no such thing"]
    cluster.file.write_text(good)
    said, _ = driver.communicate(timeout=150)
    assert len(ran_on(said)) == 2, said
    cluster.until(cluster.alone)


def test_a_scaler_that_is_killed_in_mid_launch_doubles_and_leaks_nothing(cluster: Cluster) -> None:
    assert cluster.scaler is not None
    driver = cluster.driver("ran(3)")
    launched = len(cluster.launched())
    cluster.until(lambda: len(cluster.launched()) > launched or "launching 2" in " ".join(cluster.texts()[-3:]))
    cluster.stop(signal.SIGKILL)
    time.sleep(1)
    cluster.start()
    cluster.until(lambda: sum(node["ray"] == "running" for node in cluster.workers()) == 2)
    names = {event["node"] for event in cluster.events("node_joined")}
    assert len(cluster.workers()) == 2, names
    cluster.enough.touch()
    said, _ = driver.communicate(timeout=120)
    assert len(ran_on(said)) == 3, said
    cluster.until(cluster.alone)


def test_up_beside_a_scaler_hands_over_and_watches_and_disturbs_no_job(cluster: Cluster) -> None:
    heads = {process.pid for process in cluster.processes_of("scaled-head-1") if process.name == "gcs_server"}
    said = cluster.rayctl("up", "-y", "--min-workers", "1", "--no-restart", str(cluster.file))
    assert "2 of 2 nodes joined" in said
    assert len(cluster.workers()) == 1
    time.sleep(10)  # longer than the idle time
    assert len(cluster.workers()) == 1
    cluster.rayctl("up", "-y", "--no-restart", str(cluster.file))
    cluster.until(cluster.alone)
    assert heads == {process.pid for process in cluster.processes_of("scaled-head-1") if process.name == "gcs_server"}


def test_metrics_are_served(cluster: Cluster) -> None:
    with urllib.request.urlopen("http://127.0.0.1:44331/metrics", timeout=5) as answer:
        text = answer.read().decode()
    assert "autoscaler_running_workers_nodes" in text
    assert 'rayctl_scaler_drains_total{result="accepted"}' in text


def test_a_head_that_died_is_started_anew_and_its_workers_come_back_to_it(cluster: Cluster) -> None:
    cluster.job('from ray.autoscaler.sdk import request_resources\nrequest_resources(bundles=[{"CPU": 1}] * 2)')
    (worker,) = cluster.until(lambda: [node["name"] for node in cluster.workers() if node["ray"] == "idle"])
    launched, ended = len(cluster.launched()), len(cluster.events("node_terminated"))
    (gcs,) = [process for process in cluster.processes_of("scaled-head-1") if process.name == "gcs_server"]
    os.kill(gcs.pid, signal.SIGKILL)
    cluster.until(lambda: any("it is started anew if it is broken" in text for text in cluster.texts()))
    cluster.until(lambda: any("the workers are brought back" in text for text in cluster.texts()))
    cluster.until(lambda: [node["name"] for node in cluster.workers() if node["ray"] in ("idle", "running")] == [worker])
    assert (len(cluster.launched()), len(cluster.events("node_terminated"))) == (launched, ended)


def test_a_second_scaler_is_refused_and_sigterm_ends_the_first(cluster: Cluster) -> None:
    assert cluster.scaler is not None
    done = subprocess.run(
        [RAYCTL, "scaler", str(cluster.file)], env=cluster.env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 5, done.stderr
    assert "another scaler has scaled" in done.stderr
    assert cluster.stop() == 0


def test_a_command_that_nobody_waits_for_ends_its_cluster_when_it_is_over(cluster: Cluster) -> None:
    assert cluster.scaler is not None
    if cluster.scaler.poll() is None:
        cluster.stop()
    refused = cluster.rayctl("exec", "--tmux", "--stop", str(cluster.file), "true", code=125)
    assert not refused
    before = cluster.texts().count("scaling scaled")
    cluster.start()
    cluster.until(lambda: cluster.texts().count("scaling scaled") > before)
    cluster.rayctl("exec", "--tmux", "--stop", str(cluster.file), "sleep 2; exit 3")
    assert cluster.scaler.wait(60) == 0
    cluster.until(lambda: not cluster.status()["nodes"])
