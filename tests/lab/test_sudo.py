# SPDX-License-Identifier: Apache-2.0
"""Steps as root on real hosts, by real sudo: the node's runner is driven over plain ssh."""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from rayctl.config.digest import digest
from rayctl.node.wire import PROTOCOL
from rayctl.transport.channel import Channel
from rayctl.transport.shipping import boot_command, opening

from .rig import Host, Lab
from .rig.box import wait_for

NAP = "86400.5"  # seconds: told from any other sleep of the host
SLEEPERS = f"pgrep -fx 'sleep {NAP}' || :"
ENDLESS = f"echo going; (setsid sh -c 'sleep {NAP} & sleep {NAP} &' &); trap : TERM; while :; do sleep {NAP}; done"
Message = dict[str, Any]


class Node:
    """A host whose runner is given plans of steps that run as root."""

    def __init__(self, lab: Lab, host: Host) -> None:
        self.lab, self.host, self.cluster_id = lab, host, str(uuid.uuid4())
        self._channels: list[Channel] = []

    def begin(self, *commands: str, password: str = "", **step: Any) -> Iterator[Message]:
        """What the node says to a plan of these commands."""
        request = {"op": "run", "protocol": PROTOCOL, "plan": self._plan(commands, step), "orphan_s": 1.0}
        request["plan_digest"] = digest(request["plan"])
        request["secrets"] = {"become_password": password} if password else {}
        return iter(self._open(request))

    def run(self, *commands: str, **options: Any) -> Message:
        """How a plan of these commands ended."""
        return next(message for message in self.begin(*commands, **options) if message["event"] == "done")

    def cancel(self) -> None:
        """End the run that is under way."""
        next(iter(self._open({"op": "cancel", "state_dir": "~/.rayctl/sudo"})))

    def sleepers(self) -> list[str]:
        """The pids of what steps left."""
        return self.host.exec(SLEEPERS).stdout.split()

    def close(self) -> None:
        """Cut all lines."""
        for channel in self._channels:
            channel.kill()
            channel.close()

    def _open(self, request: Message) -> Channel:
        login = ["ssh", "-F", str(self.lab.ssh_config), f"{self.host.user}@{self.host.name}"]
        argv = [*login, shlex.join(["/bin/sh", "-c", boot_command(["python3"])])]
        self._channels.append(Channel(argv, os.environ, opening(request)))
        return self._channels[-1]

    def _plan(self, commands: tuple[str, ...], step: dict[str, Any]) -> dict[str, Any]:
        about = {"phase": "setup", "env": {}, "timeout_s": None, "become": True, **step}
        return {
            "cluster_id": self.cluster_id, "node": self.host.name, "state_dir": "~/.rayctl/sudo", "env": {}, "path_prefix": "",
            "phases": ["mounts", "setup", "start"], "check": False, "rerun_from": None, "mounts": [], "ray": None,
            "steps": [
                {**about, "name": f"step {number}", "command": command, "digest": digest([number, command, step])}
                for number, command in enumerate(commands, 1)
            ],
        }  # fmt: skip


@pytest.fixture
def node(hosts: Lab) -> Iterator[Node]:
    made = Node(hosts, hosts["h1"])
    yield made
    made.close()


def output(messages: Iterator[Message]) -> str:
    """All that steps printed until the run ended."""
    text = ""
    for message in messages:
        text += message.get("text", "") if message["event"] == "out" else ""
        if message["event"] == "done":
            assert not message["failed"], message
            break
    return text


def until_it_goes(messages: Iterator[Message]) -> None:
    next(message for message in messages if message["event"] == "out" and "going" in message["text"])


def last_line(outcome: Message) -> str:
    """The one line that a step which did not begin is told by."""
    assert outcome["failed"]
    assert len(outcome["step"]["tail"]) == 1, outcome["step"]
    return str(outcome["step"]["tail"][0])


# ---- who it is


def test_a_step_is_roots_in_roots_login_and_begins_where_the_user_does(node: Node) -> None:
    node.host.write("/root/.bashrc", "export FROM_RC=r\n")
    said = output(node.begin('echo "$(id -un) $HOME $USER $SUDO_USER $FROM_RC $X $PWD"', env={"X": "x"}))
    assert said == "root /root root ray r x /home/ray\n"


def test_the_password_is_given_where_sudo_asks_and_is_found_nowhere(node: Node) -> None:
    node.host.sudo("password", password="zebra crossing")
    look = "env; ps -e -ww -o args; cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; sleep 0.2"
    said = output(node.begin("cat; id -un", look, password="zebra crossing"))
    assert said.startswith("root\n")
    assert "zebra crossing" not in said
    found = "grep -rl 'zebra crossing' /home/ray /root /tmp /run /var/log /var/tmp 2>/dev/null; journalctl | grep zebra; true"
    assert node.host.exec(found).stdout == ""


