# SPDX-License-Identifier: Apache-2.0
"""The scaler on the head: installed without a network, kept running, handed what changed, and gone without a trace.

A stand-in takes the daemon's place: it notes that it was started, and what it was given.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.scaler_events import events_in

from .clusters import Cluster, daemon, note, noted
from .rig import Host, Lab
from .rig.box import wait_for
from .teams import Team

STARTS = {"head_start_ray_commands": [daemon("starts")], "worker_start_ray_commands": [daemon("starts")]}
STANDIN = r"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
os.makedirs("out", exist_ok=True)
with open("out/scaler", "a") as file:
    file.write("run\n")
if os.path.exists("out/refuse"):
    sys.exit("there is 100% of \"nothing\" for $HOME here")
print("stand-in", sorted(os.environ), sys.argv[1:], flush=True)
while True:
    time.sleep(0.1)
"""
REPLACE = """
try:
    from rayctl.provision.headscaler import service
    service.COMMAND = ("-c", {code!r}, service.FILE, 'odd "word" $HOME % \\\\')
except ImportError:
    pass  # another Python than rayctl's
"""
FOLDER = "/home/ray/.rayctl/lab/scaler"
BY_PLAYBOOKS = {"node_started", "node_ended"}  # the events that only a playbook brings
TRACES = """find /home/ray /etc/systemd /tmp /var/tmp -user ray ! -path '/home/ray/out*' ! -path '/home/ray/.ssh*' | sort
ls /etc/systemd/system | grep rayctl; cat /home/ray/.ssh/authorized_keys
ps -u ray --no-headers -ww -o args | grep -Ev '^(/lib/systemd/systemd --user|[(]sd-pam[)]|sshd: .*)$'; :"""
ON_HEAD = """sudo -iu ray env RAYCTL_HOME={folder}/home {folder}/environment-*/bin/python -P -m rayctl {words} \
    {folder}/current/cluster.yaml"""


@pytest.fixture
def scaled(hosts: Lab, tmp_path: Path, sockets: Path) -> Iterator[Cluster]:
    """A cluster of h1 (the head) to h3 whose workers may come and go, with the stand-in for its scaler."""
    del sockets
    made = Cluster(hosts, tmp_path / "laptop", hosts=("h1", "h2", "h3"))
    folder = tmp_path / "standin"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(REPLACE.format(code=STANDIN))
    made.env["PYTHONPATH"] = os.pathsep.join([str(folder), *filter(None, [made.env.get("PYTHONPATH")])])
    write(made)
    yield made
    made.end()


def write(cluster: Cluster, *setup: str, **keys: Any) -> None:
    cluster.write(*setup, **{**STARTS, "min_workers": 1, **keys})


def pid(cluster: Cluster) -> int:
    """The daemon's, while it lives; 0 else."""
    found = cluster.head.exec("cat /home/ray/.rayctl/lab/*/daemon.json 2>/dev/null || :").stdout
    number = json.loads(found)["pid"] if found else 0
    return number if number and cluster.head.exec(f"test -d /proc/{number} && echo yes || :").stdout else 0


def killed(cluster: Cluster) -> int:
    """The daemon is killed and comes back: its new pid."""
    before = pid(cluster)
    cluster.head.exec(f"kill -9 {before}")
    wait_for(lambda: pid(cluster) not in (0, before), 20, "it was started again")
    return pid(cluster)


def resolved(cluster: Cluster) -> dict[str, Any]:
    """The cluster file that the scaler reads."""
    found: dict[str, Any] = yaml.safe_load(cluster.head.exec(f"cat {FOLDER}/current/cluster.yaml").stdout)
    return found


def last_up(cluster: Cluster) -> set[str]:
    """The kinds of events of the last `up`."""
    return {event["kind"] for event in events_in(max((cluster.home / "runs" / "lab" / "up").glob("*.jsonl")))}


