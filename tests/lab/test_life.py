# SPDX-License-Identifier: Apache-2.0
"""The everyday life of a cluster on real hosts: up, up again, edits, fewer and more workers, down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from .clusters import Cluster, daemon, note
from .rig import Host, Lab
from .rig.box import wait_for

STARTS = {"head_start_ray_commands": [daemon("starts")], "worker_start_ray_commands": [daemon("starts")]}
FILES = "find /home /var /tmp /dev/shm -user ray ! -path '/home/ray/out*' | sort"
PROCESSES = "ps -u ray --no-headers -ww -o args | grep -Ev '^(/lib/systemd/systemd --user|[(]sd-pam[)])$' || :"


def everywhere(count: int) -> dict[str, int]:
    return dict.fromkeys(("h1", "h2", "h3", "h4"), count)


def files(host: Host) -> list[str]:
    """What there is of the lab's user, but for what its commands made on purpose."""
    return host.exec(FILES).stdout.splitlines()


def wait_for_quiet(*hosts: Host) -> None:
    """Wait until nothing of the lab's user runs there, logins included."""
    for host in hosts:
        wait_for(lambda host=host: not host.exec(PROCESSES).stdout, 30, f"nothing runs on {host.name}")  # type: ignore[misc]


def test_up_from_nothing_runs_each_command_once_on_each_host(cluster: Cluster) -> None:
    cluster.write(note("setup"), head_setup_commands=[note("head")], worker_setup_commands=[note("worker")])
    assert "lab is up: no Ray was asked for, 4 nodes changed" in cluster.up().stdout
    assert cluster.counts("setup") == cluster.counts("starts") == everywhere(1)
    assert cluster.counts("head") == {**everywhere(0), "h1": 1}
    assert cluster.counts("worker") == {**everywhere(1), "h1": 0}


def test_a_second_up_runs_nothing_and_changes_no_process(cluster: Cluster) -> None:
    cluster.write(note("setup"), **STARTS)
    cluster.up()
    before = cluster.daemons()
    assert all(len(pids) == 1 for pids in before.values())
    assert "nothing changed" in cluster.up().stdout
    assert cluster.daemons() == before
    assert cluster.counts("setup") == cluster.counts("starts") == everywhere(1)


def test_an_edited_last_step_of_one_type_reruns_alone_and_restarts_that_type_alone(cluster: Cluster) -> None:
    cluster.hosts["h4"]["type"] = "gpu"
    cluster.hosts["h2"]["type"] = cluster.hosts["h3"]["type"] = "cpu"

    def write(last: str) -> None:
        gpu = {"worker_setup_commands": [note("first"), note(last)]}
        cpu = {"worker_setup_commands": [note("first"), note("last")]}
        cluster.write(**STARTS, available_node_types={"head": {}, "cpu": cpu, "gpu": gpu}, head_node_type="head")

    write("last")
    cluster.up()
    before = cluster.daemons()
    write("edited")
    assert "1 node changed" in cluster.up().stdout
    assert cluster.counts("first") == cluster.counts("last") == {**everywhere(1), "h1": 0}
    assert cluster.counts("edited") == {**everywhere(0), "h4": 1}
    after = cluster.daemons()
    assert after.pop("h4") != before.pop("h4")
    assert after == before


@pytest.fixture
def mounted(cluster: Cluster) -> Path:
    """A file that is mounted on all hosts."""
    file = cluster.folder / "app" / "config.txt"
    file.parent.mkdir()
    file.write_text("one\n")
    return file


def content(cluster: Cluster) -> list[str]:
    return [host.exec("cat /home/ray/app/config.txt").stdout for host in (cluster.head, *cluster.workers)]


def test_an_edited_mount_reruns_set_up_and_restarts_and_check_says_so_before(cluster: Cluster, mounted: Path) -> None:
    cluster.write(note("setup"), file_mounts={"~/app": "app"})
    cluster.up()
    mounted.write_text("two\n")
    foretold = cluster.up("--check").stdout
    assert "h1, h2, h3, h4: copy ~/app; run set-up from step 1 of 1; restart Ray" in foretold
    assert content(cluster) == ["one\n"] * 4, "a check touches nothing"
    assert cluster.counts("setup") == everywhere(1)
    cluster.up()
    assert content(cluster) == ["two\n"] * 4
    assert cluster.counts("setup") == cluster.counts("starts") == everywhere(2)


