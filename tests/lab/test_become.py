# SPDX-License-Identifier: Apache-2.0
"""Steps as root where sudo asks for a password: every way in which a person can give it, and where it must not be found."""

from __future__ import annotations

from pathlib import Path

import pexpect
import pytest

from .clusters import BIN, Cluster, content, holding
from .rig import Host
from .rig.box import wait_for
from .teams import Played, Team

PASSWORD = "zebra crossing 7"
WHO = "id -un >> /root/who"  # as the login user it fails
AS_ROOT = "root"
NAP = "86402.5"  # seconds: told from any other sleep of the host
DOAS = """
DOCUMENTATION = "{name: doas, short_description: theirs, description: theirs, author: they, options: {}}"
from ansible.plugins.become import BecomeBase
class BecomeModule(BecomeBase):
    name = "doas"
    def build_become_command(self, cmd, shell):
        return cmd
"""
ALL = {"h1", "h2", "h3", "h4"}


@pytest.fixture
def guarded(cluster: Cluster) -> Cluster:
    """A cluster whose steps run as root, on hosts where sudo asks for the password."""
    for host in cluster.lab:
        host.sudo("password", password=PASSWORD)
    cluster.auth["become"] = True
    cluster.write(WHO)
    return cluster


@pytest.fixture
def team(guarded: Cluster) -> Team:
    return Team(guarded)


def who(host: Host) -> list[str]:
    """Who ran the step on this host, each time."""
    return str(host.exec("cat /root/who 2>/dev/null; true").stdout).split()


def everywhere(cluster: Cluster) -> list[list[str]]:
    return [who(host) for host in cluster.lab]


def password_file(cluster: Cluster) -> Path:
    file = cluster.folder / "sudo-password"
    file.write_text(f"{PASSWORD}\n")
    file.chmod(0o600)
    return file


def typed(words: list[str], cluster: Cluster, prompt: str, folder: Path) -> str:
    """What a command printed at a terminal at which the password was typed when it was asked for, once."""
    child = pexpect.spawn(str(BIN / words[0]), words[1:], env=cluster.env, cwd=str(folder), encoding="utf-8", timeout=90)
    try:
        child.expect(prompt)
        child.sendline(PASSWORD)
        child.expect(pexpect.EOF)
        printed = str(child.before)
    finally:
        child.close()
    assert child.exitstatus == 0, printed
    assert PASSWORD not in printed
    return printed


# ---- by `rayctl up`


def test_up_asks_once_at_the_terminal(guarded: Cluster) -> None:
    printed = typed(["rayctl", "up", "-y", "-K", str(guarded.file)], guarded, "sudo password: ", guarded.folder)
    assert "lab is up" in printed
    assert everywhere(guarded) == [[AS_ROOT]] * 4
    assert "nothing changed" in guarded.up().stdout  # and who has nothing to do needs no password


def test_up_reads_it_from_a_file_that_nobody_else_can_read(guarded: Cluster) -> None:
    file = password_file(guarded)
    file.chmod(0o644)
    refused = guarded.up("--become-password-file", str(file), code=2)
    assert "chmod 600" in refused.stderr
    assert everywhere(guarded) == [[]] * 4
    file.chmod(0o600)
    guarded.up("--become-password-file", str(file))
    assert everywhere(guarded) == [[AS_ROOT]] * 4


def test_up_without_a_terminal_says_how_else_to_give_it(guarded: Cluster) -> None:
    assert "--become-password-file FILE" in guarded.up("-K", code=2).stderr


def test_up_without_the_password_fails_on_every_host_and_says_what_to_do(guarded: Cluster) -> None:
    assert "--ask-become-pass" in guarded.up(code=1).stderr
    guarded.up("--become-password-file", str(password_file(guarded)))


def test_ray_is_started_as_the_login_user(guarded: Cluster) -> None:
    guarded.write(WHO, worker_start_ray_commands=["id -un > ~/ray-user"])
    guarded.up("--become-password-file", str(password_file(guarded)))
    assert guarded.lab["h2"].exec("cat /home/ray/ray-user").stdout == "ray\n"


