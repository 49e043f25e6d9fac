# SPDX-License-Identifier: Apache-2.0
"""A host belongs to one cluster at a time, whoever its users are and from wherever they work."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .clusters import Cluster, daemon, note, noted
from .rig import Host, Lab

STARTS = {"head_start_ray_commands": [daemon("starts")], "worker_start_ray_commands": [daemon("starts")]}
Make = Callable[..., Cluster]


@pytest.fixture
def make(hosts: Lab, tmp_path: Path, sockets: Path) -> Iterator[Make]:
    """Makes clusters over the lab's hosts, each from a laptop of its own."""
    del sockets
    made: list[Cluster] = []

    def one(name: str, *names: str, user: str = "ray") -> Cluster:
        made.append(Cluster(hosts, tmp_path / name, name, names))
        made[-1].auth["ssh_user"] = user
        made[-1].write(note(name))
        return made[-1]

    yield one
    for cluster in made:
        cluster.end()


def all_files(host: Host) -> str:
    return host.exec("find /home /var/tmp /tmp /dev/shm -printf '%p %T@ %s\\n' | grep -v /.ssh | sort").stdout


def age_claim(host: Host, uid: int = 1000) -> None:
    """Let the claim of this user run out."""
    path = f"/var/tmp/rayctl-claim.{uid}"
    claim = json.loads(host.exec(f"cat {path}").stdout)
    owner = host.exec(f"stat -c %U {path}").stdout.strip()
    host.write(path, json.dumps({**claim, "expires": 1.0}), owner=owner)


@pytest.mark.parametrize("user", ["ray", "bob"])
def test_a_taken_head_ends_up_with_3_and_nothing_is_touched(make: Make, hosts: Lab, user: str) -> None:
    if user != "ray":
        for host in hosts:
            host.add_user(user)
    first, second = make("first", "h1", "h2"), make("second", "h1", "h3", user=user)
    first.up()
    before = {host.name: all_files(host) for host in hosts}
    said = second.up(code=3).stderr
    assert "h1 is taken by the cluster first of its user ray (claimed by" in said
    assert "rayctl down" in said
    assert {host.name: all_files(host) for host in hosts} == before


@pytest.mark.parametrize("user", ["ray", "bob"])
def test_a_taken_worker_is_named_with_its_owner_and_the_others_are_up(make: Make, hosts: Lab, user: str) -> None:
    if user != "ray":
        for host in hosts:
            host.add_user(user)
    first, second = make("first", "h1", "h2"), make("second", "h3", "h2", "h4", user=user)
    first.up()
    said = second.up(code=1).stderr
    assert said.count("✗ h2") == 1
    assert "h2 is taken by the cluster first of its user ray (claimed by" in said
    assert "rayctl down" in said
    assert "the other 2 nodes are up" in said
    assert [noted(hosts[name], "second", user) for name in ("h2", "h3", "h4")] == [0, 1, 1]
    first.down()
    second.up()
    assert noted(hosts["h2"], "second", user) == 1, "after down the host is free"


def test_of_two_that_race_for_a_head_one_gets_it(make: Make, hosts: Lab) -> None:
    both = make("first", "h1", "h2"), make("second", "h1", "h2")
    children = [cluster.start("rayctl", "up", "-y", str(cluster.file)) for cluster in both]
    for child in children:
        child.communicate(timeout=60)
    assert sorted(child.returncode for child in children) == [0, 3]
    for host in ("h1", "h2"):
        assert noted(hosts[host], "first") + noted(hosts[host], "second") == 1


def test_of_two_that_race_for_workers_each_worker_gets_one(make: Make, hosts: Lab) -> None:
    both = make("first", "h1", "h3", "h4"), make("second", "h2", "h4", "h3")
    children = [cluster.start("rayctl", "up", "-y", str(cluster.file)) for cluster in both]
    said = [child.communicate(timeout=60)[1] for child in children]
    assert [noted(hosts["h1"], "first"), noted(hosts["h2"], "second")] == [1, 1]
    for host in ("h3", "h4"):
        runs = [noted(hosts[host], "first"), noted(hosts[host], "second")]
        assert sorted(runs) == [0, 1]
        assert f"{host} is taken by the cluster" in said[runs.index(0)]


@pytest.mark.parametrize("user", ["ray", "bob"])
def test_a_claim_that_ran_out_and_runs_nothing_is_taken_over(make: Make, hosts: Lab, user: str) -> None:
    if user != "ray":
        for host in hosts:
            host.add_user(user)
    first, second = make("first", "h1", "h2"), make("second", "h1", "h2", user=user)
    first.up()
    age_claim(hosts["h1"])
    age_claim(hosts["h2"])
    second.up()
    assert noted(hosts["h2"], "second", user) == 1
    said = first.up(code=3).stderr
    assert f"h1 is taken by the cluster second of its user {user}" in said


def test_a_claim_that_ran_out_holds_while_its_processes_run(make: Make, hosts: Lab) -> None:
    first, second = make("first", "h1", "h2"), make("second", "h1", "h2")
    first.write(note("first"), **STARTS)
    first.up()
    age_claim(hosts["h1"])
    assert "h1 is taken by the cluster first of its user ray" in second.up(code=3).stderr
    assert "while its processes run" in second.up(code=3).stderr
    assert "nothing changed" in first.up().stdout


@pytest.mark.parametrize("verb", ["up", "down"])
def test_two_clusters_of_one_name_and_user_are_told_apart_by_their_heads(make: Make, hosts: Lab, verb: str) -> None:
    first, second = make("first", "h1", "h2", "h3"), make("second", "h4", "h2")
    for cluster, setup in ((first, "first"), (second, "second")):
        cluster.name = "lab"
        cluster.write(note(setup), **STARTS)
    first.up()
    before = first.daemons()
    if verb == "up":
        assert "h2 is taken by the cluster lab of its user ray" in second.up(code=1).stderr
    else:
        assert "nothing to end" in second.down().stdout
    assert noted(hosts["h2"], "second") == 0
    assert first.daemons() == before
    assert "nothing changed" in first.up().stdout


def test_a_worker_of_one_cluster_is_not_the_head_of_another_of_its_name(make: Make) -> None:
    first, second = make("first", "h1", "h2"), make("second", "h2", "h3")
    for cluster in (first, second):
        cluster.name = "lab"
        cluster.write(note("setup"), **STARTS)
    first.up()
    before = first.daemons()
    assert "h2 is taken by the cluster lab of its user ray" in second.up(code=3).stderr
    second.down()
    assert first.daemons() == before


def test_a_host_that_was_cut_off_while_its_cluster_ended_comes_back_to_it(make: Make, hosts: Lab) -> None:
    cluster = make("lab", "h1", "h2", "h3")
    cluster.write(note("setup"), **STARTS)
    cluster.up()
    hosts["h3"].partition()
    cluster.down(code=1)
    cluster.up(code=1)
    hosts["h3"].heal()
    cluster.up()
    assert [node["state"] for node in cluster.status("--probe")["nodes"]] == ["running"] * 3
    assert len({node["claim"]["cluster_id"] for node in cluster.status("--probe")["nodes"]}) == 1