def lines(host: Host) -> int:
    """How many of rayctl's keys may log in there."""
    return host.exec("cat /home/ray/.ssh/authorized_keys").stdout.count(" rayctl:")


def traces(cluster: Cluster) -> dict[str, str]:
    """All that could be left of a cluster on its hosts, logins of a moment ago excepted."""
    return {name: cluster.lab[name].exec(TRACES).stdout for name in cluster.hosts}


def wait_for_none(cluster: Cluster, before: dict[str, str]) -> None:
    wait_for(lambda: traces(cluster) == before, 30, "nothing is left")


# ---- the everyday life
def test_up_installs_it_and_the_next_up_changes_nothing_and_down_leaves_nothing(scaled: Cluster) -> None:
    before = traces(scaled)
    assert "scaler: install it on h1" in scaled.rayctl("plan").stdout
    assert "the scaler too" in scaled.up().stdout
    assert last_up(scaled) >= BY_PLAYBOOKS
    first = pid(scaled)
    assert first
    unit = "rayctl-scaler-1000-lab"
    assert scaled.head.exec(f"systemctl is-active {unit}; systemctl is-enabled {unit}").stdout.split() == ["active", "enabled"]
    said = scaled.head.exec(f"cat {FOLDER}/output").stdout
    assert said.endswith("""['/home/ray/.rayctl/lab/scaler/current/cluster.yaml', 'odd "word" $HOME % \\\\']\n"""), said
    assert [lines(scaled.lab[name]) for name in scaled.hosts] == [1, 1, 1], "also on a host that is not claimed"
    again = scaled.up()
    assert "nothing changed" in again.stdout
    assert not last_up(scaled) & BY_PLAYBOOKS, "for which no playbook was started"
    assert "nothing to do" in scaled.rayctl("plan").stdout
    assert pid(scaled) == first
    assert noted(scaled.head, "scaler") == 1
    scaled.down()
    wait_for_none(scaled, before)


def test_killed_it_comes_back(scaled: Cluster) -> None:
    scaled.up()
    assert killed(scaled)
    wait_for(lambda: noted(scaled.head, "scaler") == 2, 15, "it ran again")


def test_another_maximum_arrives_without_a_restart_of_anything(scaled: Cluster) -> None:
    write(scaled, scaler={"run_on": "head"})
    scaled.up("--max-workers", "2")
    before, daemons = pid(scaled), scaled.daemons()
    assert resolved(scaled)["max_workers"] == 2
    assert "scaler: hand it what changed" in scaled.rayctl("plan", "--max-workers", "1").stdout
    scaled.up("--max-workers", "1", "--no-restart")
    assert resolved(scaled)["max_workers"] == 1
    assert pid(scaled) == before
    assert scaled.daemons() == daemons
    assert len(scaled.head.exec(f"ls -d {FOLDER}/bundle-*").stdout.split()) == 2, "the one before is kept"


def test_the_head_sets_hosts_up_by_itself_from_what_it_was_given(scaled: Cluster) -> None:
    """rayctl there, with its own key and the bundle, finds the cluster exactly as the laptop left it, and launches more."""
    mounted = scaled.folder / "app"
    mounted.mkdir()
    (mounted / "run.sh").write_text("echo hello\n")
    (mounted / "run.sh").chmod(0o750)
    (mounted / "notes.txt").write_text("left out\n")
    write(scaled, note("setup"), file_mounts={"~/out/app": "app"}, rsync_exclude=["notes.txt"])
    scaled.up()
    search = f"grep -rl 'BEGIN .*PRIVATE KEY' /home/ray /tmp /var/tmp | grep -vE '{FOLDER}/(environment-|wheels)' || :"
    keys = scaled.head.exec(search).stdout.split()
    assert keys == [f"{FOLDER}/key"], "no key of the user's is there"
    plan = scaled.head.exec(ON_HEAD.format(folder=FOLDER, words="plan")).stdout
    assert "h1, h2: live" in plan, plan
    scaled.head.exec(ON_HEAD.format(folder=FOLDER, words="up -y --min-workers 2"))
    assert scaled.lab["h3"].exec("ls /home/ray/out/app; stat -c %a /home/ray/out/app/run.sh").stdout.split() == [
        "run.sh",
        "750",
    ]
    assert scaled.counts("setup") == {"h1": 1, "h2": 1, "h3": 1}
    trust = scaled.head.exec(f"cat {FOLDER}/current/known_hosts").stdout
    assert all(scaled.lab[name].ip in trust for name in scaled.hosts), "host keys that the laptop knows are known there"