def test_an_edited_mount_with_no_restart_reruns_set_up_only(cluster: Cluster, mounted: Path) -> None:
    cluster.write(note("setup"), file_mounts={"~/app": "app"}, **STARTS)
    cluster.up()
    before = cluster.daemons()
    mounted.write_text("two\n")
    assert "start Ray" not in cluster.up("--check", "--no-restart").stdout
    cluster.up("--no-restart")
    assert content(cluster) == ["two\n"] * 4
    assert cluster.counts("setup") == everywhere(2)
    assert cluster.daemons() == before


def test_an_edited_mount_without_set_up_is_synced_and_restarts_nothing(cluster: Cluster, mounted: Path) -> None:
    cluster.write(file_mounts={"~/app": "app"}, **STARTS)
    cluster.up()
    before = cluster.daemons()
    mounted.write_text("two\n")
    assert "4 nodes changed" in cluster.up().stdout
    assert content(cluster) == ["two\n"] * 4
    assert cluster.daemons() == before


def test_a_failing_command_is_told_with_its_last_lines_and_the_next_up_goes_on_there(cluster: Cluster) -> None:
    broken = note("second", "test -e ~/mended || { echo 'no such wheel: rayz'; exit 7; }")
    cluster.write(note("first"), broken, note("third"))
    cluster.head.exec("touch /home/ray/mended")
    for host in cluster.workers[:-1]:
        host.exec("touch /home/ray/mended")
    failed = cluster.up(code=1)
    block = failed.stderr[failed.stderr.index("✗ h4") :]
    for said in ("setup step 2", "exit code 7", "no such wheel: rayz", "the other 3 nodes are up", f"rayctl up {cluster.file}"):
        assert said in block
    assert cluster.counts("third") == {**everywhere(1), "h4": 0}
    cluster.lab["h4"].exec("touch /home/ray/mended")
    cluster.up()
    assert cluster.counts("first") == cluster.counts("third") == everywhere(1)
    assert cluster.counts("second") == {**everywhere(1), "h4": 2}


def test_more_workers_join_without_a_touch_to_those_that_are_there(cluster: Cluster) -> None:
    before_all = files(cluster.lab["h3"])
    cluster.write(note("setup"), **STARTS)
    cluster.up("--max-workers", "1")
    assert {host: bool(pids) for host, pids in cluster.daemons().items()} == {"h1": True, "h2": True, "h3": False, "h4": False}
    before = cluster.daemons()
    cluster.up("--max-workers", "2", "--no-restart")
    after = cluster.daemons()
    assert (after["h1"], after["h2"], len(after["h3"]), after["h4"]) == (before["h1"], before["h2"], 1, [])
    cluster.up("--max-workers", "1")
    assert cluster.daemons() == before, "what is above the maximum ends"
    assert files(cluster.lab["h3"]) == before_all


def test_a_host_of_another_type_now_is_made_anew_and_no_other_is_touched(cluster: Cluster) -> None:
    types = {"head": {}, "small": {}, "big": {"resources": {"GPU": 1}, "setup_commands": [note("big")]}}
    for name, node_type in (("h2", "small"), ("h3", "small"), ("h4", "big")):
        cluster.hosts[name]["type"] = node_type
    cluster.write(available_node_types=types, head_node_type="head", **STARTS)
    cluster.up()
    before = cluster.daemons()
    cluster.hosts["h3"]["type"] = "big"
    cluster.write(available_node_types=types, head_node_type="head", **STARTS)
    shown = cluster.rayctl("plan").stdout
    assert "  h3: end it and launch it anew, with 1 set-up step: it is of the type big now\n" in shown
    assert "  h1, h2, h4: live\n" in shown
    cluster.up()
    after = cluster.daemons()
    assert {name: after[name] == before[name] for name in after} == {"h1": True, "h2": True, "h3": False, "h4": True}
    assert len(after["h3"]) == 1
    assert cluster.counts("big") == {"h1": 0, "h2": 0, "h3": 1, "h4": 1}
    assert "nothing to do" in cluster.rayctl("plan").stdout


def test_a_host_that_left_the_file_is_named_and_the_others_stay(cluster: Cluster) -> None:
    cluster.up()
    gone = cluster.hosts.pop("h4")
    cluster.write()
    done = cluster.up("--quiet")
    assert "h4 is in the file no more, and what runs there runs on: put it back" in done.stderr
    assert cluster.rayctl("get-worker-ips").stdout.split() == [cluster.lab[name].ip for name in ("h2", "h3")]
    cluster.hosts["h4"] = gone
    cluster.write()
    assert "4 kept" in cluster.rayctl("down", "-y", "--keep-min-workers").stdout, "it is the cluster's as before"


