# SPDX-License-Identifier: Apache-2.0
"""Every verb of the lab does what it says, seen from outside over real ssh."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .rig import Lab, LabError
from .rig.box import remove_tree, run, wait_for
from .rig.lab import clean_dead, every_lab

PROJECT = Path(__file__).parents[2]


def tried(lab: Lab, host: str, *command: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """A command over ssh, however it ends."""
    return run("ssh", "-F", lab.ssh_config, *options, host, *command, check=False)


def silence(lab: Lab, host: str) -> str:
    """What ssh says of a host that does not answer for two seconds. After three there is "no route" to one that is off."""
    return tried(lab, host, "true", options=("-o", "ConnectTimeout=2")).stderr


def reaches(lab: Lab, source: str, target: str) -> bool:
    """Whether one host can open a connection to another's sshd."""
    return lab[source].exec(f"nc -z -w 2 {lab[target].ip} 22", check=False).returncode == 0


def seconds(lab: Lab, host: str, command: str, text: str = "") -> float:
    """How long a command over ssh takes."""
    began = time.monotonic()
    lab[host].ssh(command, text=text)
    return time.monotonic() - began


def quickest(lab: Lab, host: str) -> float:
    """How long ssh takes when nothing else holds it up."""
    return min(seconds(lab, host, "true") for _ in range(3))


# power


def test_a_killed_host_is_silent_and_comes_back_with_its_disk(hosts: Lab) -> None:
    h1 = hosts["h1"]
    boot = h1.boot_id()
    h1.ssh("touch ~/kept /tmp/lost; sync")
    h1.kill()
    assert not h1.running()
    assert "timed out" in silence(hosts, "h1")
    h1.boot()
    assert h1.ssh("ls ~/kept /tmp/lost", check=False).stdout == "/home/ray/kept\n"
    assert h1.boot_id() != boot


@pytest.mark.parametrize("how", ["reboot", "power_cycle"])
def test_a_rebooted_host_has_another_boot_id_and_the_same_keys(hosts: Lab, how: str) -> None:
    h1 = hosts["h1"]
    boot, key, machine = h1.boot_id(), h1.public_key, h1.ssh("cat /etc/machine-id").stdout
    getattr(h1, how)()
    assert h1.ssh("cat /proc/sys/kernel/random/boot_id").stdout.strip() == h1.boot_id() != boot
    assert (h1.public_key, h1.ssh("cat /etc/machine-id").stdout) == (key, machine)


def test_a_host_can_reboot_itself(hosts: Lab) -> None:
    h1 = hosts["h1"]
    boot, leader = h1.boot_id(), h1.leader()
    h1.ssh("sudo systemctl reboot", check=False)
    wait_for(lambda: h1.leader() not in {None, leader}, 60, "h1 comes up again")
    h1.wait_for_login()
    assert h1.boot_id() != boot


def test_a_host_that_was_shut_down_stays_off_until_it_is_booted(hosts: Lab) -> None:
    hosts["h1"].shutdown()
    assert not hosts["h1"].running()
    hosts["h1"].boot()
    assert hosts["h1"].ssh("hostname").stdout == "h1\n"


def test_a_paused_host_accepts_connections_and_says_nothing(hosts: Lab) -> None:
    h1 = hosts["h1"]
    boot = h1.boot_id()
    h1.pause()
    socket.create_connection((h1.ip, h1.port), 1).close()
    assert "banner exchange" in silence(hosts, "h1")
    h1.pause(False)
    assert h1.ssh("hostname").stdout == "h1\n"
    assert h1.boot_id() == boot


# network


def test_a_partitioned_host_reaches_nobody_and_nobody_reaches_it(hosts: Lab) -> None:
    hosts["h1"].partition()
    assert "timed out" in silence(hosts, "h1")
    assert not reaches(hosts, "h2", "h1")
    assert not reaches(hosts, "h1", "h2")
    hosts["h1"].heal()
    assert reaches(hosts, "h1", "h2")


def test_a_partition_can_be_between_two_hosts_alone(hosts: Lab) -> None:
    hosts["h1"].partition("h2")
    assert not reaches(hosts, "h1", "h2")
    assert not reaches(hosts, "h2", "h1")
    assert reaches(hosts, "h1", "h3")


def test_a_hidden_host_is_reached_through_another(hosts: Lab) -> None:
    hosts["h1"].hide()
    assert "timed out" in silence(hosts, "h1")
    assert tried(hosts, "h1", "hostname", options=("-J", "h3")).stdout == "h1\n"


def test_an_unplugged_host_stays_out_of_reach_over_a_reboot(hosts: Lab) -> None:
    h1 = hosts["h1"]
    h1.unplug()
    assert "timed out" in silence(hosts, "h1")
    h1.power_cycle()
    assert h1.banner() == ""
    h1.heal()
    h1.wait_for_login()
    assert h1.ssh("hostname").stdout == "h1\n"


