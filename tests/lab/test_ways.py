# SPDX-License-Identifier: Apache-2.0
"""How hosts are reached, whom rayctl believes to be a host, and what the file says of single hosts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .clusters import Cluster, note
from .rig import Lab


def everywhere(count: int) -> dict[str, int]:
    return dict.fromkeys(("h1", "h2", "h3", "h4"), count)


# ---- keys
def test_a_key_that_no_host_takes_ends_up_before_anything_is_done(cluster: Cluster, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)], check=True)
    cluster.auth["ssh_private_key"] = str(wrong)
    cluster.write(note("setup"))
    said = cluster.up(code=4).stderr
    assert f"h1 ({cluster.head.ip}): it does not let ray in (the key {wrong} was tried)" in said
    assert "authorized_keys" in said
    assert cluster.counts("setup") == everywhere(0)


def test_a_key_that_one_worker_does_not_take_is_that_workers_failure_alone(cluster: Cluster) -> None:
    cluster.lab["h4"].exec("rm /home/ray/.ssh/authorized_keys")
    cluster.write(note("setup"))
    said = cluster.up(code=1).stderr
    assert said.count("✗ h4") == 1
    assert str(cluster.lab.key) in said
    assert cluster.counts("starts") == {**everywhere(1), "h4": 0}


@pytest.fixture
def agent(cluster: Cluster) -> Iterator[str]:
    """The socket of an ssh-agent that has the lab's key."""
    folder = Path(tempfile.mkdtemp(prefix="rca-"))  # short, for a socket
    address = str(folder / "s")
    with subprocess.Popen(["ssh-agent", "-D", "-a", address], stdout=subprocess.DEVNULL) as process:
        while not (folder / "s").exists() and process.poll() is None:
            time.sleep(0.01)
        subprocess.run(["ssh-add", "-q", str(cluster.lab.key)], env={**os.environ, "SSH_AUTH_SOCK": address}, check=True)
        yield address
        process.terminate()
    shutil.rmtree(folder)


def test_a_key_that_only_the_agent_has_is_enough_for_commands_mounts_and_ansible(cluster: Cluster, agent: str) -> None:
    del cluster.auth["ssh_private_key"]
    (cluster.folder / "sent.txt").write_text("sent")
    cluster.write(note("setup"), file_mounts={"~/sent.txt": str(cluster.folder / "sent.txt")})
    assert "does not let ray in" in cluster.up(code=4).stderr, "nobody has the key"
    cluster.env["SSH_AUTH_SOCK"] = agent
    cluster.up()
    assert cluster.counts("starts") == everywhere(1)
    assert cluster.rayctl("exec", "cat sent.txt").stdout == "sent"


def test_first_contact_is_shown_once_and_status_marks_it(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    said = cluster.up().stderr
    for host in cluster.lab:
        shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=host.public_key, capture_output=True, text=True, check=True)
        assert said.count(shown.stdout.split()[1]) == 1, "as the host's own console shows it"
    assert "first contact" not in cluster.up("--restart").stderr
    assert [node["host_key"].partition(":")[0] for node in cluster.status()["nodes"]] == ["unverified first use"] * 4


