# SPDX-License-Identifier: Apache-2.0
"""Real hosts over ssh: who is trusted, what rides on which connection, and what is told when a host does not answer."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import socket
import subprocess
import sys
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rayctl.errors import RayctlError, Refused, Unreachable
from rayctl.transport import hostkeys, masters
from rayctl.transport.connection import Connection, Ssh
from rayctl.transport.failures import HostKeyChanged
from rayctl.transport.glance import Glance
from rayctl.transport.reach import Reach
from rayctl.transport.ssh import SshTransport

from .rig import Host, Lab
from .rig.box import wait_for

STATE = "~/.rayctl/lab"
INTERRUPTED = 130
REACHES: list[Reach] = []
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
def own_sockets(sockets: Path) -> Iterator[Path]:
    """Masters of its own for each test. At its end nothing is left open."""
    yield sockets
    while REACHES:
        REACHES.pop().close()


@pytest.fixture
def lent(lab4: Lab) -> Iterator[Host]:
    """h1 for a test that leaves files and servers there, which go with it."""
    yield lab4["h1"]
    lab4["h1"].exec("systemctl stop 'web*'; rm -rf /home/ray/.rayctl")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    return tmp_path / "clusters" / "lab"


def connection(host: Host, **ssh: object) -> Connection:
    settings = {"user": host.user, "port": host.port, "key": str(host.lab_folder / "key"), **ssh}
    return Connection("ssh", host.ip, STATE, name=host.name, ssh=Ssh(**settings))  # type: ignore[arg-type]


def reach_of(cluster: Path, *connections: Connection) -> Reach:
    REACHES.append(Reach(cluster, connections))
    return REACHES[-1]


def transport_to(reach: Reach, connection: Connection) -> SshTransport:
    found = reach.transport(connection)
    assert isinstance(found, SshTransport)
    return found


def one(cluster: Path, host: Host, **ssh: object) -> SshTransport:
    mine = connection(host, **ssh)
    return transport_to(reach_of(cluster, mine), mine)


def look(cluster: Path, *hosts: Host, **ssh: object) -> Mapping[str, Glance | Unreachable]:
    connections = [connection(host, **ssh) for host in hosts]
    return reach_of(cluster, *connections).look(connections)


def refusal(cluster: Path, host: Host, **ssh: object) -> Unreachable:
    with pytest.raises(Unreachable) as caught:
        one(cluster, host, **ssh).glance()
    return caught.value


def fingerprint(host: Host) -> str:
    return hostkeys.fingerprint(host.public_key)


def fresh_sshd(host: Host) -> None:
    """Let sshd be restarted once more; systemd forbids it after a few times."""
    host.exec("systemctl reset-failed ssh")


def took(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


# ---- trust
def test_an_unknown_host_is_pinned_at_first_contact_and_told_as_unverified(lab4: Lab, cluster: Path) -> None:
    connections = [connection(lab4["h1"]), connection(lab4["h2"])]
    reach = reach_of(cluster, *connections)
    before = reach.pinned()
    assert before == {}
    reach.look(connections[:1])
    (pinned,) = hostkeys.new_since(before, cluster)
    assert (pinned.host, pinned.fingerprint, pinned.verified) == (lab4["h1"].ip, fingerprint(lab4["h1"]), False)
    reach.look(connections)
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
    answers = look(cluster, *hosts, proxy_jump=jump)
    assert {name: isinstance(answer, Glance) for name, answer in answers.items()} == dict.fromkeys(
        ("h1", "h2", "h3", "h4"), True
    )


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
    hosts["h4"].partition()  # without a cable, "no route" may be said before "does not answer"
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
    answers = reach_of(cluster, nowhere).look([nowhere])
    assert "no address is known for this name: Name or service not known" in str(answers["h9"])


def test_a_host_that_hangs_is_told_from_one_that_is_off(hosts: Lab, cluster: Path) -> None:
    hosts["h1"].pause()
    hosts["h2"].partition()  # without a cable, "no route" may be said before "does not answer"
    answers = look(cluster, hosts["h1"], hosts["h2"])
    assert "its port is open, and nobody speaks there" in str(answers["h1"])
    assert "it does not answer on port 22" in str(answers["h2"])


# ---- one connection for all
def test_rayctl_and_people_share_one_connection(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    transport = one(cluster, lab4["h1"])
    transport.glance()
    (master,) = own_sockets.iterdir()
    for name in ("h1", lab4["h1"].ip):
        said = subprocess.run(
            ["ssh", "-F", str(cluster / "ssh_config"), name, "hostname"], capture_output=True, text=True, check=True
        )
        assert said.stdout == "h1\n"
    assert list(own_sockets.iterdir()) == [master]


def test_a_second_look_takes_a_fraction_of_the_first(lab4: Lab, cluster: Path) -> None:
    cold = took(lambda: look(cluster, *lab4))
    warm = min(took(lambda: look(cluster, *lab4)) for _ in range(5))
    assert warm < cold / 2


def test_the_host_is_asked_once_until_what_it_told_is_forgotten(lab4: Lab, cluster: Path) -> None:
    mine = connection(lab4["h1"])
    reach = reach_of(cluster, mine)
    first = reach.look([mine])["h1"]
    assert reach.look([mine])["h1"] is first
    reach.forget()
    assert reach.look([mine])["h1"] is not first


# ---- hosts that die
def test_a_dead_host_holds_up_the_others_for_no_longer_than_the_grace(hosts: Lab, cluster: Path) -> None:
    look(cluster, *hosts)
    hosts["h2"].kill()
    connections = [connection(host) for host in hosts]
    reach = reach_of(cluster, *connections)
    assert took(lambda: reach.look(connections)) < 8
    assert [name for name, answer in reach.look(connections).items() if not isinstance(answer, Glance)] == ["h2"]
    reach.forget()
    assert took(lambda: reach.look(connections)) < 2.9
    wait_for(reach.late, 30, "ssh has given h2 up")
    assert "it does not answer on port 22" in str(reach.late()["h2"])


def test_a_host_that_was_off_meanwhile_answers_at_once(hosts: Lab, cluster: Path) -> None:
    mine = connection(hosts["h1"])
    reach = reach_of(cluster, mine)
    transport = transport_to(reach, mine)
    before = transport.glance().boot_id
    hosts["h1"].power_cycle()
    reach.forget()
    assert took(transport.glance) < 8
    assert transport.glance().boot_id == hosts["h1"].boot_id() != before
    assert transport.ask({"op": "lease_read"})["boot_id"] != before


def test_another_machine_at_the_address_is_refused_although_a_connection_was_open(hosts: Lab, cluster: Path) -> None:
    look(cluster, hosts["h1"])
    hosts["h1"].recreate()
    assert isinstance(refusal(cluster, hosts["h1"]), HostKeyChanged)


def test_a_connection_on_which_nothing_answers_is_left_for_another(hosts: Lab, cluster: Path) -> None:
    look(cluster, hosts["h1"])
    hosts["h1"].exec("kill -STOP $(pgrep -u ray sshd)")
    transport = one(cluster, hosts["h1"])
    assert took(transport.glance) < 10
    assert took(lambda: transport.run("true", {})) < 10


def master(sockets: Path) -> int:
    (pid,) = subprocess.run(
        ["pgrep", "-n", "-f", rf"ssh: {sockets}/.*\[mux\]"], capture_output=True, text=True, check=True
    ).stdout.split()
    return int(pid)


def test_a_killed_master_is_replaced(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    look(cluster, lab4["h1"])
    os.kill(master(own_sockets), signal.SIGKILL)
    assert len(list(own_sockets.iterdir())) == 1
    assert one(cluster, lab4["h1"]).glance().hostname == "h1"
    assert len(list(own_sockets.iterdir())) == 1


def test_a_master_that_hangs_is_replaced(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    look(cluster, lab4["h1"])
    pid = master(own_sockets)
    os.kill(pid, signal.SIGSTOP)
    try:
        assert took(one(cluster, lab4["h1"]).glance) < 10
    finally:
        os.kill(pid, signal.SIGKILL)


# ---- too much at once
def test_a_host_that_allows_one_session_a_connection_gets_connections(hosts: Lab, cluster: Path) -> None:
    hosts["h1"].sshd("MaxSessions=1")
    transport = one(cluster, hosts["h1"])
    assert transport.ask({"op": "lease_read"})["lease"] is None
    assert transport.glance().hostname == "h1"
    assert transport.run("exit 7", {}) == 7
    assert transport.ask({"op": "lease_read"})["lease"] is None


def test_a_host_that_takes_few_logins_at_once_is_asked_again(hosts: Lab, cluster: Path) -> None:
    hosts["h1"].sshd("MaxStartups=1:100:1")
    with socket.create_connection((hosts["h1"].ip, 22)) as other:
        answers: list[object] = []
        asker = threading.Thread(target=lambda: answers.append(look(cluster, hosts["h1"])["h1"]))
        asker.start()
        time.sleep(0.05)
        other.close()
        asker.join(20)
    assert isinstance(answers[0], Glance), answers[0]


# ---- what a host is told
def test_a_file_arrives_whole_and_private(lent: Host, cluster: Path, tmp_path: Path) -> None:
    source = tmp_path / "it's a job; $x.py"
    source.write_bytes(os.urandom(3_000_000))
    transport = one(cluster, lent)
    place = transport.put(source)
    assert place == f"/home/ray/.rayctl/lab/files/{source.name}"
    told = lent.exec(
        f"stat -c '%a %U' {shlex.quote(place)} {shlex.quote(os.path.dirname(place))}; cksum < {shlex.quote(place)}"
    )
    mine = subprocess.run(["cksum"], input=source.read_bytes(), capture_output=True, check=True).stdout.decode()
    assert told.stdout == f"600 ray\n700 ray\n{mine}"


def test_a_full_disk_is_told_and_leaves_no_part_of_a_file(hosts: Lab, cluster: Path, tmp_path: Path) -> None:
    hosts["h1"].fill_disk()
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    with pytest.raises(RayctlError, match=r"cannot copy .*/big to h1: cat: .*No space left on device"):
        one(cluster, hosts["h1"]).put(tmp_path / "big")
    assert hosts["h1"].exec("find /home/ray -name '*big*'").stdout == ""


def test_a_fresh_login_knows_a_new_group(hosts: Lab, cluster: Path) -> None:
    transport = one(cluster, hosts["h1"])
    transport.glance()
    hosts["h1"].exec("groupadd gpus; usermod -aG gpus ray")
    assert transport.run("id -nG | grep -qw gpus", {}) == 1
    transport.leave_master()
    assert transport.run("id -nG | grep -qw gpus", {}) == 0


@contextmanager
def exec_(cluster: Path, host: Host, command: str, **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command as `rayctl exec` does, in a process of its own without a terminal."""
    ssh = {"user": host.user, "port": host.port, "key": str(host.lab_folder / "key")}
    argv = [sys.executable, "-c", DRIVER, str(cluster), host.name, host.ip, json.dumps(ssh), command]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    popen = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **popen}
    with subprocess.Popen(argv, env=environment, **popen) as child:
        try:
            yield child
        finally:
            child.kill()


