# SPDX-License-Identifier: Apache-2.0
"""The whole job by plain `ansible-playbook`, from a team's own repository, on hosts reached over ssh."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
import yaml

from .clusters import Cluster, note, noted
from .rig.box import wait_for
from .teams import Team

NAP = "86401.5"  # seconds: told from any other sleep of the host
ALL = {"h1", "h2", "h3", "h4"}


@pytest.fixture
def team(cluster: Cluster) -> Team:
    cluster.write(note("steps"))
    return Team(cluster)


def everywhere(team: Team, name: str) -> list[int]:
    """How often that command ran on each host."""
    return [noted(host, name) for host in team.cluster.lab]


def logins(team: Team) -> list[int]:
    """How many ssh connections each host has seen."""
    count = "journalctl --no-pager | grep -c 'Accepted publickey for ray'; true"
    return [int(host.exec(count).stdout) for host in team.cluster.lab]


# ---- the same as by `rayctl`


def test_a_playbook_brings_a_cluster_up_and_the_next_one_and_up_change_nothing(team: Team) -> None:
    first = team.play()
    assert first.changed() == ALL | {"localhost"}
    assert team.play().changed() == set()
    assert "nothing changed" in team.cluster.up().stdout
    assert everywhere(team, "steps") == everywhere(team, "starts") == [1, 1, 1, 1]


def test_after_up_a_playbook_changes_nothing(team: Team) -> None:
    team.cluster.up()
    assert team.play().changed() == set()
    assert everywhere(team, "steps") == [1, 1, 1, 1]


def test_all_of_a_playbook_needs_one_ssh_connection_per_host(team: Team) -> None:
    team.play()
    team.play()
    assert logins(team) == [1, 1, 1, 1]


def test_down_ends_everything_and_frees_the_hosts(team: Team) -> None:
    team.play()
    assert team.play(book="rayctl.ray.down").changed() == {"localhost"}
    assert {node["state"] for node in team.cluster.status("--probe")["nodes"]} == {"free"}
    assert team.play(book="rayctl.ray.down").changed() == set()


def test_a_play_of_their_own_brings_head_and_workers_up_by_roles(team: Team) -> None:
    example = yaml.safe_load((Path(__file__).parents[2] / "examples" / "own_play.yml").read_text())
    team.write("site.yml", example)
    assert team.play(book="site.yml").changed() == ALL | {"localhost"}
    assert team.play().changed() == set()


# ---- what a team says of its hosts


def test_their_variables_win_over_the_cluster_file_from_the_first_word_to_a_host(team: Team) -> None:
    """The file is wrong about user, port and key; claim, lease, set-up and the look at the head heed the variables."""
    cluster = team.cluster
    cluster.auth = {"ssh_user": "nobody", "ssh_port": 2222}
    cluster.write(note("steps"))
    team.write("group_vars/all.yml", {"ansible_user": "ray", "ansible_ssh_private_key_file": str(cluster.lab.key)})
    team.write("group_vars/ray_worker.yml", {"ansible_port": 22})
    team.write("host_vars/h1.yml", {"ansible_port": 22})
    assert team.play().changed() == ALL | {"localhost"}
    cluster.write(note("steps"), note("more"))
    assert team.play("--limit", "h2").changed() == {"h2"}
    assert everywhere(team, "more") == [0, 1, 0, 0]
    assert everywhere(team, "starts") == [1, 2, 1, 1]
    team.play(book="rayctl.ray.down")
    assert all(host.exec("ls /var/tmp/rayctl-claim.* 2>/dev/null; true").stdout == "" for host in cluster.lab)


def test_a_proxy_jump_of_theirs_leads_to_a_host_that_is_reached_in_no_other_way(team: Team) -> None:
    lab = team.cluster.lab
    lab["h3"].hide()
    team.write("host_vars/h3.yml", {"ansible_ssh_common_args": f"-o ProxyJump=ray@{lab['h1'].ip}"})
    assert team.play().changed() == ALL | {"localhost"}


def test_user_and_key_of_their_command_line_and_configuration_count(team: Team) -> None:
    cluster = team.cluster
    cluster.auth = {"ssh_user": "nobody"}
    cluster.write()
    team.configure(f"private_key_file = {cluster.lab.key}")
    assert team.play("-u", "ray").changed() == ALL | {"localhost"}


def test_a_configuration_that_checks_no_host_keys_does_not_make_rayctl_trust_a_changed_one(team: Team) -> None:
    team.configure("host_key_checking = False")
    team.play()
    team.cluster.rayctl("down", "-y")  # closes the connections that are open
    team.cluster.lab["h2"].rekey()
    second = team.play(code=None)
    assert second.recap["h2"]["unreachable"] == 1, second.output
    assert "ssh-keygen" in second.output
    assert everywhere(team, "steps") == [2, 1, 2, 2]


def test_another_connection_than_the_cluster_files_is_refused_with_the_variable_to_remove(team: Team) -> None:
    team.cluster.up()
    team.write("host_vars/h2.yml", {"ansible_connection": "local"})
    played = team.play(code=2)
    assert played.recap["h2"]["failed"] == 1
    assert "Remove ansible_connection from your variables" in played.output


# ---- parts of the cluster


def test_limit_works_on_a_controller_that_does_not_know_the_cluster(team: Team) -> None:
    team.play()
    team.cluster.write(note("steps"), note("more"))
    env = {"RAYCTL_HOME": str(team.folder / "another-home")}
    assert team.play("--limit", "h2", env=env).changed() == {"h2"}
    assert everywhere(team, "more") == [0, 1, 0, 0]
    assert team.play("--limit", "h2").changed() == set()


def test_limit_to_a_host_before_there_is_a_cluster_leaves_it_alone_and_says_why(team: Team) -> None:
    played = team.play("--limit", "h2")
    assert played.recap["h2"]["skipped"] == 1
    assert "h2 is free" in played.output
    assert everywhere(team, "steps") == [0, 0, 0, 0]


def test_a_host_that_the_cluster_does_not_need_is_left_out_and_told_of(team: Team) -> None:
    team.cluster.write(note("steps"), max_workers=2)
    played = team.play()
    assert played.changed() == ALL - {"h4"} | {"localhost"}
    assert "h4 is free: the cluster does not need this host" in played.output


@pytest.mark.parametrize(("tag", "ran"), [("setup", 1), ("mounts", 0), ("start", 0)])
def test_tags_choose_what_is_done_on_the_nodes(team: Team, tag: str, ran: int) -> None:
    team.play("--tags", "launch")
    team.play("--tags", tag)
    assert everywhere(team, "steps") == [ran] * 4


def test_check_mode_foretells_and_touches_nothing(team: Team) -> None:
    foreseen = team.play("--check", "--diff")
    assert "launch the head (head)" in foreseen.output
    assert everywhere(team, "steps") == [0, 0, 0, 0]
    assert all(
        host.exec("ls -A /home/ray/.rayctl /var/tmp/rayctl-claim.* 2>/dev/null; true").stdout == "" for host in team.cluster.lab
    )
    team.play()
    source = team.cluster.folder / "data.txt"
    source.write_text("a word that nobody reads\n")
    team.cluster.write(note("steps"), file_mounts={"~/data.txt": str(source)})
    foreseen = team.play("--check", "--diff")
    assert foreseen.changed() == ALL
    assert "data.txt" in foreseen.output
    assert "a word that nobody reads" not in foreseen.output
    assert everywhere(team, "steps") == [1, 1, 1, 1]
    assert team.play().changed() == ALL


# ---- hosts that fail


def test_a_host_that_another_cluster_has_fails_alone_and_its_owner_is_named(team: Team) -> None:
    other = Cluster(team.cluster.lab, team.cluster.folder.parent / "other", "other", ("h3",))
    try:
        other.up()
        played = team.play(code=2)
        assert {name for name, counts in played.recap.items() if counts["failed"]} == {"h3"}
        assert "h3 is taken by the cluster other of its user ray" in played.output
        assert everywhere(team, "steps") == [1, 1, 0, 1]
    finally:
        other.end()


def test_a_host_that_does_not_answer_is_unreachable_and_the_others_go_on(team: Team) -> None:
    team.cluster.lab["h4"].unplug()
    played = team.play(code=4)
    assert played.recap["h4"]["unreachable"] == 1
    assert everywhere(team, "steps")[:3] == [1, 1, 1]


def test_a_step_that_fails_is_told_with_its_last_lines_and_the_next_run_goes_on_there(team: Team) -> None:
    team.cluster.write(note("steps"), "echo so it goes; test -e ~/fixed")
    played = team.play(code=2)
    assert "so it goes" in played.output
    for host in team.cluster.lab:
        host.exec("touch /home/ray/fixed")
    team.play()
    assert everywhere(team, "steps") == [1, 1, 1, 1]


def test_ctrl_c_ends_the_steps_on_all_hosts(team: Team) -> None:
    hosts = list(team.cluster.lab)
    team.cluster.write(f"sleep {NAP} & echo $! > ~/pid; wait")
    playing = team.start()
    wait_for(lambda: all(host.exec(f"pgrep -fx 'sleep {NAP}'; true").stdout for host in hosts), 60, "all hosts are at it")
    os.killpg(playing.pid, signal.SIGINT)
    output, errors = playing.communicate(timeout=60)
    assert playing.returncode != 0
    assert "Traceback" not in output + errors
    assert [host.exec(f"pgrep -fx 'sleep {NAP}'; true").stdout for host in hosts] == [""] * 4


# ---- the inventory


def test_the_inventory_asks_no_host_and_holds_no_secret(team: Team) -> None:
    team.play()
    token = next(team.cluster.home.glob("clusters/lab/*token*")).read_text().strip()
    for host in team.cluster.lab:
        host.unplug()
    no_ssh = team.folder / "bin"
    no_ssh.mkdir()
    (no_ssh / "ssh").write_text(f"#!/bin/sh\ntouch {team.folder}/asked\nexit 255\n")
    (no_ssh / "ssh").chmod(0o755)
    env = {"PATH": f"{no_ssh}:{team.cluster.env['PATH']}"}
    listed = team.run("ansible-inventory", "-i", team.inventory, "--list", env=env).stdout
    assert set(json.loads(listed)["_meta"]["hostvars"]) == ALL
    assert token not in listed
    assert "@ray_worker:" in team.run("ansible-inventory", "-i", team.inventory, "--graph", env=env).stdout
    one = json.loads(team.run("ansible-inventory", "-i", team.inventory, "--host", "h2", env=env).stdout)
    assert one["ansible_host"] == team.cluster.lab["h2"].ip
    assert not (team.folder / "asked").exists()


def test_groups_given_by_initialization_count_in_set_up(team: Team) -> None:
    team.cluster.write(
        "id -nG | tee ~/groups | grep -qw painters",
        initialization_commands=["sudo groupadd -f painters && sudo usermod -aG painters $USER"],
    )
    assert team.play().changed() == ALL | {"localhost"}
    assert team.play().changed() == set()
