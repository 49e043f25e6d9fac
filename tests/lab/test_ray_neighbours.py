# SPDX-License-Identifier: Apache-2.0
"""A real Ray on hosts where another user runs one too: everybody gets his own, and nobody's is touched.

The tests share one cluster and run in the order in which they stand: each says what it changes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .ray_clusters import WHERE, RayCluster, free_of_ours, lasting, ray_cluster
from .rig import Host, Lab

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
BOBS = "ray start --head --num-cpus=1 --object-store-memory=80000000 --disable-usage-stats"
DEPLOY = "python -c \"import ray; ray.init('auto', log_to_driver=False); print('seen', ray.cluster_resources()['mine'])\""


def bobs_ray(host: Host) -> dict[str, int]:
    """What lasts of bob's Ray."""
    return lasting(host, "bob")


@pytest.fixture(scope="module")
def shared(lab4: Lab) -> Lab:
    """Hosts of which the head's and one worker's run a Ray that bob started first, as its documentation says."""
    for name in ("h1", "h2"):
        lab4[name].add_user("bob")
        lab4[name].write("/etc/profile.d/patience.sh", "export RAY_raylet_start_wait_time_s=90\n")
        lab4[name].ssh(f"bash -lc '{BOBS}'", user="bob", seconds=120)
    return lab4


@pytest.fixture(scope="module")
def before(shared: Lab) -> dict[str, dict[str, int]]:
    """What lasted of bob's Ray when we came."""
    return {name: bobs_ray(shared[name]) for name in ("h1", "h2")}


@pytest.fixture(scope="module")
def cluster(shared: Lab, tmp_path_factory: pytest.TempPathFactory, before: dict[str, dict[str, int]]) -> Iterator[RayCluster]:
    del before
    with ray_cluster(shared, tmp_path_factory.mktemp("shared"), ("h1", "h2", "h3")) as made:
        yield made


@pytest.fixture(autouse=True)
def bob_is_not_disturbed(cluster: RayCluster, before: dict[str, dict[str, int]]) -> Iterator[None]:
    yield
    assert {name: bobs_ray(cluster.lab[name]) for name in before} == before


def test_the_cluster_comes_up_beside_it(cluster: RayCluster, before: dict[str, dict[str, int]]) -> None:
    assert {"gcs_server", "raylet"} <= set(before["h1"]) == set(before["h2"])
    assert cluster.joined() == "3 of 3 nodes joined, 3 nodes changed"
    assert cluster.joined() == "3 of 3 nodes joined, nothing changed"


def test_jobs_run_on_ours(cluster: RayCluster) -> None:
    ours = " ".join(["ran on", *sorted(cluster.addresses)])
    assert cluster.submit(WHERE) == [ours]
    assert cluster.rayctl("exec", f"python - <<'EOF'\n{WHERE}\nEOF").stdout.splitlines() == [ours]


def test_jobs_of_who_logs_in_run_on_ours_too(cluster: RayCluster) -> None:
    typed = f". ~/.rayctl/lab/env\npython - <<'EOF'\n{WHERE}\nEOF\n"
    said = cluster.lab["h2"].ssh("bash -l", text=typed).stdout
    assert said.splitlines() == [" ".join(["ran on", *sorted(cluster.addresses)])]


def test_the_cluster_has_a_dashboard_of_its_own(cluster: RayCluster) -> None:
    modules = cluster.head.exec("ps -u ray -o comm=").stdout
    assert "ray-dashboard" in modules


def test_start_commands_behind_the_start_of_ray_run_on_ours(cluster: RayCluster) -> None:
    types = {name: {"resources": {"CPU": 1, "object_store_memory": 80_000_000, "mine": 1}} for name in ("head", "worker")}
    start = "ray start --head --port=7379 --ray-client-server-port=7380 --temp-dir=/tmp/mine"
    cluster.write(available_node_types=types, head_start_ray_commands=[start, DEPLOY], worker_start_ray_commands=[])
    said = cluster.up("-v", "--limit", "h1").stderr
    assert "seen 1.0" in said


def test_a_restart_does_not_disturb_it(cluster: RayCluster) -> None:
    cluster.write_for_ray()
    assert cluster.joined("--restart") == "3 of 3 nodes joined, 3 nodes changed"


def test_down_leaves_nothing_of_ours_and_all_of_it(cluster: RayCluster) -> None:
    cluster.down()
    assert {name: free_of_ours(cluster.lab[name]) for name in cluster.hosts} == {name: {} for name in cluster.hosts}
    told = cluster.head.ssh("bash -lc 'ray status'", user="bob").stdout
    assert "Autoscaler status" in told
