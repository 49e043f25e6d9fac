# SPDX-License-Identifier: Apache-2.0
"""Ray's token: made for each cluster, handed over as a file, and found nowhere else while rayctl works and afterwards.

The tests share one cluster and run in the order in which they stand: each says what it changes. Hosts of the lab are
processes of this machine to its root, who so sees all command lines and environments there are.
"""

from __future__ import annotations

import re
import shlex
import signal
import stat
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from .clusters import content, holding
from .ray_clusters import WHERE, RayCluster, ray_cluster
from .rig import Host, Lab
from .rig.box import wait_for

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(300)]
KEPT = "/home/ray/.rayctl/lab/token"
ENV = ". ~/.rayctl/lab/env"
REACHED = "Autoscaler status"  # what `ray status` begins with


@pytest.fixture(scope="module")
def cluster(lab4: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayCluster]:
    with ray_cluster(lab4, tmp_path_factory.mktemp("token"), ("h1", "h2")) as made:
        yield made


class Watch:
    """Looks again and again, beside a command, where the token must not be."""

    def __init__(self, cluster: RayCluster) -> None:
        self.cluster, self.found, self.looks = cluster, set[str](), 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    @contextmanager
    def watching(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(0.05):
            secret = kept_here(self.cluster)
            if secret:
                self.looks += 1
                self.found |= told_by_processes(secret) | files_with(self.cluster.home, secret)


def kept_here(cluster: RayCluster) -> bytes:
    """The token in its file on this controller, empty while there is none."""
    file = cluster.home / "clusters" / "lab" / "token"
    return content(file).strip()


def told_by_processes(secret: bytes) -> set[str]:
    """The command lines and environments of this machine and all hosts in which the secret is."""
    files = (folder / name for folder in Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ"))
    return {f"{file.name} of {content(file.parent / 'comm').decode().strip()}" for file in files if secret in content(file)}


def files_with(folder: Path, secret: bytes) -> set[str]:
    return {str(file.relative_to(folder)) for file in holding(folder, secret)}


def on_host(host: Host, secret: bytes) -> list[str]:
    """The files of a host in which the secret is."""
    places = "/home /tmp /var/tmp /var/log /run /root /etc /dev/shm"
    return host.exec(f"grep -rlIF {secret.decode()} {places} 2>/dev/null || true").stdout.split()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def ray_status(host: Host, before: str = "true", user: str = "ray") -> tuple[int, str]:
    """What `ray status` says to somebody who logged in by himself."""
    done = host.ssh(shlex.join(["bash", "-lc", f"{before}; timeout 60 ray status 2>&1"]), user=user, check=False, seconds=90)
    return done.returncode, done.stdout


def test_while_the_cluster_comes_up_its_token_is_in_no_command_line_no_environment_and_no_other_file(
    cluster: RayCluster,
) -> None:
    watch = Watch(cluster)
    with watch.watching():
        said = cluster.up("-v")
    secret = kept_here(cluster)
    assert re.fullmatch(b"[0-9a-f]{64}", secret)
    assert watch.looks > 10
    assert watch.found == {"clusters/lab/token"}
    assert secret.decode() not in said.stdout + said.stderr


def test_it_lies_in_one_private_file_on_each_machine(cluster: RayCluster) -> None:
    secret = kept_here(cluster)
    assert mode(cluster.home / "clusters" / "lab" / "token") == 0o600
    for name in cluster.hosts:
        host = cluster.lab[name]
        assert on_host(host, secret) == [KEPT]
        assert host.exec(f"stat -c '%a %U' {KEPT}").stdout == "600 ray\n"


def test_the_inventory_does_not_tell_it(cluster: RayCluster) -> None:
    source = cluster.folder / "lab.rayctl.yml"
    source.write_text(f"plugin: rayctl.ray.rayctl\ncluster: {cluster.file}\n")
    listed = cluster.run("ansible-inventory", "-i", str(source), "--list").stdout
    assert "h2" in listed
    assert kept_here(cluster).decode() not in listed


def test_who_logs_in_gets_to_the_cluster_by_what_up_says_at_its_end(cluster: RayCluster) -> None:
    lines = [line.partition(" # ")[0].strip() for line in cluster.up().stdout.splitlines()]
    login = next(line for line in lines if line.startswith("ssh -F "))
    variables = next(line for line in lines if line.startswith(". "))
    typed = f"{variables}\nray status\n"

    def told() -> int:
        return cluster.run(*shlex.split(login), "bash -l", stdin=None, input=typed).stdout.count(REACHED)

    wait_for(lambda: told() == 1, 90, "Ray has a status to tell")  # it takes some seconds to have the first


def test_on_a_worker_too(cluster: RayCluster) -> None:
    code, said = ray_status(cluster.lab["h2"], ENV)
    assert (code, said.count(REACHED)) == (0, 1)


def test_the_dashboard_is_led_here_and_takes_the_token_that_the_command_prints(cluster: RayCluster) -> None:
    printed = cluster.rayctl("token").stdout
    assert printed == f"{kept_here(cluster).decode()}\n"
    child = cluster.start("rayctl", "dashboard", "--no-browser", str(cluster.file))
    assert child.stdout is not None
    url = child.stdout.readline().split()[0]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{url}/api/cluster_status", timeout=60)
    request = urllib.request.Request(f"{url}/api/cluster_status", headers={"Authorization": f"Bearer {printed.strip()}"})
    assert urllib.request.urlopen(request, timeout=60).status == 200
    child.send_signal(signal.SIGINT)
    assert child.wait(30) == 0
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(url, timeout=5)


def test_monitor_follows_the_logs_of_this_clusters_monitor(cluster: RayCluster) -> None:
    child = cluster.start("rayctl", "monitor", str(cluster.file), "--lines", "3")
    assert child.stdout is not None
    assert "==> monitor" in child.stdout.readline()
    cluster.lab["h1"].exec("for f in /tmp/ray/session_latest/logs/monitor.log; do echo said by hand >> $f; done")
    assert any("said by hand" in line for line in iter(child.stdout.readline, ""))
    child.send_signal(signal.SIGINT)
    child.wait(30)


def test_a_dump_holds_the_logs_of_this_clusters_ray_and_not_its_token(cluster: RayCluster, tmp_path: Path) -> None:
    cluster.rayctl("cluster-dump", "-o", str(tmp_path / "dump.tar.gz"))
    cluster.run("tar", "-xzf", "dump.tar.gz", cwd=tmp_path)
    for name in ("h1", "h2"):
        (tmp_path / name).mkdir()
        cluster.run("tar", "-xzf", str(tmp_path / "dump" / f"{name}.tar.gz"), cwd=tmp_path / name)
        assert (tmp_path / name / "ray" / "raylet.out").is_file()
    assert not files_with(tmp_path, kept_here(cluster))


def test_who_does_not_have_it_is_refused(cluster: RayCluster) -> None:
    address = f"export RAY_ADDRESS={cluster.head.ip}:6379"
    code, said = ray_status(cluster.head, address)
    assert code != 0
    assert REACHED not in said
    cluster.head.add_user("bob")
    for before in (address, ". /home/ray/.rayctl/lab/env", "true"):
        code, said = ray_status(cluster.head, before, user="bob")
        assert code != 0, before
        assert REACHED not in said


def test_another_laptop_gets_it_from_the_head(cluster: RayCluster) -> None:
    other = cluster.elsewhere("other")
    assert other.submit(WHERE) == [" ".join(["ran on", *sorted(cluster.addresses)])]
    assert REACHED in other.rayctl("exec", "ray status").stdout
    assert [node["ray"] for node in other.status()["nodes"]].count("idle") == 2
    assert kept_here(other) == kept_here(cluster)
    assert mode(other.home / "clusters" / "lab" / "token") == 0o600


def test_it_can_be_turned_off(cluster: RayCluster) -> None:
    cluster.auth["ray_token"] = False
    cluster.write_for_ray()
    assert cluster.joined() == "2 of 2 nodes joined, 2 nodes changed"
    address = f"export RAY_ADDRESS={cluster.head.ip}:6379"
    wait_for(lambda: REACHED in ray_status(cluster.head, address)[1], 90, "the new head has a status to tell")
    assert cluster.submit(WHERE) == [" ".join(["ran on", *sorted(cluster.addresses)])]


def test_a_new_cluster_has_a_new_one(cluster: RayCluster) -> None:
    before = kept_here(cluster)
    cluster.auth["ray_token"] = True
    cluster.write()
    cluster.down()
    assert kept_here(cluster) == b""
    cluster.up()
    assert kept_here(cluster) not in (b"", before)


def test_nothing_of_it_is_left_here_when_the_cluster_is_gone(cluster: RayCluster) -> None:
    secret = kept_here(cluster)
    cluster.down()
    assert files_with(cluster.home, secret) == set()
    assert [on_host(cluster.lab[name], secret) for name in cluster.hosts] == [[], []]