def test_the_password_is_found_nowhere(guarded: Cluster) -> None:
    """Not while a step runs, in any process of either end, and afterwards in no file."""
    guarded.write(f"env; sleep {NAP} & echo $! > /root/pid; wait; true")
    bringing_up = guarded.start(
        "rayctl", "up", "-y", "-v", str(guarded.file), "--become-password-file", str(password_file(guarded))
    )
    hosts = list(guarded.lab)
    wait_for(lambda: all(host.exec("cat /root/pid 2>/dev/null; true").stdout for host in hosts), 60, "all hosts are at it")
    # the script that looks is in a command line itself
    seen = "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c '[z]ebra crossing'; true"
    assert [host.exec(seen).stdout for host in hosts] == ["0\n"] * 4
    assert _of_this_machine() == []
    assert [path.name for path in holding(guarded.home, PASSWORD.encode())] == ["become-password"]
    for host in hosts:
        host.exec("kill $(cat /root/pid)")
    printed = "".join(bringing_up.communicate(timeout=60))
    assert bringing_up.returncode == 0, printed
    assert PASSWORD not in printed
    assert holding(guarded.home, PASSWORD.encode()) == []
    files = "grep -rlF 'zebra crossing' /home /root /tmp /var /run 2>/dev/null; true"
    assert [host.exec(files).stdout for host in hosts] == [""] * 4


def _of_this_machine() -> list[str]:
    """Processes here that have it in their command line or environment."""
    files = (process / name for process in Path("/proc").glob("[0-9]*") for name in ("cmdline", "environ"))
    return [str(file) for file in files if PASSWORD.encode() in content(file)]


# ---- by plain Ansible


def all_as_root(team: Team, played: Played) -> None:
    assert played.changed() == ALL | {"localhost"}
    assert everywhere(team.cluster) == [[AS_ROOT]] * 4
    assert PASSWORD not in played.output


def test_ansible_asks_once_at_the_terminal(team: Team) -> None:
    words = ["ansible-playbook", "-i", team.inventory, "rayctl.ray.up", "--ask-become-pass"]
    typed(words, team.cluster, "BECOME password: ", team.folder)
    assert everywhere(team.cluster) == [[AS_ROOT]] * 4


def test_ansible_reads_it_from_a_file(team: Team) -> None:
    all_as_root(team, team.play("-vv", "--become-password-file", str(password_file(team.cluster))))


def test_ansible_finds_it_in_a_vault(team: Team) -> None:
    vault = team.folder / "vault-password"
    vault.write_text("of the vault\n")
    sealed = team.run(
        "ansible-vault", "encrypt_string", "--vault-password-file", str(vault), "--name", "ansible_become_password", PASSWORD
    ).stdout
    (team.folder / "group_vars").mkdir()
    (team.folder / "group_vars" / "all.yml").write_text(sealed)
    all_as_root(team, team.play("--vault-password-file", str(vault)))


@pytest.mark.parametrize("name", ["ansible_become_pass", "ansible_sudo_pass"])
def test_every_host_may_have_a_password_of_its_own(team: Team, name: str) -> None:
    team.cluster.lab["h2"].sudo("password", password="of h2 alone")
    team.write("group_vars/all.yml", {name: PASSWORD})
    team.write("host_vars/h2.yml", {name: "of h2 alone"})
    all_as_root(team, team.play())


def test_a_wrong_password_is_named_where_it_is_wrong(team: Team) -> None:
    team.write("group_vars/all.yml", {"ansible_become_password": PASSWORD})
    team.write("host_vars/h2.yml", {"ansible_become_password": "a guess"})
    played = team.play(code=2)
    assert {name for name, counts in played.recap.items() if counts["failed"]} == {"h2"}
    assert "sudo did not take the password for ray on this host" in played.output


def test_become_of_ansibles_means_what_the_file_may_say(team: Team) -> None:
    """`-b` and `auth.become` lead to the same digests."""
    cluster, file = team.cluster, str(password_file(team.cluster))
    cluster.auth["become"] = False
    cluster.write(WHO)
    team.play("-b", "--become-password-file", file)
    assert everywhere(cluster) == [[AS_ROOT]] * 4
    assert cluster.lab["h2"].exec("stat -c %U /home/ray/out/starts").stdout == "ray\n"
    assert team.play("-b", "--become-password-file", file).changed() == set()
    cluster.auth["become"] = True
    cluster.write(WHO)
    assert "nothing changed" in cluster.up().stdout


def test_to_become_another_user_than_root_is_one_clear_error(team: Team) -> None:
    assert "not as the become user 'postgres'" in team.play("-b", "--become-user", "postgres", code=2).output
    assert everywhere(team.cluster) == [[]] * 4


def test_to_become_root_by_other_means_than_sudo_is_one_clear_error(team: Team) -> None:
    plugin = team.folder / "become" / "doas.py"
    plugin.parent.mkdir()
    plugin.write_text(DOAS)
    team.configure("become_plugins = become")
    assert "runs steps as root by sudo, not by the method 'doas'" in team.play("-b", "--become-method", "doas", code=2).output
    assert everywhere(team.cluster) == [[]] * 4


def test_check_mode_needs_no_password(team: Team) -> None:
    team.play("--become-password-file", str(password_file(team.cluster)))
    team.cluster.write(WHO, "true")
    assert team.play("--check").changed() == ALL
