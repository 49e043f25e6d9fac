# SPDX-License-Identifier: Apache-2.0
"""A host over ssh, with a stand-in for ssh that runs commands here; real hosts are in tests/lab/test_ssh.py."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayctl.errors import RayctlError, Refused, StateRefused, Unreachable
from rayctl.transport import looks, masters
from rayctl.transport.connection import Connection, Ssh
from rayctl.transport.glance import Glance
from rayctl.transport.local import LocalTransport
from rayctl.transport.reach import Reach
from rayctl.transport.remote import folder_word, remote
from rayctl.transport.ssh import SshTransport

# the host is the last word but one, or the last of an order to a master; each call is noted
STAND_IN = """#!/bin/bash
case $* in -V) echo OpenSSH_9.2p1 >&2; exit;; esac
echo "$*" >> {folder}/calls
case $* in *"-O check "* | *"-O stop "* | *"-O exit "*) exit 255;; esac
host=${{@: -2:1}}
[ ! -e {folder}/$host.sh ] || . {folder}/$host.sh
exec sh -c "${{@: -1}}"
"""


@pytest.fixture
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in's folder: HOST.sh there is what it does first for a host."""
    folder = tmp_path / "ssh"
    folder.mkdir()
    (folder / "ssh").write_text(STAND_IN.format(folder=folder))
    (folder / "ssh").chmod(0o755)
    (folder / "calls").touch()
    runtime = tmp_path / "run"
    runtime.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(masters, "folder", lambda: runtime)
    return folder


@pytest.fixture
def reach(ssh: Path, tmp_path: Path) -> Iterator[Callable[..., Reach]]:
    made: list[Reach] = []

    def make(*hosts: Connection) -> Reach:
        made.append(Reach(tmp_path / "cluster", hosts))
        return made[-1]

    yield make
    for one in made:
        one.close()


def host(name: str, **ssh: object) -> Connection:
    return Connection("ssh", name, "~/.rayctl/c", python=(sys.executable,), name=name, ssh=Ssh(**ssh))  # type: ignore[arg-type]


def to(reach: Reach, connection: Connection) -> SshTransport:
    found = reach.transport(connection)
    assert isinstance(found, SshTransport)
    return found


def calls(ssh: Path) -> list[str]:
    return (ssh / "calls").read_text().splitlines()


# ---- words for a login shell
@settings(max_examples=40)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=40))
def test_a_script_arrives_as_it_was_written(text: str) -> None:
    script = f"printf %s {subprocess.list2cmdline([])}'{text.replace(chr(39), chr(39) + chr(92) + chr(39) + chr(39))}'"
    for shell in ("sh", "bash"):
        done = subprocess.run([shell, "-c", remote(script)], capture_output=True, check=True)
        assert done.stdout.decode() == text


def test_no_word_has_what_some_login_shell_takes_for_its_own() -> None:
    inner = remote("echo 'a\\b' !x\n").split("sh '", 1)[1][:-1]
    assert not set("'!\n") & set(inner)
    assert all(part.startswith("0") for part in inner.split("\\")[1:])


def test_stdin_stays_free_for_the_script() -> None:
    done = subprocess.run(["sh", "-c", remote("cat; exit 7")], input=b"\x00\xff", capture_output=True, check=False)
    assert (done.stdout, done.returncode) == (b"\x00\xff", 7)


@pytest.mark.parametrize(("path", "word"), [("~/a b/$c", "\"$HOME\"/'a b/$c'"), ("/a b", "'/a b'"), ("~x/y", "'~x/y'")])
def test_a_folder_is_below_the_home_of_whoever_logs_in(path: str, word: str) -> None:
    assert folder_word(path) == word


# ---- transports
def test_the_ssh_config_is_kept_while_it_is_used_and_comes_back_where_it_was_swept(reach: Callable[..., Reach]) -> None:
    hosts = reach(host("h1"))
    to(hosts, host("h1"))
    config = hosts.config
    text = config.read_text()
    os.utime(config, (0, 0))
    to(hosts, host("h1"))
    assert config.stat().st_mtime > 0
    config.unlink()
    to(hosts, host("h1"))
    assert config.read_text() == text


def test_each_kind_of_connection_has_its_transport(reach: Callable[..., Reach]) -> None:
    local = Connection("local", "", "/x")
    assert isinstance(reach().transport(local), LocalTransport)
    one = reach(host("h1"))
    assert to(one, host("h1")) is to(one, host("h1"))
    with pytest.raises(Refused, match="reached by 'kubectl' are not built yet"):
        reach().transport(replace(local, kind="kubectl"))


def test_nothing_is_touched_before_a_host_is_wanted(reach: Callable[..., Reach], tmp_path: Path) -> None:
    reach(host("h1")).transport(Connection("local", "", "/x"))
    assert not (tmp_path / "cluster").exists()


