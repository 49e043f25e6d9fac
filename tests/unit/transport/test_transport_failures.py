# SPDX-License-Identifier: Apache-2.0
"""What ssh said on real hosts (OpenSSH 9.2), and what a person is told of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rayctl.errors import Unreachable
from rayctl.transport import hostkeys
from rayctl.transport.connection import Connection, Ssh
from rayctl.transport.failures import HostKeyChanged, ended, unreachable
from rayctl.transport.shipping import NO_PYTHON

H1 = Connection("ssh", "10.0.0.1", "~/.rayctl/c", name="h1", ssh=Ssh(user="ray", key="/keys/k"))
BEHIND = replace(H1, ssh=replace(H1.ssh, proxy_jump="me@10.0.0.9"))
CLOSED_BEHIND = "kex_exchange_identification: Connection closed by remote host\nConnection closed by UNKNOWN port 65535\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8M5SnF3JEZm69uDQwntvYIn1GlMLn8qrT7je0N6A1S"
CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
Someone could be eavesdropping on you right now (man-in-the-middle attack)!
It is also possible that a host key has just been changed.
The fingerprint for the ED25519 key sent by the remote host is
SHA256:REYt43QGiV1dnJ4Rz66m1qzdkU50QiTp676dwFlYiKU.
Please contact your system administrator.
Add correct host key in {file} to get rid of this message.
Offending ED25519 key in {file}:2
  remove with:
  ssh-keygen -f "{file}" -R "{host}"
Host key for {host} has changed and you have requested strict checking.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("connection", "said", "message", "hint"),
    [
        (H1, "ray@10.0.0.1: Permission denied (publickey,password).",
         "h1 (10.0.0.1): it does not let ray in (the key /keys/k was tried)", "ray's ~/.ssh/authorized_keys"),
        (replace(H1, ssh=Ssh()), "anna@10.0.0.1: Permission denied (publickey).",
         "h1 (10.0.0.1): it does not let anna in (the keys of the agent and in ~/.ssh were tried)", "ssh-add"),
        (H1, "No ED25519 host key is known for 10.0.0.1 and you have requested strict checking.\nHost key verification failed.",
         "h1 (10.0.0.1): its host key is not known, and only known ones are accepted (your ssh configuration says so)",
         "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"),
        (replace(H1, ssh=Ssh(host_key="SHA256:x")), "Host key verification failed.",
         "h1 (10.0.0.1): its host key is not the one that is expected (the cluster file says SHA256:x)", "between you and"),
        (replace(H1, ssh=Ssh(known_hosts="/k")), "No RSA host key is known for h1 and you have requested strict checking.",
         "h1 (10.0.0.1): its host key is not known, and only known ones are accepted (those in /k)", "Add it to /k once"),
        (H1, "ssh: connect to host 10.0.0.1 port 2299: Connection refused",
         "h1 (10.0.0.1): nothing listens on its port 2299", "Does sshd run there"),
        (H1, "ssh: connect to host 10.0.0.1 port 22: Connection timed out",
         "h1 (10.0.0.1): it does not answer on port 22", "powered on"),
        (H1, "ssh: connect to host 10.0.0.1 port 22: No route to host",
         "h1 (10.0.0.1): no way leads to it: No route to host", "proxy jump"),
        (replace(H1, address="h1.example.com"), "ssh: Could not resolve hostname h1.example.com: Name or service not known",
         "h1 (h1.example.com): no address is known for this name: Name or service not known", "give an address"),
        (H1, "kex_exchange_identification: read: Connection reset by peer\nConnection reset by 10.0.0.1 port 22",
         "h1 (10.0.0.1): it hangs up before it says anything", "MaxStartups"),
        (H1, "Connection timed out during banner exchange\nConnection to 10.0.0.1 port 22 timed out",
         "h1 (10.0.0.1): its port is open, and nobody speaks there", "suspended"),
        (H1, "Unable to negotiate with 10.0.0.1 port 22: no matching key exchange method found. Their offer: x",
         "h1 (10.0.0.1): its sshd and this ssh have nothing in common: no matching key exchange method found", "old"),
        (H1, "maintenance\r\n\r\nConnection closed by 10.0.0.1 port 22",
         "h1 (10.0.0.1): it hung up at the login: maintenance Connection closed by 10.0.0.1 port 22", "booting"),
        (H1, "Timeout, server 10.0.0.1 not responding.", "h1 (10.0.0.1): the connection broke off", "Try again"),
        (H1, "/x/ssh_config line 8: Invalid ProxyJump \"me\"\n/x/ssh_config: terminating, 1 bad configuration options",
         'h1 (10.0.0.1): ssh does not accept its configuration: /x/ssh_config line 8: Invalid ProxyJump "me"', "ssh -G"),
        (H1, "Warning: Permanently added '10.0.0.1' (ED25519) to the list of known hosts.\nsomething new\n",
         "h1 (10.0.0.1) does not answer: something new", ""),
        (H1, "", "h1 (10.0.0.1) does not answer: the connection ended without a word", ""),
        # those on the way
        (BEHIND, f"ssh: connect to host 10.0.0.9 port 22: Connection timed out\n{CLOSED_BEHIND}",
         "on the way to h1 (10.0.0.1), 10.0.0.9: it does not answer on port 22", "powered on"),
        (BEHIND, f"me@10.0.0.9: Permission denied (publickey).\n{CLOSED_BEHIND}",
         "on the way to h1 (10.0.0.1), 10.0.0.9: it does not let me in (the key /keys/k was tried)", "me's ~/.ssh"),
        (BEHIND, f"Stdio forwarding request failed: Session open refused by peer\n{CLOSED_BEHIND}",
         "h1 (10.0.0.1): the bastion me@10.0.0.9 does not pass the connection on", "AllowTcpForwarding"),
        (BEHIND, f"channel 0: open failed: connect failed: No route to host\nstdio forwarding failed\n{CLOSED_BEHIND}",
         "h1 (10.0.0.1): the bastion me@10.0.0.9 does not reach it: No route to host", "Is it on"),
        (BEHIND, f"channel 0: open failed: administratively prohibited: open failed\nstdio forwarding failed\n{CLOSED_BEHIND}",
         "h1 (10.0.0.1): the bastion me@10.0.0.9 passes no connections on", "AllowTcpForwarding yes"),
    ],
)  # fmt: skip
def test_what_ssh_says_becomes_what_happened_and_what_to_do(connection: Connection, said: str, message: str, hint: str) -> None:
    problem = unreachable(connection, said)
    assert problem.message == message
    assert hint in problem.hint
    assert not isinstance(problem, HostKeyChanged)


def changed(tmp_path: Path, connection: Connection, host: str) -> HostKeyChanged:
    file = tmp_path / "known hosts"
    file.write_text(f"# first\n{host} {KEY} comment\n")
    problem = unreachable(connection, CHANGED.format(file=file, host=host))
    assert isinstance(problem, HostKeyChanged)
    return problem


def test_a_changed_key_is_told_with_both_fingerprints_the_line_and_the_command(tmp_path: Path) -> None:
    problem = changed(tmp_path, replace(H1, ssh=Ssh(port=2222)), "[10.0.0.1]:2222")
    assert problem.message == (
        "h1 ([10.0.0.1]:2222) shows another host key than before, so nothing was said to it: now "
        "SHA256:REYt43QGiV1dnJ4Rz66m1qzdkU50QiTp676dwFlYiKU (ED25519), known is "
        f"{hostkeys.fingerprint(KEY)}, line 2 of {tmp_path}/known hosts."
    )
    assert f"ssh-keygen -f '{tmp_path}/known hosts' -R '[10.0.0.1]:2222', and run this again" in problem.hint
    assert "somebody may be between you and the host" in problem.hint


def test_a_changed_bastion_is_named_and_not_the_host_behind_it(tmp_path: Path) -> None:
    problem = changed(tmp_path, BEHIND, "10.0.0.9")
    assert problem.message.startswith("10.0.0.9, on the way to h1 (10.0.0.1), shows another host key")


def test_a_key_that_the_cluster_file_gives_is_corrected_there(tmp_path: Path) -> None:
    problem = changed(tmp_path, replace(H1, ssh=Ssh(host_key=KEY)), "10.0.0.1")
    assert "give its new key in the cluster file" in problem.hint
    assert "ssh-keygen" not in problem.hint


def test_a_file_that_cannot_be_read_hides_nothing_else() -> None:
    problem = unreachable(H1, CHANGED.format(file="/nonexistent/known", host="10.0.0.1"))
    assert "known is a key (ED25519), line 2 of /nonexistent/known" in problem.message


def test_a_conversation_that_ends_early_says_why() -> None:
    assert isinstance(ended(H1, 255, "Connection closed by 10.0.0.1 port 22"), Unreachable)
    assert "no Python 3.8 or newer was found on h1 (tried python3" in ended(H1, NO_PYTHON, "").message
    assert ended(H1, 1, "a\nb\n\nc\nd\n").message == "the line to h1 ended early, exit status 1: b | c | d"
    assert ended(H1, -9, "").message.endswith("no output")