def test_by_hand_a_playbook_installs_it_too(scaled: Cluster) -> None:
    team = Team(scaled)
    assert "h1" in team.play("--check").changed() | {"h1"}
    first = team.play()
    assert first.changed() >= {"h1", "h2", "h3"}
    assert pid(scaled)
    assert team.play().changed() == set()
    assert team.play("--check").changed() == set()
    assert "nothing changed" in scaled.up().stdout
    scaled.lab["h3"].exec("sed -i /rayctl:/d /home/ray/.ssh/authorized_keys")
    assert team.play("--check", "--tags", "scaler").changed() == {"h3"}
    assert lines(scaled.lab["h3"]) == 0
    assert team.play("--tags", "scaler").changed() == {"h3"}
    assert lines(scaled.lab["h3"]) == 1


def test_a_scaler_that_is_to_run_elsewhere_goes(scaled: Cluster) -> None:
    scaled.up()
    write(scaled, scaler={"run_on": "controller"})
    assert "scaler: remove it from h1" in scaled.rayctl("plan").stdout
    scaled.up()
    assert not scaled.head.exec(f"ls -d {FOLDER} /etc/systemd/system/rayctl* 2>/dev/null || :").stdout
    assert [lines(scaled.lab[name]) for name in scaled.hosts] == [0, 0, 0]
    assert "nothing changed" in scaled.up().stdout


# ---- heads that are otherwise
def test_a_head_without_a_new_python_is_refused_before_anything_is_touched(scaled: Cluster) -> None:
    before = traces(scaled)
    told = json.dumps({"version": [3, 9, 2], "implementation": "cpython"})
    scaled.head.exec(f"printf '%s\\n' '#!/bin/sh' 'echo '\"'\"'{told}'\"'\" > /opt/old; chmod 755 /opt/old")
    write(scaled, scaler={"python": "/opt/old"})
    for verb in (("plan",), ("up", "-y")):
        said = scaled.rayctl(*verb, code=3).stderr
        assert "needs Python 3.11 or newer" in said
        assert "cpython 3.9.2" in said
        assert "run_on: controller" in said
    assert traces(scaled) == before
    write(scaled, scaler={"python": "/usr/bin/python3.11"})
    scaled.up()
    assert pid(scaled)


def test_without_systemds_help_a_supervisor_keeps_it_running(scaled: Cluster) -> None:
    for name in scaled.hosts:
        scaled.lab[name].sudo("none")
    before = traces(scaled)
    scaled.up()
    first = pid(scaled)
    assert first
    assert "nothing changed" in scaled.up().stdout
    assert killed(scaled) != first
    assert "nothing changed" in scaled.up().stdout
    for name in ("supervisor", "daemon"):
        number = json.loads(scaled.head.exec(f"cat /home/ray/.rayctl/lab/*/{name}.json").stdout)["pid"]
        scaled.head.exec(f"kill -9 {number}")
    assert "scaler: start it on h1, because it does not run" in scaled.rayctl("plan").stdout
    assert "the scaler changed" in scaled.up().stdout
    assert pid(scaled)
    scaled.down()
    wait_for_none(scaled, before)