def test_a_machine_without_ssh_is_told_what_to_install(reach: Callable[..., Reach], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(RayctlError, match="no `ssh` on this machine") as caught:
        reach(host("h1")).look([host("h1")])
    assert "openssh-client" in caught.value.hint


def test_a_plays_own_options_go_first_and_ride_on_no_other_master(reach: Callable[..., Reach]) -> None:
    plain, own = host("h1"), host("h1", options=("-o", "User=bob"))
    words = to(reach(own), own).rsh()
    assert words[1:4] == ["-o", "User=bob", "-F"]
    assert words[-1] == "h1"
    (path,) = [word for word in words if word.startswith("ControlPath")]
    assert to(reach(plain), plain).masters not in path


def test_requests_share_one_line_which_is_opened_anew_when_it_broke(reach: Callable[..., Reach], ssh: Path) -> None:
    transport = to(reach(host("h1")), host("h1"))
    ask = {"op": "lease_read"}
    assert [transport.ask(ask)["lease"], transport.ask(ask)["lease"]] == [None, None]
    assert len(calls(ssh)) == 1
    assert transport._line is not None
    os.killpg(transport._line.process.pid, signal.SIGKILL)
    transport._line.process.wait()
    assert transport.ask(ask)["lease"] is None
    assert len(calls(ssh)) == 2


def test_a_host_that_breaks_off_a_request_is_unreachable(reach: Callable[..., Reach], ssh: Path) -> None:
    (ssh / "h1.sh").write_text("echo 'ssh: connect to host h1 port 22: Connection refused' >&2; exit 255")
    with pytest.raises(Unreachable, match="nothing listens on its port 22"):
        to(reach(host("h1")), host("h1")).ask({"op": "token"})


def test_a_folder_for_files_that_belongs_to_somebody_else_is_not_written_to(
    reach: Callable[..., Reach], tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".rayctl/c").mkdir(parents=True)
    (tmp_path / ".rayctl/c/files").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "job.py").write_text("x")
    with pytest.raises(RayctlError, match=r"cannot copy .*/job.py to h1: .* is not ours alone"):
        to(reach(host("h1")), host("h1")).put(tmp_path / "job.py")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_cancel_where_nothing_runs_says_so(reach: Callable[..., Reach]) -> None:
    assert to(reach(host("h1")), host("h1")).cancel() is False


def test_what_a_host_refuses_is_raised(reach: Callable[..., Reach], tmp_path: Path) -> None:
    transport = to(reach(host("h1")), host("h1"))
    machine = transport.glance().machine_id
    folder = tmp_path / ".rayctl/c" / machine[:16]
    folder.mkdir(parents=True)
    (folder / "state.json").write_text("{}")
    folder.chmod(0o777)
    with pytest.raises(StateRefused):
        to(reach(host("h1")), host("h1")).probe("c/n")


# ---- looks
def test_all_hosts_are_looked_at_once(reach: Callable[..., Reach], ssh: Path) -> None:
    hosts = [host(f"h{number}") for number in range(20)]
    one = reach(*hosts)
    found = one.look(hosts)
    assert [isinstance(found[mine.name], Glance) for mine in hosts] == [True] * 20
    assert one.look(hosts[:3]) == {mine.name: found[mine.name] for mine in hosts[:3]}
    assert len(calls(ssh)) == 20
    one.forget()
    assert one.look(hosts[:1])["h0"] is not found["h0"]
    assert len(calls(ssh)) == 21


def test_what_a_change_was_not_about_stands(reach: Callable[..., Reach], ssh: Path) -> None:
    hosts = [host(f"h{number}") for number in range(3)]
    one = reach(*hosts)
    before = one.look(hosts)
    one.forget(["h1"])
    after = one.look(hosts)
    assert [after[name] is before[name] for name in ("h0", "h1", "h2")] == [True, False, True]
    assert len(calls(ssh)) == 4


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "GRACE_S", 0.3)
    monkeypatch.setattr(looks, "SLOW_S", 0.2)
    monkeypatch.setattr(looks, "PAUSE_S", 0.0)


@pytest.mark.usefixtures("impatient")
def test_a_silent_host_is_named_asked_no_more_and_heard_when_it_comes(
    reach: Callable[..., Reach], ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ssh / "h2.sh").write_text(f"while [ ! -e {ssh}/go ]; do sleep 0.05; done")
    hosts = [host("h1"), host("h2")]
    one = reach(*hosts)
    assert str(one.look(hosts)["h2"]) == "h2 did not answer while the others did"
    one.forget()
    assert isinstance(one.look(hosts)["h2"], Unreachable)
    assert len([call for call in calls(ssh) if " h2 " in call]) == 1
    one.forget(silent=True)
    assert isinstance(one.look(hosts)["h2"], Unreachable)
    assert len([call for call in calls(ssh) if " h2 " in call]) == 2
    assert one.late() == {}
    (ssh / "go").touch()
    one._looks["h2"].answer.result(10)
    assert isinstance(one.late()["h2"], Glance)
    monkeypatch.setattr(looks, "GRACE_S", 10.0)
    one.forget()
    assert isinstance(one.look(hosts)["h2"], Glance)


