# SPDX-License-Identifier: Apache-2.0
"""Workers that lost their head stop what is theirs and give their hosts back, with nobody to tell them so."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from .clusters import Cluster, daemon, note, noted
from .rig import Host, Lab
from .rig.box import wait_for

GCS = "import socket; s = socket.create_server(('', 6379))\nwhile True: s.accept()[0].close()"
STARTS = {
    "head_start_ray_commands": [note("starts", f'python3 -c "{GCS}" >/dev/null 2>&1 &')],
    "worker_start_ray_commands": [daemon("starts")],
}
SHORT_S, LONG_S = 5, 20


def write(cluster: Cluster, timeout_s: float = SHORT_S) -> None:
    """The cluster file: a head that takes connections, workers with a daemon."""
    cluster.write(note("setup"), scaler={"orphan_timeout": timeout_s}, **STARTS)


@pytest.fixture
def cluster(cluster: Cluster) -> Cluster:
    """A cluster of h1 (the head) to h4, which is up."""
    write(cluster)
    cluster.up()
    return cluster


@pytest.fixture
def second(hosts: Lab, tmp_path: Path, sockets: Path) -> Iterator[Cluster]:
    """A cluster of somebody else, over two of the hosts."""
    del sockets
    for host in hosts:
        host.add_user("bob")
    made = Cluster(hosts, tmp_path / "bobs", "second", ("h3", "h4"))
    made.auth["ssh_user"] = "bob"
    made.write(note("second"))
    yield made
    made.end()


def claim(host: Host) -> str:
    return host.exec("ls /var/tmp | grep rayctl-claim || :").stdout


def watches(hosts: Iterable[Host]) -> list[list[str]]:
    """On each host, the pids of what looks after the head."""
    return [host.exec("pgrep -f 'rayctl looks after the hea[d]' || :").stdout.split() for host in hosts]


def own(host: Host) -> list[str]:
    """The files that rayctl has there."""
    return host.exec("cd /home/ray; find .rayctl -type f 2>/dev/null | sort").stdout.split()


def gone(*hosts: Host) -> bool:
    """Whether nothing of the cluster runs there, and the host is nobody's."""
    return not any(claim(host) or host.exec("pgrep -u ray -f 'sleep|python' || :").stdout for host in hosts)


def wait_until_gone(*hosts: Host) -> None:
    wait_for(lambda: gone(*hosts), 40, f"{', '.join(host.name for host in hosts)} gave up")


def test_when_the_head_dies_its_workers_end_and_others_get_their_hosts(cluster: Cluster, second: Cluster) -> None:
    assert "h3 is taken by the cluster lab of its user ray" in second.up(code=3).stderr
    cluster.head.kill()
    wait_until_gone(*cluster.workers)
    for host in cluster.workers:
        (told,) = own(host)
        assert told.endswith(".log")
        assert "its Ray was stopped and the host released" in host.exec(f"cat /home/ray/{told}").stdout
    second.up()
    assert [noted(host, "second", "bob") for host in second.workers] == [1]


def test_when_the_head_is_back_the_next_up_takes_the_hosts_again(cluster: Cluster) -> None:
    cluster.head.kill()
    wait_until_gone(*cluster.workers)
    cluster.head.boot()
    assert "4 nodes changed" in cluster.up().stdout
    assert cluster.counts("setup") == {"h1": 1, "h2": 2, "h3": 2, "h4": 2}
    assert [len(pids) for pids in watches(cluster.workers)] == [1, 1, 1]
    cluster.down()
    assert [own(host) for host in cluster.lab] == [[]] * 4, "what was told of the first end is gone too"


def test_a_worker_that_is_cut_off_from_everybody_ends_and_the_others_stay(cluster: Cluster) -> None:
    before, lost = cluster.daemons(), cluster.lab["h4"]
    lost.partition()
    wait_until_gone(lost)
    lost.heal()
    assert cluster.daemons() == {**before, "h4": []}
    assert "1 node changed" in cluster.up().stdout
    assert cluster.counts("setup") == {"h1": 1, "h2": 1, "h3": 1, "h4": 2}


def test_a_cut_that_heals_in_time_changes_nothing(cluster: Cluster) -> None:
    write(cluster, LONG_S)
    cluster.up()
    before, looking = cluster.daemons(), watches(cluster.workers)
    for _ in range(2):
        for host in cluster.workers:
            host.partition("h1")
        time.sleep(LONG_S / 2)
        for host in cluster.workers:
            host.heal()
        time.sleep(LONG_S / 2)
    time.sleep(LONG_S / 2)
    assert (cluster.daemons(), watches(cluster.workers)) == (before, looking)
    assert "nothing changed" in cluster.up().stdout


def test_one_that_was_killed_or_has_another_time_is_made_anew_and_nothing_else_is(cluster: Cluster) -> None:
    before, looking = cluster.daemons(), watches(cluster.workers)
    assert [len(pids) for pids in looking] == [1, 1, 1]
    assert watches([cluster.head]) == [[]]
    assert "nothing changed" in cluster.up().stdout
    cluster.lab["h3"].exec(f"kill -9 {looking[1][0]}")
    assert "  h3: put orphan_timeout into force\n" in cluster.rayctl("plan").stdout
    assert "1 node changed" in cluster.up().stdout
    write(cluster, LONG_S)
    assert "3 nodes changed" in cluster.up().stdout
    assert [len(pids) for pids in watches(cluster.workers)] == [1, 1, 1]
    write(cluster, 0)
    assert "3 nodes changed" in cluster.up().stdout
    assert watches(cluster.workers) == [[], [], []]
    assert "nothing changed" in cluster.up().stdout
    assert cluster.daemons() == before
    assert cluster.counts("setup") == cluster.counts("starts") == {"h1": 1, "h2": 1, "h3": 1, "h4": 1}


def test_after_down_nobody_looks_after_the_head_any_more(cluster: Cluster) -> None:
    cluster.down()
    assert watches(cluster.workers) == [[], [], []]
    assert [own(host) for host in cluster.lab] == [[]] * 4


def test_on_a_disk_that_became_read_only_ray_stops_and_the_host_is_given_back_when_it_can_be(cluster: Cluster) -> None:
    lost = cluster.lab["h4"]
    lost.readonly_home()
    cluster.head.kill()
    wait_for(lambda: not cluster.daemons()["h4"], 40, "h4's daemon ends")
    assert claim(lost)
    assert len(watches([lost])[0]) == 1
    lost.readonly_home(there=False)
    wait_until_gone(lost)


def test_hosts_that_share_a_home_give_up_each_for_itself(hosts: Lab, tmp_path: Path, sockets: Path) -> None:
    del sockets
    hosts.share_home("h2", "h3")
    cluster = Cluster(hosts, tmp_path / "laptop", hosts=("h1", "h2", "h3"))
    write(cluster)
    cluster.up()
    cluster.lab["h2"].partition()
    wait_until_gone(cluster.lab["h2"])
    assert claim(cluster.lab["h3"])
    assert any(path.endswith("/token") for path in own(cluster.lab["h3"])), "the other one needs it"
    cluster.lab["h3"].partition()
    wait_until_gone(cluster.lab["h3"])
    assert [path[-4:] for path in own(cluster.lab["h3"])] == [".log", ".log"]
    cluster.end()