@pytest.mark.parametrize("code", [0, 1, 125, 137, 254, 255])
def test_the_exit_code_is_the_commands(lab4: Lab, cluster: Path, code: int) -> None:
    assert one(cluster, lab4["h1"]).run(f"exit {code}", {}) == code


def test_input_output_and_environment_are_as_if_it_ran_here(lab4: Lab, cluster: Path) -> None:
    data = bytes(range(256)) * 4096
    with exec_(cluster, lab4["h1"], 'cat; echo "$X" >&2; printf %s "it\'s \\\\n !! $#" >&2') as child:
        out, err = child.communicate(data, timeout=30)
    assert (child.returncode, out, err) == (0, data, b"it's $Y\nit's \\n !! 0")


def test_ctrl_c_reaches_the_command_and_nothing_of_it_is_left(lab4: Lab, cluster: Path) -> None:
    with exec_(cluster, lab4["h1"], "echo there; sleep 971", start_new_session=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"there\n"
        # a shell that gets the signal while it makes a process may believe that it was for that process, as at a terminal
        wait_for(lambda: "sleep 971" in lab4["h1"].processes(), 30, "it sleeps")
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(30) == INTERRUPTED
    assert not [line for line in lab4["h1"].processes() if "971" in line]


def test_on_a_terminal_the_command_has_one_and_ctrl_c_is_typed(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    ours, theirs = pty.openpty()
    with exec_(
        cluster, lab4["h1"], "tty; sleep 972", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    ) as child:  # fmt: skip
        os.close(theirs)
        said = b""
        while b"/dev/pts/" not in said:
            said += os.read(ours, 1000)
        wait_for(lambda: not termios.tcgetattr(ours)[3] & termios.ISIG, 30, "ssh hands on what is typed")
        wait_for(lambda: "sleep 972" in lab4["h1"].processes(), 30, "it sleeps")
        os.write(ours, b"\x03")
        assert child.wait(30) == INTERRUPTED
    os.close(ours)
    assert master(own_sockets), "what was typed was not for the connection that others ride on"
    assert not [line for line in lab4["h1"].processes() if "972" in line]


def test_a_connection_that_breaks_under_a_command_is_not_its_exit_code(hosts: Lab, cluster: Path) -> None:
    with exec_(cluster, hosts["h1"], "echo there; sleep 60") as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline() == b"there\n"
        hosts["h1"].exec("kill -KILL $(pgrep -u ray sshd)")
        assert child.wait(30) == 1
        assert "rayctl.errors.Unreachable: h1" in child.stderr.read().decode()


# ---- ports
def serve(host: Host, port: int) -> None:
    server = f"python3 -m http.server {port} --bind 127.0.0.1 --directory /etc/ssh"
    host.exec(f"systemd-run --quiet --collect --unit=web{port} {server}")
    host.exec(f"for i in $(seq 150); do nc -z 127.0.0.1 {port} && exit; sleep 0.1; done; exit 1")


def test_a_forwarded_port_leads_to_what_listens_on_the_host(lent: Host, cluster: Path) -> None:
    serve(lent, 8099)
    transport = one(cluster, lent)
    place = transport.forward("127.0.0.1", 8099)
    assert transport.forward("127.0.0.1", 8099) == place
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(place))
        line.sendall(b"HEAD /ssh_config HTTP/1.0\r\n\r\n")
        assert b" 200 OK" in line.recv(1000)
    transport.close()
    assert not place.exists()


def test_a_port_on_which_nothing_listens_yet_is_forwarded_all_the_same(lent: Host, cluster: Path) -> None:
    transport = one(cluster, lent)
    place = transport.forward("127.0.0.1", 8098)
    serve(lent, 8098)
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(place))
        line.sendall(b"HEAD / HTTP/1.0\r\n\r\n")
        assert b" 200 OK" in line.recv(1000)