def test_after_down_nothing_of_ours_is_left_on_any_host(cluster: Cluster, mounted: Path) -> None:
    del mounted
    before = {host.name: files(host) for host in cluster.lab}
    cluster.write(note("setup", "sleep 86000 &"), file_mounts={"~/out/app": "app"}, **STARTS)
    cluster.up()
    cluster.down()
    wait_for_quiet(*cluster.lab)
    assert {host.name: files(host) for host in cluster.lab} == before
    assert "nothing to end" in cluster.down().stdout


def test_a_group_given_in_initialization_counts_in_set_up(cluster: Cluster) -> None:
    cluster.write(
        "id -nG > ~/out-groups; grep -qw crew ~/out-groups",
        initialization_commands=["sudo groupadd -f crew; sudo usermod -aG crew ray"],
    )
    cluster.up()
    assert "crew" in cluster.workers[0].exec("cat /home/ray/out-groups").stdout.split()


TEXTS = {
    "braces": "docker ps --format '{{.Names}}' {{ lookup('pipe', 'id') }} {% raw %} ${x} {a,b}",
    "quotes": """it's "both" `ticks` \\back\\n $HOME $(id) !x ~ * ? # ; & | < >""",
    "lines": "first\n\tsecond\n\nlast ",
    "letters": "grün Ω 日本 \U0001f600",
}


def test_commands_arrive_byte_for_byte(cluster: Cluster) -> None:
    texts = {name: f"mkdir -p ~/out; cat > ~/out/{name} <<'END OF TEXT'\n{text}\nEND OF TEXT\n" for name, text in TEXTS.items()}
    cluster.write(*texts.values())
    cluster.up()
    for name, text in TEXTS.items():
        assert {host.exec(f"cat /home/ray/out/{name}").stdout for host in cluster.lab} == {f"{text}\n"}


def test_odd_names_of_cluster_and_files_are_only_names(hosts: Lab, tmp_path: Path, sockets: Path) -> None:
    del sockets
    folder = tmp_path / "it's a {{ $HOME }} lab; ☂"
    cluster = Cluster(hosts, folder, name="Lab_2-x", hosts=("h1", "h2"))
    cluster.env["RAYCTL_HOME"] = str(tmp_path / "home")
    (folder / "a b").mkdir()
    (folder / "a b" / "c'd").write_text("here\n")
    cluster.write(note("setup"), file_mounts={"~/out/x y/z": "a b"})
    before = files(cluster.head)
    cluster.up()
    assert cluster.workers[0].exec('cat "/home/ray/out/x y/z/c\'d"').stdout == "here\n"
    assert cluster.rayctl("exec", "echo $((6 * 7))").stdout == "42\n"
    cluster.down()
    assert files(cluster.head) == before


def test_with_the_laptops_state_lost_status_exec_and_down_still_work(cluster: Cluster) -> None:
    before = {host.name: files(host) for host in cluster.lab}
    cluster.write(note("setup"), **STARTS)
    cluster.up()
    other = cluster.elsewhere("other")
    assert [node["state"] for node in other.status("--probe")["nodes"]] == ["running"] * 4
    assert other.rayctl("exec", "cat out/setup").stdout == "run\n"
    assert "4 nodes ended" in other.down().stdout
    assert not any(cluster.daemons().values())
    assert {host.name: files(host) for host in cluster.lab} == before


def without_times(told: Any) -> Any:
    """What `status` says but for when it was asked, and for how far each laptop believes the keys."""
    if isinstance(told, Mapping):
        return {key: without_times(value) for key, value in told.items() if key not in ("at", "asked_at", "remaining_s")}
    return [without_times(one) for one in told] if isinstance(told, list) else told


def test_two_laptops_see_the_same_cluster(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up("--max-workers", "2")
    other = cluster.elsewhere("other")
    seen = cluster.status("--probe")
    assert without_times(other.status("--probe")) == without_times(seen)
    assert [node["state"] for node in seen["nodes"]] == ["running", "running", "running", "free"]
    assert len({node["claim"]["cluster_id"] for node in seen["nodes"][:3]} | {seen["cluster_id"]}) == 1