def test_a_user_who_may_linger_gets_a_unit_of_his_own(scaled: Cluster) -> None:
    scaled.head.sudo("none")
    scaled.head.exec("loginctl enable-linger ray")
    before = traces(scaled)
    scaled.up()
    assert pid(scaled)
    assert "rayctl-scaler" in scaled.head.exec("ls /home/ray/.config/systemd/user").stdout
    assert killed(scaled)
    assert "nothing changed" in scaled.up().stdout
    scaled.down()
    assert not pid(scaled)
    assert "rayctl" not in traces(scaled)["h1"].replace(before["h1"], "")


def test_a_head_that_was_made_anew_gets_it_again_and_its_old_key_goes(scaled: Cluster) -> None:
    scaled.up()
    old = scaled.lab["h2"].exec("grep rayctl: /home/ray/.ssh/authorized_keys").stdout
    scaled.head.recreate()
    known = scaled.home / "clusters" / "lab" / "known_hosts"
    scaled.run("ssh-keygen", "-R", scaled.head.ip, "-f", str(known))
    scaled.up()
    assert pid(scaled)
    assert [lines(scaled.lab[name]) for name in scaled.hosts] == [1, 1, 1]
    assert scaled.lab["h2"].exec("grep rayctl: /home/ray/.ssh/authorized_keys").stdout != old
    assert "nothing changed" in scaled.up().stdout


# ---- what goes wrong
def test_a_silent_host_lets_it_in_when_a_later_up_meets_it_and_down_takes_that_back(scaled: Cluster) -> None:
    before = traces(scaled)
    scaled.lab["h3"].kill()
    scaled.up(code=None)
    assert pid(scaled)
    scaled.lab["h3"].boot()
    assert lines(scaled.lab["h3"]) == 0
    assert "let its key log in on h3" in scaled.rayctl("plan").stdout
    scaled.up()
    assert lines(scaled.lab["h3"]) == 1
    assert noted(scaled.head, "scaler") == 1, "that is no reason to disturb it"
    scaled.down()
    wait_for_none(scaled, before)


def test_a_daemon_that_ends_at_once_is_told_with_its_words(scaled: Cluster) -> None:
    scaled.head.exec("mkdir -p /home/ray/out; touch /home/ray/out/refuse; chown -R ray /home/ray/out")
    said = scaled.up(code=1).stderr
    assert """h1: the scaler: h1: the scaler ended at once: there is 100% of "nothing" for $HOME here""" in said
    scaled.head.exec("rm /home/ray/out/refuse")
    scaled.up()
    assert pid(scaled)
    assert "nothing changed" in scaled.up().stdout


def test_a_full_disk_is_told_and_the_next_up_goes_on(scaled: Cluster) -> None:
    write(scaled, scaler={"run_on": "off"})
    scaled.up()
    write(scaled)
    scaled.head.fill_disk()
    said = scaled.up(code=1).stderr
    assert "No space left on device" in said
    scaled.head.fill_disk(there=False)
    scaled.up()
    assert pid(scaled)
    assert not scaled.head.exec(f"ls -A {FOLDER} | grep '^[.]' || :").stdout


@pytest.mark.parametrize("moment", ["wheels", ".environment-", "bundle-"])
def test_an_up_that_is_killed_in_the_middle_is_taken_up_by_the_next(scaled: Cluster, moment: str) -> None:
    before = traces(scaled)
    child = scaled.start("rayctl", "up", "-y", str(scaled.file))
    wait_for(lambda: moment in scaled.head.exec(f"ls -A {FOLDER} 2>/dev/null || :").stdout, 60, f"{moment} is there")
    os.killpg(child.pid, 9)
    child.wait()
    scaled.up()
    assert pid(scaled)
    assert len(scaled.head.exec("pgrep -u ray -f 'environment-.*/bin/python'").stdout.split()) == 1
    assert [lines(scaled.lab[name]) for name in scaled.hosts] == [1, 1, 1]
    assert not scaled.head.exec(f"ls -A {FOLDER} | grep '^[.]' || :").stdout
    scaled.down()
    wait_for_none(scaled, before)