def test_sudo_without_a_password_does_not_mind_one(node: Node) -> None:
    assert output(node.begin("cat; id -un", password="needless")) == "root\n"


def test_a_command_and_its_variables_are_in_no_record_of_sudos(node: Node) -> None:
    node.host.write("/etc/sudoers.d/records", "Defaults log_input, log_output\n", mode="0440")
    said = output(node.begin(f"(sleep 0.5; echo later; exec sleep {NAP}) & echo $X walrus", env={"X": "a secret"}))
    assert said == "a secret walrus\n"
    wait_for(lambda: "later" in node.host.ssh("cat .rayctl/sudo/*/logs/01-setup.log").stdout, 30, "the daemon still writes")
    assert node.host.exec("find /var/log/sudo-io -type f").stdout
    records = "find /var/log/sudo-io -type f -exec zcat -f {} + | grep -a -e 'a secret' -e walrus; true"
    assert node.host.exec(records).stdout == ""


# ---- what sudo may say


def test_a_wrong_password_fails_at_once(node: Node) -> None:
    node.host.sudo("password")
    outcome = node.run("touch /root/ran", password="a guess")
    assert last_line(outcome) == "rayctl: sudo did not take the password for ray on this host"
    attempts = "journalctl | grep -c '1 incorrect password attempt'; true"
    wait_for(lambda: node.host.exec(attempts).stdout == "1\n", 15, "it is in the journal, as one attempt")


def test_a_password_that_nobody_gave_is_asked_for(node: Node) -> None:
    node.host.sudo("password")
    assert last_line(node.run("true")).startswith(
        "rayctl: sudo asks for a password on this host: give it with --ask-become-pass"
    )


def test_a_user_who_may_not_use_sudo_is_told_so(node: Node) -> None:
    node.host.sudo("password")
    node.host.sudo("none")
    assert last_line(node.run("true", password="secret")).startswith("rayctl: sudo does not let ray run commands as root")


def test_a_rule_that_allows_other_commands_only_is_told_so(node: Node) -> None:
    node.host.sudo("none")
    node.host.write("/etc/sudoers.d/some", "ray ALL=(ALL) NOPASSWD: /usr/bin/id\n", mode="0440")
    assert last_line(node.run("true")).startswith("rayctl: sudo ")


def test_a_host_without_sudo_is_told_so(node: Node) -> None:
    node.host.without("sudo")
    assert last_line(node.run("true")) == "rayctl: there is no sudo on this host: install it, or log in as root"


def test_a_sudo_that_wants_a_terminal_is_told_so(node: Node) -> None:
    node.host.write("/etc/sudoers.d/terminal", "Defaults requiretty\n", mode="0440")
    assert "add `Defaults:ray !requiretty`" in last_line(node.run("true"))


# ---- how it ends


def test_a_step_out_of_time_leaves_none_of_roots_processes(node: Node) -> None:
    outcome = node.run(ENDLESS, timeout_s=8)
    assert outcome["step"]["state"] == "timeout"
    assert outcome["step"]["tail"] == ["going"]
    assert node.sleepers() == []


def test_a_cancel_leaves_none_of_roots_processes(node: Node) -> None:
    messages = node.begin(ENDLESS)
    until_it_goes(messages)
    wait_for(lambda: len(node.sleepers()) == 3, 15, "all of them sleep")
    node.cancel()
    assert node.sleepers() == []
    assert next(message for message in messages if message["event"] == "done")["cancelled"]


def test_after_a_kill_roots_processes_end_before_the_next_run_begins(node: Node) -> None:
    messages = node.begin(ENDLESS)
    until_it_goes(messages)
    node.host.exec("kill -9 $(sed 's/.*\"pid\": \\([0-9]*\\).*/\\1/' /home/ray/.rayctl/sudo/*/runner.json)")
    assert "died in the middle of its work" in next(messages)["message"]
    assert output(node.begin(f"{SLEEPERS}; echo next")) == "next\n"


def test_a_cut_line_does_not_end_a_step_of_roots(node: Node) -> None:
    until_it_goes(node.begin("echo going; sleep 2; echo done > /root/done"))
    node.close()
    wait_for(lambda: node.host.exec("cat /root/done 2>/dev/null; true").stdout == "done\n", 30, "the step went on")


def test_what_a_step_left_running_outlives_it_and_the_next_run(node: Node) -> None:
    output(node.begin(f"sleep {NAP} & echo started"))
    output(node.begin("echo another"))
    assert len(node.sleepers()) == 1


def test_a_fixed_step_goes_on_from_there(node: Node) -> None:
    node.run("echo 1 >> /root/ran", "false")
    assert not node.run("echo 1 >> /root/ran", "echo 2 >> /root/ran")["failed"]
    assert node.host.exec("cat /root/ran").stdout.split() == ["1", "2"]
