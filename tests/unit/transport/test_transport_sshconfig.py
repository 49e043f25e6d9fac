# SPDX-License-Identifier: Apache-2.0
"""The cluster's ssh_config: ssh reads back what was meant, whatever is in the values, and the user's own settings stay."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rayctl.errors import Refused
from rayctl.transport import masters, sshconfig
from rayctl.transport.connection import Connection, Ssh

H1 = Connection("ssh", "10.0.0.1", "~/.rayctl/c", name="h1", ssh=Ssh(user="ray", key="/keys/k"))
H2 = Connection("ssh", "10.0.0.2", "~/.rayctl/c", name="10.0.0.2", ssh=Ssh(user="ray", port=2222, key="/keys/k"))
FINGERPRINT = f"SHA256:{'A' * 43}"
# what may stand in a path, less what ssh's files cannot express
PATHS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters='"\\$'), min_size=1, max_size=30
)


@pytest.fixture(autouse=True)
def sockets(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(masters, "folder", lambda: Path("/run/r"))
    return Path("/run/r")


def read_back(file: Path, host: str) -> dict[str, list[str]]:
    """What ssh makes of it: all values by keyword."""
    done = subprocess.run(["ssh", "-G", "-F", str(file), host], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        keyword, _, value = line.partition(" ")
        found.setdefault(keyword, []).append(value)
    return found


def told(folder: Path, host: str, *connections: Connection) -> dict[str, list[str]]:
    return read_back(sshconfig.write(folder, connections), host)


def with_ssh(connection: Connection, **ssh: object) -> Connection:
    return replace(connection, ssh=replace(connection.ssh, **ssh))  # type: ignore[arg-type]


# ---- values
def test_a_host_is_known_by_its_name_and_by_its_address(tmp_path: Path) -> None:
    by_name, by_address = (told(tmp_path, host, H1, H2) for host in ("h1", "10.0.0.1"))
    assert by_name["hostname"] == by_address["hostname"] == ["10.0.0.1"]
    assert by_name["user"] == by_address["user"] == ["ray"]
    assert by_name["controlpath"] == by_address["controlpath"]


def test_each_host_has_settings_of_its_own(tmp_path: Path) -> None:
    assert told(tmp_path, "10.0.0.1", H1, H2)["port"] == ["22"]
    assert told(tmp_path, "10.0.0.2", H1, H2)["port"] == ["2222"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(PATHS, PATHS, PATHS)
@example("a b%h#c", "it's {{x}} %%", "~/-x, y=z")
def test_any_path_arrives_as_it_was_meant(tmp_path: Path, key: str, known: str, folder: str) -> None:
    cluster = tmp_path / f"d{folder.replace('/', '_')}"
    asked = told(cluster, "10.0.0.1", with_ssh(H1, key=f"/k/{key}", known_hosts=f"/h/{known}"))
    assert [value.replace("%%", "%") for value in asked["identityfile"]] == [f"/k/{key}"]
    assert asked["userknownhostsfile"] == [f"/h/{known}"]
    assert told(cluster, "10.0.0.1", H1)["userknownhostsfile"][0].startswith(f"{cluster}/known_hosts ")


@pytest.mark.parametrize("value", ["a\nb", 'a"b', "a\\b", "a${HOME}", "a\0b"])
@pytest.mark.parametrize("field", ["key", "known_hosts", "user"])
def test_what_ssh_cannot_be_told_is_refused(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(Refused, match="cannot be written into ssh's configuration") as caught:
        sshconfig.write(tmp_path, [with_ssh(H1, **{field: value})])
    assert "nothing was touched" in caught.value.message


@pytest.mark.parametrize("name", ["*", "h?", "!h1", "-oProxyCommand=x"])
def test_a_host_whose_name_means_more_than_that_host_is_refused(tmp_path: Path, name: str) -> None:
    for host in (replace(H1, name=name), replace(H1, address=name)):
        with pytest.raises(Refused):
            sshconfig.write(tmp_path, [host])


def test_a_proxy_command_stays_as_it_was_written(tmp_path: Path) -> None:
    way = """nc -x 'proxy.example.com:1234' "%h" %p  # %% $HOME"""
    assert told(tmp_path, "10.0.0.1", with_ssh(H1, proxy_command=way))["proxycommand"] == [way]
    with pytest.raises(Refused):
        sshconfig.write(tmp_path, [with_ssh(H1, proxy_command="a\nb")])


# ---- whom we trust
def test_an_unknown_host_is_pinned_unless_something_is_said_of_it(tmp_path: Path) -> None:
    asked = told(tmp_path, "10.0.0.1", H1)
    assert asked["stricthostkeychecking"] == ["accept-new"]
    assert asked["userknownhostsfile"][0].split()[0] == f"{tmp_path}/known_hosts"
    for strict in (
        with_ssh(H1, known_hosts="/k"),
        with_ssh(H1, host_key=FINGERPRINT),
        with_ssh(H1, host_key="ssh-ed25519 AAAA"),
    ):
        asked = told(tmp_path, "10.0.0.1", strict)
        assert asked["stricthostkeychecking"] == ["true"]
        assert f"{tmp_path}/known_hosts" not in asked["userknownhostsfile"][0].split()
        assert asked["globalknownhostsfile"] == ["none"]