def test_another_host_key_is_refused_with_the_line_and_the_command_that_mends_it(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up()
    other = cluster.lab["h4"]
    other.rekey()
    other.power_cycle()
    cluster.write(note("edited"))
    said = cluster.up(code=1).stderr
    assert said.count("✗ h4") == 1
    known = next(cluster.home.glob("clusters/lab/known_hosts"))
    line = next(number for number, text in enumerate(known.read_text().splitlines(), 1) if text.startswith(f"{other.ip} "))
    shown = subprocess.run(["ssh-keygen", "-lf", "-"], input=other.public_key, capture_output=True, text=True, check=True)
    assert f"now {shown.stdout.split()[1]} (ED25519), known is SHA256:" in said
    assert f"line {line} of {known}" in said
    assert cluster.counts("edited") == {**everywhere(1), "h4": 0}, "nothing was said to it"
    mend = re.search(r"ssh-keygen -f \S+ -R \S+?(?=,|$)", said, re.MULTILINE)
    assert mend
    subprocess.run(shlex.split(mend[0]), check=True, capture_output=True)
    cluster.up()
    assert cluster.counts("edited") == everywhere(1)


def test_a_head_with_another_host_key_keeps_everything_as_it_is(cluster: Cluster) -> None:
    cluster.write(note("setup"))
    cluster.up()
    cluster.head.rekey()
    cluster.head.power_cycle()
    cluster.write(note("edited"))
    said = cluster.up(code=4).stderr
    assert "shows another host key than before" in said
    assert "ssh-keygen -f" in said
    assert cluster.counts("edited") == everywhere(0)


# ---- ways
def test_a_host_may_listen_on_a_port_of_its_own(cluster: Cluster) -> None:
    cluster.lab["h2"].sshd("Port=2222")
    cluster.hosts["h2"]["port"] = 2222
    cluster.write(note("setup"))
    cluster.up()
    assert cluster.counts("starts") == everywhere(1)


def test_hosts_behind_a_bastion_are_reached_through_it(cluster: Cluster) -> None:
    for host in cluster.workers:
        host.hide()
    cluster.auth["ssh_proxy_jump"] = f"ray@{cluster.head.ip}"
    cluster.write(note("setup"))
    cluster.up()
    assert cluster.counts("starts") == everywhere(1)
    assert cluster.rayctl("exec", "hostname").stdout == "h1\n"
    assert "nothing changed" in cluster.up().stdout


def test_hosts_that_share_a_home_are_nodes_each(cluster: Cluster) -> None:
    cluster.lab.share_home("h2", "h3")
    cluster.write("mkdir -p ~/out/$(hostname); echo run >> ~/out/$(hostname)/setup", note("start"))
    cluster.up()
    both = cluster.lab["h2"].exec("cat /home/ray/out/h2/setup /home/ray/out/h3/setup").stdout
    assert both == "run\nrun\n"
    assert "nothing changed" in cluster.up().stdout
    cluster.lab["h3"].power_cycle()
    assert "1 node changed" in cluster.up().stdout
    assert cluster.lab["h2"].exec("cat /home/ray/out/h2/setup /home/ray/out/h3/setup").stdout == both
    assert "4 nodes ended" in cluster.down().stdout
    assert cluster.lab["h2"].exec("ls -A /home/ray/.rayctl 2>/dev/null || :").stdout == ""


def test_each_host_has_its_own_user_key_python_type_resources_and_labels(cluster: Cluster, tmp_path: Path) -> None:
    key = tmp_path / "bobs"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    lab = cluster.lab
    lab["h3"].add_user("bob")
    lab["h3"].write("/home/bob/.ssh/authorized_keys", key.with_suffix(".pub").read_text(), owner="bob", mode="0600")
    lab["h3"].without("python3")
    lab["h3"].exec("ln -s /usr/bin/python3.*.rclab-off /opt/our-python")
    cluster.hosts["h3"] |= {
        "name": "big", "user": "bob", "key": str(key), "python": "/opt/our-python", "type": "gpu", "resources": {"GPU": 2},
        "labels": {"rack": "a1"},
    }  # fmt: skip
    cluster.hosts["h1"] |= {"head": True, "type": "boss"}
    cluster.hosts["h2"]["type"] = cluster.hosts["h4"]["type"] = "cpu"
    show = "mkdir -p ~/out; echo $RAY_OVERRIDE_RESOURCES $RAY_OVERRIDE_LABELS > ~/out/offers"
    cluster.write(worker_start_ray_commands=[show])
    cluster.up()
    assert lab["h3"].exec("cat /home/bob/out/offers").stdout == '{"GPU": 2.0} {"rack": "a1"}\n'
    assert lab["h2"].exec("cat /home/ray/out/offers").stdout == "\n"
    nodes = {node["name"]: (node["kind"], node["type"]) for node in cluster.status("--probe")["nodes"]}
    assert nodes == {"h1": ("head", "boss"), "h2": ("worker", "cpu"), "big": ("worker", "gpu"), "h4": ("worker", "cpu")}


def test_a_host_named_twice_is_an_error_of_the_file(hosts: Lab, cluster: Cluster) -> None:
    del hosts
    cluster.hosts["h2"]["address"] = cluster.hosts["h3"]["address"]
    cluster.write(note("setup"))
    assert "is given twice" in cluster.up(code=2).stderr
