# SPDX-License-Identifier: Apache-2.0
"""Real hosts over ssh: who is trusted, what rides on which connection, and what is told when a host does not answer."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import RayctlError, Refused, Unreachable
from rayctl.transport import hostkeys, masters
from rayctl.transport.connection import Connection, Ssh
from rayctl.transport.failures import HostKeyChanged
from rayctl.transport.glance import Glance
from rayctl.transport.reach import Reach
from rayctl.transport.ssh import SshTransport

from .rig import Host, Lab

STATE = "~/.rayctl/lab"
DRIVER = textwrap.dedent("""
    import json, sys
    from pathlib import Path
    from rayctl.transport.connection import Connection, Ssh
    from rayctl.transport.reach import Reach
    folder, name, address, ssh, command = sys.argv[1:]
    connection = Connection("ssh", address, "~/.rayctl/lab", name=name, ssh=Ssh(**json.loads(ssh)))
    sys.exit(Reach(Path(folder), [connection]).transport(connection).run(command, {"X": "it's $Y"}))
""")


@pytest.fixture(autouse=True)
def own_sockets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Masters of their own for each test, all of which are ended."""
    folder = Path(f"/tmp/rclab-{os.getpid()}")
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder / "rayctl"
    masters.close("*")
    subprocess.run(["rm", "-r", str(folder)], check=True)


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "lab"


def connection(host: Host, **ssh: object) -> Connection:
    settings = {"user": host.user, "port": host.port, "key": str(host.lab_folder / "key"), **ssh}
    return Connection("ssh", host.ip, STATE, name=host.name, ssh=Ssh(**settings))  # type: ignore[arg-type]


def reached(cluster: Path, *connections: Connection) -> tuple[Reach, list[SshTransport]]:
    reach = Reach(cluster, connections)
    return reach, [reach.transport(one) for one in connections]  # type: ignore[misc]


def one(cluster: Path, host: Host, **ssh: object) -> SshTransport:
    return reached(cluster, connection(host, **ssh))[1][0]


def refusal(cluster: Path, host: Host, **ssh: object) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        one(cluster, host, **ssh).glance()
    return caught.value


def fingerprint(host: Host) -> str:
    return hostkeys.fingerprint(host.public_key)


def fresh_sshd(host: Host) -> None:
    """Let sshd be restarted once more; systemd forbids it after a few times."""
    host.exec("systemctl reset-failed ssh")


def ssh_processes(cluster: Path) -> list[str]:
    return subprocess.run(["pgrep", "-fa", str(cluster)], capture_output=True, text=True).stdout.splitlines()