def test_a_named_known_hosts_holds_for_hosts_on_the_way_too_beside_the_users_own(tmp_path: Path) -> None:
    asked = told(tmp_path, "bastion", with_ssh(H1, known_hosts="/k"))
    assert asked["stricthostkeychecking"] == ["true"]
    home = os.path.expanduser("~root") if os.geteuid() == 0 else os.path.expanduser("~")
    assert asked["userknownhostsfile"][0].split()[:2] == ["/k", f"{home}/.ssh/known_hosts"]


def test_a_host_key_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="neither a fingerprint nor a public key"):
        sshconfig.write(tmp_path, [with_ssh(H1, host_key="SHA256:short")])


def test_a_fingerprint_needs_an_ssh_that_can_ask_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masters, "version", lambda ssh: (8, 4))
    with pytest.raises(Refused, match=r"too old to check the fingerprint given for h1: that needs OpenSSH 8\.5") as caught:
        sshconfig.write(tmp_path, [with_ssh(H1, host_key=FINGERPRINT)])
    assert "public key instead" in caught.value.hint


# ---- ways
@pytest.mark.parametrize(
    ("jump", "h1", "h2"),
    [
        ("b", ["b"], ["b"]),
        ("me@10.0.0.1:22", None, ["me@10.0.0.1:22"]),
        ("h1", None, ["h1"]),
        ("a,me@[10.0.0.1]:2200,10.0.0.2", ["a"], ["a,me@[10.0.0.1]:2200"]),
    ],
)
def test_a_host_on_the_way_is_not_reached_through_itself(
    tmp_path: Path, jump: str, h1: list[str] | None, h2: list[str] | None
) -> None:
    hosts = [with_ssh(host, proxy_jump=jump) for host in (H1, H2)]
    text = sshconfig.text(tmp_path, hosts, Path("/s"))
    jumps = [line.split()[1] for line in text.splitlines() if "ProxyJump" in line]
    assert jumps == [*(h1 or ["none"]), *(h2 or ["none"])]
    told(tmp_path, "h1", *hosts)


def test_a_bastion_is_tried_with_the_key_of_those_behind_it_and_with_the_users_own(tmp_path: Path) -> None:
    asked = told(tmp_path, "b.example.com", with_ssh(H1, proxy_jump="me@b.example.com:2200"))
    assert asked["identityfile"][:2] == ["/keys/k", "~/.ssh/id_ed25519"]
    assert asked["identitiesonly"] == ["no"]


# ---- masters
def test_whoever_is_somebody_else_or_trusts_others_has_masters_of_his_own(tmp_path: Path) -> None:
    changed = [
        {"user": "bob"}, {"key": "/other"}, {"known_hosts": "/k"}, {"host_key": FINGERPRINT}, {"proxy_jump": "b"}, {"port": 23},
        {"options": ("-o", "UserKnownHostsFile=/dev/null")},
    ]  # fmt: skip
    prefixes = [sshconfig.prefix(tmp_path, host) for host in (H1, H2, *(with_ssh(H1, **change) for change in changed))]
    prefixes.append(sshconfig.prefix(tmp_path / "other", H1))
    assert len(set(prefixes)) == len(prefixes)


def test_masters_stay_open_and_notice_a_dead_host(tmp_path: Path) -> None:
    asked = told(tmp_path, "10.0.0.1", H1)
    assert (asked["controlmaster"], asked["controlpersist"]) == (["auto"], ["600"])
    assert (asked["serveraliveinterval"], asked["serveralivecountmax"], asked["connecttimeout"]) == (["5"], ["3"], ["10"])
    assert asked["controlpath"][0].startswith(f"/run/r/{sshconfig.prefix(tmp_path, H1)}-")


# ---- the user's own
def test_what_is_left_open_is_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "config"
    own.write_text("Host 10.0.0.1\n  Port 2299\n  RemoteCommand tmux\n  User bob\n  Compression yes\n")
    monkeypatch.setattr(sshconfig, "THE_USERS", (f"Include {own}",))
    asked = told(tmp_path / "c", "10.0.0.1", H1)
    assert (asked["port"], asked["compression"], asked["user"]) == (["2299"], ["yes"], ["ray"])
    assert "remotecommand" not in asked or asked["remotecommand"] == ["none"]


# ---- the file
def test_the_file_is_private_and_written_only_when_it_changes(tmp_path: Path) -> None:
    sshconfig.write(tmp_path, [H1])
    file = tmp_path / "ssh_config"
    first = file.stat()
    sshconfig.write(tmp_path, [H1])
    assert (file.stat().st_ino, file.stat().st_mode & 0o777) == (first.st_ino, 0o600)
    sshconfig.write(tmp_path, [H1, H2])
    assert file.stat().st_ino != first.st_ino


def test_an_operation_under_way_keeps_what_it_began_with(tmp_path: Path) -> None:
    mine = sshconfig.write(tmp_path, [with_ssh(H1, host_key=FINGERPRINT)])
    before = mine.read_text()
    other = sshconfig.write(tmp_path, [H2])
    assert mine != other
    assert mine.read_text() == before
    assert (tmp_path / "ssh_config").read_text() == other.read_text()


def test_copies_that_nobody_asked_for_in_a_week_go(tmp_path: Path) -> None:
    old, young = sshconfig.write(tmp_path, [H1]), sshconfig.write(tmp_path, [H2])
    os.utime(old, (0, young.stat().st_mtime - sshconfig.UNUSED_S - 1))
    last = sshconfig.write(tmp_path, [H1, H2])
    assert set(last.parent.iterdir()) == {young, last}