def test_a_link_can_have_a_delay(hosts: Lab) -> None:
    normal = quickest(hosts, "h1")
    hosts["h1"].slow(delay_ms=300)
    assert seconds(hosts, "h1", "true") > normal + 1.5
    hosts["h1"].heal()
    assert quickest(hosts, "h1") < normal + 1.5


def test_a_link_can_lose_packets(hosts: Lab) -> None:
    hosts["h1"].slow(loss=0.3)
    said = hosts["h1"].exec(f"ping -q -c 50 -i 0.01 -W 1 {hosts['h2'].ip}", check=False).stdout
    assert 0 < float(re.findall(r"([\d.]+)% packet loss", said)[0]) < 100


def test_a_link_can_have_a_rate(hosts: Lab) -> None:
    hosts["h1"].slow(rate="1mbit")
    assert seconds(hosts, "h1", "head -c 200000 /dev/zero") > 1


# disk


def test_a_full_disk_takes_nothing_more_until_there_is_space(hosts: Lab) -> None:
    write = "head -c 1000000 /dev/zero > ~/file"
    hosts["h1"].fill_disk()
    assert "No space left on device" in tried(hosts, "h1", write).stderr
    hosts["h1"].fill_disk(False)
    hosts["h1"].ssh(write)


def test_a_home_can_be_read_only(hosts: Lab) -> None:
    hosts["h1"].readonly_home()
    assert "Read-only file system" in tried(hosts, "h1", "touch ~/file").stderr
    hosts["h1"].readonly_home(False)
    hosts["h1"].ssh("touch ~/file")


def test_tmp_can_refuse_to_run_programs(hosts: Lab) -> None:
    program = "printf '#!/bin/sh\\n' > /tmp/program; chmod +x /tmp/program; /tmp/program"
    hosts["h1"].noexec_tmp()
    assert "Permission denied" in tried(hosts, "h1", program).stderr
    hosts["h1"].noexec_tmp(False)
    hosts["h1"].ssh(program)


def test_a_host_can_lack_commands(hosts: Lab) -> None:
    hosts["h1"].without("python3", "rsync")
    done = tried(hosts, "h1", "command -v python3 python3.11 rsync")
    assert (done.returncode, done.stdout) == (1, "")
    hosts["h1"].without("python3", "rsync", there=False)
    hosts["h1"].ssh("python3 --version && rsync --version")


def test_faults_are_listed_until_they_are_undone(hosts: Lab) -> None:
    h1 = hosts["h1"]
    h1.without("rsync")
    h1.partition("h2")
    h1.fill_disk()
    assert h1.faults == ["disk-full", "partitioned", "without-rsync"]
    h1.heal()
    assert h1.faults == ["disk-full", "without-rsync"]


# who may come in


def test_sudo_can_ask_for_a_password(hosts: Lab) -> None:
    hosts["h1"].sudo("password", password="very secret")
    assert "a password is required" in tried(hosts, "h1", "sudo -n id -un").stderr
    assert hosts["h1"].ssh("sudo -S id -un", text="very secret\n").stdout == "root\n"
    hosts["h1"].sudo("none")
    assert hosts["h1"].ssh("sudo -S id -un", text="very secret\n", check=False).returncode


def test_sshd_can_listen_elsewhere(hosts: Lab) -> None:
    h1 = hosts["h1"]
    h1.sshd("Port=2222")
    assert h1.port == 2222
    assert h1.ssh("hostname").stdout == "h1\n"
    assert "refused" in tried(hosts, "h1", "true", options=("-p", "22")).stderr
    h1.sshd()
    assert h1.ssh("hostname").stdout == "h1\n"


def test_the_host_key_is_known_outside_and_can_change(hosts: Lab, tmp_path: Path) -> None:
    h1, known = hosts["h1"], tmp_path / "known_hosts"
    known.write_text(f"{h1.ip} {h1.public_key}\n")
    strict = ("-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "-o", "LogLevel=INFO")
    assert tried(hosts, "h1", "hostname", options=strict).stdout == "h1\n"
    h1.rekey()
    assert "Host key verification failed" in tried(hosts, "h1", "hostname", options=strict).stderr


def test_a_second_user_comes_in_and_has_a_home_of_his_own(hosts: Lab) -> None:
    hosts["h1"].add_user("bob")
    assert hosts["h1"].ssh("id -un; pwd; sudo -n id -un", user="bob").stdout.split() == ["bob", "/home/bob", "root"]


def test_two_hosts_share_a_home_also_after_a_reboot(hosts: Lab) -> None:
    hosts.share_home("h1", "h2")
    hosts["h1"].ssh("echo from h1 > ~/note")
    assert hosts["h2"].ssh("cat ~/note").stdout == "from h1\n"
    hosts["h2"].reboot()
    assert hosts["h2"].ssh("cat ~/note").stdout == "from h1\n"
    assert hosts["h3"].ssh("cat ~/note", check=False).returncode
    assert hosts["h1"].ssh("cat /etc/machine-id").stdout != hosts["h2"].ssh("cat /etc/machine-id").stdout


def test_a_recreated_host_is_another_machine_at_the_same_address(hosts: Lab) -> None:
    h1 = hosts["h1"]
    before = h1.ip, h1.public_key, h1.ssh("cat /etc/machine-id; touch ~/lost").stdout
    h1.recreate()
    after = h1.ip, h1.public_key, h1.ssh("cat /etc/machine-id; ls ~").stdout
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False]