def test_a_host_that_forwards_nothing_says_so_quickly(hosts: Lab, cluster: Path) -> None:
    hosts["h1"].sshd("AllowTcpForwarding=no")
    transport = one(cluster, hosts["h1"])
    began = time.monotonic()
    with pytest.raises(Refused, match="h1 does not let ssh forward ports") as caught:
        transport.forward("127.0.0.1", 22)
    assert time.monotonic() - began < 10
    assert "AllowTcpForwarding yes" in caught.value.hint


# ---- the end
def test_down_leaves_no_connection_and_close_leaves_only_masters(lab4: Lab, cluster: Path, own_sockets: Path) -> None:
    jump = f"{lab4['h1'].user}@{lab4['h1'].ip}"
    connections = [connection(lab4["h2"], proxy_jump=jump), connection(lab4["h3"])]
    reach = reach_of(cluster, *connections)
    for mine in connections:
        transport_to(reach, mine).ask({"op": "lease_read"})
    transport_to(reach, connections[1]).forward("127.0.0.1", 22)
    reach.close()
    assert [path for path in own_sockets.iterdir() if not re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{40}", path.name)] == []
    assert [line for line in processes(cluster) if " -W " not in line] == []  # a master's own way through the bastion
    assert len(list(own_sockets.iterdir())) == 3
    reach.close_masters()
    assert list(own_sockets.iterdir()) == []
    wait_for(lambda: not processes(own_sockets) + processes(cluster), 30, "no connection is left")


def processes(named: Path) -> list[str]:
    return subprocess.run(["pgrep", "-fa", str(named)], capture_output=True, text=True, check=False).stdout.splitlines()