@pytest.mark.usefixtures("impatient")
def test_a_silent_host_gives_its_place_to_those_who_wait(
    reach: Callable[..., Reach], ssh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looks, "AT_ONCE", 1)
    monkeypatch.setattr(looks, "GRACE_S", 2.0)
    (ssh / "h1.sh").write_text("exec sleep 30")
    hosts = [host("h1"), host("h2"), host("h3")]
    found = reach(*hosts).look(hosts)
    assert [isinstance(found[name], Glance) for name in ("h2", "h3")] == [True, True]
    assert str(found["h1"]) == "h1 did not answer while the others did"


@pytest.mark.usefixtures("impatient")
def test_the_end_of_an_operation_ends_what_still_waits(reach: Callable[..., Reach], ssh: Path) -> None:
    (ssh / "h2.sh").write_text("exec sleep 973")
    hosts = [host("h1"), host("h2")]
    one = reach(*hosts)
    one.look(hosts)
    one.close()
    with pytest.raises(Unreachable):
        one._looks["h2"].answer.result(10)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("said", ["kex_exchange_identification: read: Connection reset by peer", "mux_client_x: Broken pipe"])
def test_a_connection_that_breaks_at_its_beginning_is_tried_once_more(
    reach: Callable[..., Reach], ssh: Path, said: str
) -> None:
    (ssh / "h1.sh").write_text(f"[ -e {ssh}/again ] || {{ touch {ssh}/again; echo '{said}' >&2; exit 255; }}")
    assert isinstance(reach(host("h1")).look([host("h1")])["h1"], Glance)
    assert len(calls(ssh)) == 2


@pytest.mark.usefixtures("impatient")
def test_why_those_on_the_way_failed_is_asked_without_a_master(reach: Callable[..., Reach], ssh: Path) -> None:
    (ssh / "h1.sh").write_text(
        'case $* in *ControlPath=none*) echo "me@b: Permission denied (publickey)." >&2;; esac; '
        "echo 'Connection closed by UNKNOWN port 65535' >&2; exit 255"
    )
    found = reach(host("h1", proxy_jump="me@b")).look([host("h1", proxy_jump="me@b")])["h1"]
    assert str(found).startswith("on the way to h1, b: it does not let me in")


def test_a_refusal_is_told_at_once_and_not_repeated(reach: Callable[..., Reach], ssh: Path) -> None:
    (ssh / "h1.sh").write_text("echo 'ray@h1: Permission denied (publickey).' >&2; exit 255")
    assert "it does not let ray in" in str(reach(host("h1")).look([host("h1")])["h1"])
    assert len(calls(ssh)) == 1


def test_one_goes_ahead_through_a_bastion_so_that_the_others_find_its_master(reach: Callable[..., Reach], ssh: Path) -> None:
    mark = ssh / "first-is-through"
    (ssh / "h1.sh").write_text(f"sleep 0.2; touch {mark}")
    for name in ("h2", "h3"):
        (ssh / f"{name}.sh").write_text(f"[ -e {mark} ] || exit 255")
    hosts = [host(name, proxy_jump="b") for name in ("h1", "h2", "h3")]
    assert all(isinstance(answer, Glance) for answer in reach(*hosts).look(hosts).values())


def test_a_host_that_answers_something_else_is_no_traceback(reach: Callable[..., Reach], ssh: Path) -> None:
    (ssh / "h1.sh").write_text("echo 'This account is not available.'; exit 1")
    (ssh / "h2.sh").write_text("echo hello; exit 0")
    found = reach(host("h1"), host("h2")).look([host("h1"), host("h2")])
    assert all(isinstance(answer, Unreachable) for answer in found.values())


@pytest.mark.parametrize(
    ("times", "end"),
    [
        ([(0.0, None), (1.0, None)], 31.0),  # nobody answered yet
        ([(0.0, 0.1), (0.0, None)], 3.1),  # the grace
        ([(0.0, 4.0), (0.0, None)], 12.0),  # where all are slow, more
        ([(0.0, 0.5), (2.0, None)], 5.0),  # who was asked late has his time too
        ([(0.0, 0.5), (None, None)], float("inf")),  # and who was not asked yet cannot be late
    ],
)
def test_how_long_silent_hosts_are_waited_for(times: Sequence[tuple[float | None, float | None]], end: float) -> None:
    assert looks.deadline(times) == pytest.approx(end)