# what a test can rely on


def test_hosts_know_each_other_by_name(lab4: Lab) -> None:
    assert lab4["h1"].ssh("getent hosts h4").stdout.split() == [lab4["h4"].ip, "h4"]


def test_a_host_that_is_not_there_is_named(lab4: Lab) -> None:
    with pytest.raises(LabError, match=r"there is no host 'h9' in the lab .*; there are h1 to h4"):
        lab4["h9"]
    with pytest.raises(LabError, match="there is no host 'h9'"):
        lab4["h1"].partition("h9")


def test_root_works_inside_without_a_network(hosts: Lab) -> None:
    h1 = hosts["h1"]
    h1.unplug()
    h1.write("/home/ray/a folder/note", "text\n", owner="ray", mode="0600")
    assert h1.exec("stat -c '%U %a' '/home/ray/a folder/note'; cat '/home/ray/a folder/note'").stdout == "ray 600\ntext\n"
    assert "/usr/sbin/sshd -D" in " ".join(h1.processes())


def test_ray_is_there_for_login_shells_and_cannot_be_changed(lab4: Lab) -> None:
    assert "ray, version" in lab4["h1"].ssh("bash -lc 'ray --version'").stdout
    assert "Read-only file system" in lab4["h1"].ssh("sudo touch /opt/rayenv/file", check=False).stderr


def test_nothing_is_removed_through_a_mount(tmp_path: Path) -> None:
    folder = tmp_path / "tree"
    (folder / "below").mkdir(parents=True)
    run("mount", "-t", "tmpfs", "rclab", folder / "below")
    try:
        (folder / "below/file").touch()
        with pytest.raises(LabError, match=r"not removed, because something is mounted in it: see to .*/tree/below"):
            remove_tree(folder)
        assert (folder / "below/file").exists()
    finally:
        run("umount", folder / "below")
    remove_tree(folder)
    assert not folder.exists()


# many labs, and what a killed one leaves


def left_on_the_box(name: str) -> list[str]:
    """Mounts, namespaces, groups and processes of a lab."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"/labs/{name}/" in line]
    tops = [Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").iterdir()]  # no deeper: groups of other labs come and go
    groups = [str(path) for top in tops for path in top.glob(f"rclab-{name}-*")]
    namespaces = [path.name for path in Path("/run/netns").glob(f"rclab-{name}-*")]
    processes = run("pgrep", "-fa", f"rclab-{name}-", check=False).stdout.splitlines()
    return mounts + groups + namespaces + processes


def maker_of(name: str) -> subprocess.Popen[bytes]:
    """A process that makes a lab and then sleeps."""
    program = f"import time\nfrom tests.lab.rig import Lab\nLab.up(2, name={name!r})\ntime.sleep(60)"
    return subprocess.Popen([sys.executable, "-c", program], cwd=PROJECT)


@pytest.mark.parametrize("seen", ["lab.json", "h1/disk", "h2/ssh_config", "h2/console.log"])
def test_a_lab_whose_maker_was_killed_leaves_nothing(seen: str) -> None:
    name = f"k{os.getpid()}"
    with maker_of(name) as maker:
        wait_for(lambda: any((lab.folder / seen).exists() for lab in every_lab() if lab.name == name), 60, f"{seen} is there")
        maker.send_signal(signal.SIGKILL)
    clean_dead()
    assert name not in [lab.name for lab in every_lab()]
    assert left_on_the_box(name) == []


def test_a_lab_whose_maker_lives_stays_and_so_does_one_that_is_kept(lab4: Lab) -> None:
    kept = Lab.up(1, name=f"c{os.getpid()}").keep()
    try:
        assert kept.network != lab4.network
        clean_dead()
        assert {lab4.name, kept.name} <= {lab.name for lab in every_lab()}
        assert kept["h1"].ssh("hostname").stdout == lab4["h1"].ssh("hostname").stdout
    finally:
        kept.destroy()
    assert left_on_the_box(kept.name) == []


# what pytest says of them


@pytest.mark.parametrize(
    ("ci", "code", "says"), [("", 0, "1 skipped"), ("0", 0, "1 skipped"), ("1", 1, "must not be skipped in CI")]
)
def test_where_no_lab_can_be_its_tests_are_skipped_but_not_in_ci(tmp_path: Path, ci: str, code: int, says: str) -> None:
    env = {**os.environ, "CI": ci, "RAYCTL_LAB_DIR": str(tmp_path)}
    one = f"{__file__}::test_hosts_know_each_other_by_name"
    done = run(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", one, env=env, check=False)
    assert (done.returncode, says in done.stdout) == (code, True)
    assert "lab: 0 tests ran on real hosts, 1 skipped" in done.stdout
    assert "run `make lab`" in done.stdout