def took(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


# ---- trust
def test_an_unknown_host_is_pinned_at_first_contact_and_told_as_unverified(lab4: Lab, cluster: Path) -> None:
    reach, (h1, h2) = reached(cluster, connection(lab4["h1"]), connection(lab4["h2"]))
    before = reach.pinned()
    assert before == {}
    h1.glance()
    (pinned,) = hostkeys.new_since(before, cluster)
    assert (pinned.host, pinned.fingerprint, pinned.verified) == (lab4["h1"].ip, fingerprint(lab4["h1"]), False)
    h2.glance()
    assert {name: key.fingerprint for name, key in reach.pinned().items()} == {
        name: fingerprint(lab4[name]) for name in ("h1", "h2")
    }
    assert (cluster / "known_hosts").stat().st_mode & 0o777 == 0o600


def test_a_host_that_the_user_knows_is_checked_and_not_pinned(
    hosts: Lab, cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known"
    known.write_text(f"{hosts['h1'].ip} {hosts['h1'].public_key}\n{hosts['h2'].ip} {hosts['h3'].public_key}\n")
    monkeypatch.setattr(hostkeys, "USERS", (str(known),))
    assert one(cluster, hosts["h1"]).glance().hostname == "h1"
    assert hostkeys.pinned(cluster) == {}
    assert isinstance(refusal(cluster, hosts["h2"]), HostKeyChanged)


def test_a_key_that_the_user_came_to_know_is_verified(
    lab4: Lab, cluster: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one(cluster, lab4["h1"]).glance()
    known = tmp_path / "known"
    known.write_text(f"gpu1,gpu1.example.com {lab4['h1'].public_key} root@h1\n")
    monkeypatch.setattr(hostkeys, "USERS", (str(known),))
    assert [key.verified for key in hostkeys.pinned(cluster).values()] == [True]


@pytest.mark.parametrize("port", [22, 2222])
def test_a_changed_key_stops_before_any_command_and_the_told_command_mends_it(hosts: Lab, cluster: Path, port: int) -> None:
    h1 = hosts["h1"]
    h1.sshd(f"Port={port}")
    one(cluster, h1).glance()
    masters.close("*")
    old = fingerprint(h1)
    fresh_sshd(h1)
    h1.rekey()
    with pytest.raises(HostKeyChanged) as caught:
        one(cluster, h1).run("touch ~/marker", {})
    problem = caught.value
    assert old in problem.message
    assert fingerprint(h1) in problem.message
    assert f"line 1 of {cluster}/known_hosts" in problem.message
    assert h1.exec("ls /home/ray").stdout == ""
    assert "somebody may be between you and the host" in problem.hint
    command = re.search(r"ssh-keygen -f .*?(?=, and run)", problem.hint)
    assert command is not None
    subprocess.run(["/bin/sh", "-c", command[0]], check=True, capture_output=True)
    assert one(cluster, h1).glance().hostname == "h1"


def test_the_right_fingerprint_lets_pass_and_a_wrong_one_stops_before_any_command(lab4: Lab, cluster: Path) -> None:
    right = fingerprint(lab4["h1"]).partition(" ")[0]
    transport = one(cluster, lab4["h1"], host_key=right)
    assert transport.run("rm -f ~/marker", {}) == 0
    assert hostkeys.pinned(cluster) == {}
    wrong = f"SHA256:{'A' * 43}"
    with pytest.raises(Unreachable) as caught:
        one(cluster, lab4["h1"], host_key=wrong).run("touch ~/marker", {})
    assert f"the cluster file says {wrong}" in caught.value.message
    assert "ssh-keygen -lf" in caught.value.hint
    assert transport.run("test ! -e ~/marker", {}) == 0


def test_the_right_public_key_lets_pass_and_a_wrong_one_does_not(lab4: Lab, cluster: Path) -> None:
    assert one(cluster, lab4["h1"], host_key=f"{lab4['h1'].public_key} root@h1").glance().hostname == "h1"
    problem = refusal(cluster, lab4["h2"], host_key=lab4["h1"].public_key)
    assert isinstance(problem, HostKeyChanged)
    assert "give its new key in the cluster file" in problem.hint


def test_only_hosts_in_the_named_known_hosts_are_let_pass(lab4: Lab, cluster: Path, tmp_path: Path) -> None:
    known = tmp_path / "our hosts"
    known.write_text(f"{lab4['h1'].ip} {lab4['h1'].public_key}\n")
    assert one(cluster, lab4["h1"], known_hosts=str(known)).glance().hostname == "h1"
    problem = refusal(cluster, lab4["h2"], known_hosts=str(known))
    assert f"only known ones are accepted (those in {known})" in problem.message
    assert hostkeys.pinned(cluster) == {}


def test_nobody_rides_on_a_master_that_another_rule_opened(lab4: Lab, cluster: Path) -> None:
    one(cluster, lab4["h1"]).glance()
    assert "the cluster file says" in refusal(cluster, lab4["h1"], host_key=f"SHA256:{'A' * 43}").message
    assert isinstance(refusal(cluster, lab4["h1"], key="/nonexistent"), Unreachable)


# ---- ways
def test_through_a_bastion_both_keys_are_pinned_and_a_changed_bastion_is_refused(hosts: Lab, cluster: Path) -> None:
    bastion, hidden = hosts["h1"], hosts["h2"]
    hidden.hide()
    jump = f"{bastion.user}@{bastion.ip}"
    assert one(cluster, hidden, proxy_jump=jump).glance().hostname == "h2"
    pinned = {key.host: key.fingerprint for key in hostkeys.pinned(cluster).values()}
    assert pinned == {host.ip: fingerprint(host) for host in (bastion, hidden)}
    masters.close("*")
    bastion.rekey()
    problem = refusal(cluster, hidden, proxy_jump=jump)
    assert isinstance(problem, HostKeyChanged)
    assert problem.message.startswith(f"{bastion.ip}, on the way to h2 ({hidden.ip}), shows another host key")
    assert f"-R {bastion.ip}" in problem.hint


def test_the_head_can_be_the_bastion_of_all(hosts: Lab, cluster: Path) -> None:
    for name in ("h2", "h3", "h4"):
        hosts[name].hide()
    jump = f"{hosts['h1'].user}@{hosts['h1'].ip}"
    connections = [connection(host, proxy_jump=jump) for host in hosts]
    answers = Reach(cluster, connections).look(connections)
    assert {name: isinstance(answer, Glance) for name, answer in answers.items()} == dict.fromkeys(("h1", "h2", "h3", "h4"), True)


def test_a_proxy_command_is_used_as_it_is_written(hosts: Lab, cluster: Path) -> None:
    hosts["h2"].hide()
    way = f"ssh -F {hosts.ssh_config} -W %h:%p h1"
    assert one(cluster, hosts["h2"], proxy_command=way).glance().hostname == "h2"


@pytest.mark.parametrize(
    ("jump", "says"),
    [
        ("ray@{h4}", r"on the way to h2 \(.*\), {h4}: it does not answer on port 22"),
        ("nobody@{h1}", r"on the way to h2 \(.*\), {h1}: it does not let nobody in"),
        ("ray@no-such-host.invalid", r"on the way to h2 \(.*\), no-such-host.invalid: no address is known for this name"),
        ("ray@{h1}:2299", r"on the way to h2 \(.*\), {h1}: nothing listens on its port 2299"),
        ("ray@{h3}", r"h2 \(.*\): the bastion ray@{h3} .*connection"),
    ],
)
def test_a_bastion_that_fails_is_named(hosts: Lab, cluster: Path, jump: str, says: str) -> None:
    hosts["h2"].hide()
    hosts["h4"].unplug()
    hosts["h3"].sshd("AllowTcpForwarding=no")
    addresses = {host.name: host.ip for host in hosts}
    problem = refusal(cluster, hosts["h2"], proxy_jump=jump.format(**addresses))
    assert re.search(says.format(**addresses), problem.message), problem.message


# ---- what fails is told
def test_what_keeps_us_out_is_told_with_what_to_do(hosts: Lab, cluster: Path, tmp_path: Path) -> None:
    h1 = hosts["h1"]
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    problem = refusal(cluster, h1, key=str(tmp_path / "other"))
    assert problem.message == f"h1 ({h1.ip}): it does not let ray in (the key {tmp_path}/other was tried)"
    assert "authorized_keys" in problem.hint
    assert "nothing listens on its port 2299" in refusal(cluster, h1, port=2299).message
    h1.exec("echo closed for the night > /etc/nologin")
    assert "it hung up at the login: " in refusal(cluster, h1).message
    nowhere = Connection("ssh", "no-such-host.invalid", STATE, name="h9")
    with pytest.raises(Unreachable, match="no address is known for this name: Name or service not known"):
        reached(cluster, nowhere)[1][0].glance()


def test_a_host_that_hangs_is_told_from_one_that_is_off(hosts: Lab, cluster: Path) -> None:
    hosts["h1"].pause()
    hosts["h2"].unplug()
    connections = [connection(hosts["h1"]), connection(hosts["h2"])]
    answers = Reach(cluster, connections).look(connections)
    assert "its port is open, and nobody speaks there" in str(answers["h1"])
    assert "it does not answer on port 22" in str(answers["h2"])


# ---- one connection for all
def test_rayctl_and_people_share_one_connection(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    transport = one(cluster, lab4["h1"])
    transport.glance()
    (master,) = own_sockets.iterdir()
    for name in ("h1", lab4["h1"].ip):
        said = subprocess.run(["ssh", "-F", str(cluster / "ssh_config"), name, "hostname"], capture_output=True, text=True)
        assert said.stdout == "h1\n"
    assert list(own_sockets.iterdir()) == [master]
    assert len(lab4["h1"].exec("pgrep -f 'sshd: ray@|sshd: ray$' -c; true").stdout.split()) == 1


def test_a_second_look_takes_a_fraction_of_the_first(lab8: Lab, cluster: Path) -> None:
    connections = [connection(host) for host in lab8]
    cold = took(lambda: Reach(cluster, connections).look(connections))
    warm = took(lambda: Reach(cluster, connections).look(connections))
    assert warm < 0.5
    assert warm < cold


def test_the_host_is_asked_once_until_what_it_told_is_forgotten(lab4: Lab, cluster: Path) -> None:
    mine = connection(lab4["h1"])
    reach = Reach(cluster, [mine])
    first = reach.look([mine])["h1"]
    assert reach.look([mine])["h1"] is first
    reach.forget()
    assert reach.look([mine])["h1"] is not first


# ---- hosts that die
def test_a_dead_host_holds_up_the_others_for_no_longer_than_the_grace(hosts: Lab, cluster: Path) -> None:
    connections = [connection(host) for host in hosts]
    Reach(cluster, connections).look(connections)
    hosts["h2"].kill()
    reach = Reach(cluster, connections)
    answers: Mapping[str, object] = {}

    def look() -> None:
        nonlocal answers
        answers = reach.look(connections)

    assert took(look) < 3.5
    assert [name for name, answer in answers.items() if not isinstance(answer, Glance)] == ["h2"]
    assert took(look) < 0.1
    reach.forget()
    assert took(look) < 1.0
    for _ in range(150):
        if late := reach.late():
            break
        time.sleep(0.1)
    assert "it does not answer on port 22" in str(late["h2"])
    reach.close()


@pytest.mark.parametrize("how", ["power_cycle", "recreate"])
def test_a_host_that_was_off_meanwhile_answers_although_a_connection_to_its_past_is_open(
    hosts: Lab, cluster: Path, how: str
) -> None:
    mine = connection(hosts["h1"], host_key="") if how == "power_cycle" else connection(hosts["h1"])
    reach, (transport,) = reached(cluster, mine)
    before = transport.glance().boot_id
    getattr(hosts["h1"], how)()
    reach.forget()
    if how == "recreate":
        with pytest.raises(HostKeyChanged):
            transport.glance()
        return
    assert took(transport.glance) < 3.0
    assert transport.glance().boot_id != before
    assert transport.ask({"op": "lease_read", "state_dir": STATE})["boot_id"] == transport.glance().boot_id


def test_a_connection_whose_packets_vanish_is_left_for_another(hosts: Lab, cluster: Path) -> None:
    mine = connection(hosts["h1"])
    Reach(cluster, [mine]).look([mine])
    # only packets of connections that are open now are dropped
    (pid,) = subprocess.run(["pgrep", "-f", r"ssh: .*\[mux\]"], capture_output=True, text=True).stdout.split()
    os.kill(int(pid), signal.SIGSTOP)
    reach = Reach(cluster, [mine])
    try:
        assert took(lambda: reach.transport(mine).glance()) < 9.0  # type: ignore[attr-defined]
    finally:
        os.kill(int(pid), signal.SIGKILL)


def test_a_killed_master_is_replaced(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    mine = connection(lab4["h1"])
    Reach(cluster, [mine]).look([mine])
    (pid,) = subprocess.run(["pgrep", "-f", rf"ssh: {own_sockets}/.*\[mux\]"], capture_output=True, text=True).stdout.split()
    os.kill(int(pid), signal.SIGKILL)
    assert list(own_sockets.iterdir()) != []
    assert one(cluster, lab4["h1"]).glance().hostname == "h1"
