# SPDX-License-Identifier: Apache-2.0
"""A look without Python says the same as the node's own code, in every shell, and believes nobody more than that does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayctl.errors import StateRefused, Unreachable
from rayctl.node import claim, control, launched, lease, probe, processes, state
from rayctl.node.claims import Board, Claim
from rayctl.transport import glance
from rayctl.transport.glance import Glance

SHELLS = [shell for shell in (["/bin/sh"], ["bash", "--posix"], ["bash"], ["busybox", "sh"]) if shutil.which(shell[0])]
ANNA = 61001
MARK = "id-demo/h1"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class Host:
    """This machine, with a folder of claims and a home of its own."""

    def __init__(self, folder: Path) -> None:
        self.place, self.state_dir = folder / "claims", str(folder / "home" / ".rayctl" / "demo")
        self.place.mkdir()
        self.place.chmod(0o1777)

    @property
    def folder(self) -> Path:
        """The node's own."""
        return Path(state.folder_of(self.state_dir))

    def take(self, **changes: Any) -> Claim:
        """Claim it."""
        wanted = claim.Request("demo", "h1", "head", "cpu", "anna@laptop", {}, {}, {}, cluster_id="id-demo", token="t")
        got = claim.take(self.state_dir, wanted._replace(**changes), str(self.place))
        assert isinstance(got, Claim)
        return got

    def remember(self, *alive: processes.Process, **changes: Any) -> None:
        """What a run leaves, with these processes as its Ray."""
        known = state.NodeState(str(self.folder), *MARK.split("/"))
        known.mounts, known.steps = {"/m": "v1:0"}, [{"digest": "v1:1", "name": "one", "command": "[ 1 = 1 ] && true"}]
        known.ray = {
            "digest": "d", "boot_id": processes.boot_id(), "processes": [list(p[:3]) for p in alive], "head": None,
            "port": 6379, "versions": "", **changes,
        }  # fmt: skip
        state.make_private(str(self.folder))
        known.save()

    def change(self, **changes: Any) -> None:
        """Rewrite our own claim."""
        board = Board(str(self.place))
        mine = board.mine()
        assert mine is not None
        board.write(mine._replace(**changes))

    def look(self, shell: list[str] = SHELLS[0], **named: Any) -> Glance:
        """Look at it."""
        return glance.parse(self.run(shell, **named))

    def run(self, shell: list[str] = SHELLS[0], **named: Any) -> bytes:
        command = glance.command(self.state_dir, place=str(self.place), **named)
        done = subprocess.run([*shell, "-c", command], capture_output=True, check=True, timeout=60)
        assert done.stderr == b""
        return done.stdout

    def seen(self, mark: str = MARK) -> dict[str, Any]:
        """What the look says of the node."""
        return timeless(glance.seen(self.look(), mark))

    def probed(self, mark: str = MARK) -> dict[str, Any]:
        """What the node says of itself."""
        return timeless(probe.look(self.state_dir, mark))


def timeless(answer: dict[str, Any]) -> dict[str, Any]:
    """Without the uptime, which goes on meanwhile."""
    return {key: value for key, value in answer.items() if key != "uptime"}


@pytest.fixture
def host() -> Iterator[Host]:
    """A host in a place where other users can get to."""
    folder = Path(tempfile.mkdtemp(prefix="rayctl-glance-"))
    folder.chmod(0o755)
    yield Host(folder)
    shutil.rmtree(folder)


@pytest.fixture
def child() -> Iterator[Callable[..., processes.Process]]:
    """Processes, of other users too."""
    children = []

    def start(**named: Any) -> processes.Process:
        children.append(subprocess.Popen(["sleep", "60"], **named))
        return begun(children[-1].pid)

    yield start
    for one in children:
        one.kill()
        one.wait()


def found(pid: int) -> processes.Process:
    """A process that lives."""
    process = processes.find(pid)
    assert process is not None
    return process


def begun(pid: int) -> processes.Process:
    """A process that we started, once it has a name of its own."""
    while (process := found(pid)).name == me().name:
        time.sleep(0.001)
    return process


def me() -> processes.Process:
    """This process."""
    return found(os.getpid())


# ---- what it says
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_shell_tells_the_same(host: Host, shell: list[str]) -> None:
    host.take()
    host.remember(me())
    control.publish(str(host.folder))
    lease.compare_and_set(str(host.folder), 0, {"generation": 1, "token": "x"})
    seen = host.look(shell)
    assert (seen.machine_id, seen.boot_id, seen.uid) == (processes.machine_id(), processes.boot_id(), os.geteuid())
    assert seen.uptime == pytest.approx(processes.uptime(), abs=5)
    assert seen.hostname == os.uname().nodename
    assert (seen.claims, seen.refused) == ((seen.mine,), {})
    assert seen.private == launched.read(str(host.folder))
    assert seen.runner == control.living_runner(str(host.folder))
    assert seen.lease == {"generation": 1, "token": "x"}
    assert timeless(glance.seen(seen, MARK)) == host.probed()
    assert host.probed()["broken"] is None
    assert [seen.alive(me().pid, started) for started in (me().started, me().started + 1)] == [True, False]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_host_that_knows_nothing_of_us_says_so(host: Host, shell: list[str]) -> None:
    seen = host.look(shell)
    assert (seen.claims, seen.mine, seen.private, seen.state, seen.runner, seen.lease, seen.refused) == (
        (), None, None, None, None, None, {},
    )  # fmt: skip
    host.place.rmdir()
    assert host.look(shell).claims == ()


def test_a_chatty_login_shell_does_no_harm(host: Host) -> None:
    host.take()
    quiet = host.run()
    assert replace(glance.parse(b"Welcome!\n$ " + quiet + b"\x1erayctl end\nBye\n")) == glance.parse(quiet)


@pytest.mark.parametrize("cut", [0, 1, 40, 400, -2])
def test_an_answer_that_broke_off_is_none(host: Host, cut: int) -> None:
    host.take()
    with pytest.raises(Unreachable, match="broke off"):
        glance.parse(host.run()[:cut])


def test_a_home_is_meant_where_the_command_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path(host.state_dir).parents[1]))
    host.take()
    host.state_dir = "~/.rayctl/demo"
    assert host.look().private is not None


@pytest.mark.parametrize("name", ["it's", "a b", "$(touch x)", "-n", "two\nlines", "é", "a:b"])
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_odd_folders_are_data(host: Host, name: str, shell: list[str]) -> None:
    host.state_dir += "/" + name
    host.take()
    assert host.look(shell).private == launched.read(str(host.folder))


def test_a_machine_without_an_id_of_its_own_is_looked_at_again_with_that_of_its_name(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    without = host.run().replace(processes.machine_id().encode(), b"")
    assert glance.parse(without).machine_id == ""
    other = glance.machine_of("some-host")
    monkeypatch.setattr(processes, "machine_id", lambda: other)
    host.take()
    host.remember(me())
    assert glance.seen(host.look(machine=other), MARK)["broken"] is None


# ---- the same as on the node
@pytest.mark.parametrize("mark", [MARK, "id-demo/h2", "id-other/h1"])
@pytest.mark.parametrize("changes", [{}, {"boot_id": "b"}, {"processes": [[1, 1, "raylet"]]}, {"processes": [["1", 1, "x"]]}])
def test_a_node_is_seen_as_it_sees_itself(host: Host, mark: str, changes: dict[str, Any]) -> None:
    host.remember(me(), **changes)
    assert host.seen(mark) == host.probed(mark)


def test_a_process_that_ended_is_missed(host: Host, child: Callable[..., processes.Process]) -> None:
    host.remember(me(), child())
    assert host.seen()["broken"] is None
    host.remember(me(), child()._replace(started=1))
    assert host.seen() == host.probed()
    assert host.seen()["broken"] == "its sleep is not running"


def test_a_zombie_is_none(host: Host) -> None:
    dead = subprocess.Popen(["sleep", "60"])
    host.remember(begun(dead.pid))
    dead.kill()
    os.waitid(os.P_PID, dead.pid, os.WEXITED | os.WNOWAIT)
    assert host.seen()["broken"] == host.probed()["broken"] == "its sleep is not running"
    dead.wait()


@pytest.mark.parametrize("name", ["a) S 1 (b", "\x1erayctl end", "new\nline"])
def test_odd_names_of_processes_are_names(host: Host, name: str, tmp_path: Path) -> None:
    shutil.copy(str(shutil.which("sleep")), tmp_path / name)
    odd = subprocess.Popen([tmp_path / name, "60"])
    try:
        host.remember(begun(odd.pid))
        assert host.seen() == host.probed()
        assert host.seen()["broken"] is None
    finally:
        odd.kill()
        odd.wait()


def test_what_looks_after_the_head_counts_while_it_lives(host: Host, child: Callable[..., processes.Process]) -> None:
    host.remember(me())
    watch = child()
    known = state.NodeState(str(host.folder), *MARK.split("/")).load()
    known.watch = {
        "pid": watch.pid, "started": watch.started, "boot_id": processes.boot_id(), "timeout_s": 60.0, "digest": "d",
    }  # fmt: skip
    known.save()
    assert host.seen() == host.probed()
    assert host.seen()["watch_s"] == 60.0
    os.kill(watch.pid, signal.SIGKILL)
    assert host.seen()["watch_s"] == host.probed()["watch_s"] == 0.0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=40)
@given(
    name=st.sampled_from(["state.json", "runner.json"]),
    key=st.sampled_from(["version", "mounts", "steps", "ray", "ray_stale", "watch", "pid", "started", "node"]),
    value=JSON,
)
def test_damage_is_seen_alike(host: Host, name: str, key: str, value: Any) -> None:
    host.remember(me())
    control.publish(str(host.folder))
    path = host.folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert outcome(host.seen) == outcome(host.probed)


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\n\x1erayctl end\n", b'{"version": 2}', b"\n\n", b'"\xc3"', b"[" * 9999]
)
@pytest.mark.parametrize("name", ["state.json", "runner.json", "claim.json", "lease.json"])
def test_no_content_is_more_than_content(host: Host, name: str, text: bytes) -> None:
    host.take()
    host.remember(me())
    (host.folder / name).write_bytes(text)
    assert outcome(host.seen) == outcome(host.probed)
    seen = host.look()
    assert (seen.private is None, seen.lease) == (name == "claim.json", None)
    newer_or_lost = b"2" in text or name == "lease.json"
    assert (name in seen.refused) is newer_or_lost


@pytest.mark.parametrize("what", ["", "state.json", "runner.json"])
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_what_others_can_write_to_is_refused(host: Host, what: str, mode: int) -> None:
    host.remember(me())
    control.publish(str(host.folder))
    (host.folder / what).chmod(mode)
    assert outcome(host.seen) == outcome(host.probed)
    assert "can be written by others" in outcome(host.seen)


@needs_root
@pytest.mark.parametrize("what", ["", "state.json", "runner.json"])
def test_what_belongs_to_somebody_else_is_refused(host: Host, what: str) -> None:
    host.remember(me())
    control.publish(str(host.folder))
    os.chown(host.folder / what, ANNA, ANNA)
    assert outcome(host.seen) == outcome(host.probed)
    assert "belongs to someone else" in outcome(host.seen)


def test_links_are_not_followed(host: Host, tmp_path: Path) -> None:
    host.remember(me())
    (host.folder / "state.json").rename(tmp_path / "real")
    (host.folder / "state.json").symlink_to(tmp_path / "real")
    with pytest.raises(StateRefused, match="is a symlink"):
        host.seen()
    host.folder.rename(tmp_path / "folder")
    host.folder.symlink_to(tmp_path / "folder")
    assert outcome(host.seen) == outcome(host.probed)


def test_a_pipe_in_a_files_place_holds_nobody(host: Host) -> None:
    host.take()
    os.mkfifo(host.folder / "state.json")
    os.mkfifo(host.place / "rayctl-claim.61001")
    assert host.seen() == host.probed()


def outcome(look: Callable[[], dict[str, Any]]) -> Any:
    """What a look says, be it a refusal."""
    try:
        return look()
    except (StateRefused, state.NodeError) as refusal:
        return str(refusal)


# ---- claims
def test_our_own_claim_is_told_with_what_remains(host: Host) -> None:
    taken = host.take()
    mine = host.look().mine
    assert mine is not None
    assert (mine.uid, mine.cluster_id, mine.generation, mine.holds) == (os.geteuid(), "id-demo", 1, True)
    assert {key: getattr(mine, key) for key in Claim._fields} == taken._asdict()
    assert mine.remaining_s == pytest.approx(claim.CLAIM_S, abs=5)


@pytest.mark.parametrize(
    ("change", "holds"),
    [({"expires": 0.0}, False), ({"boot_id": "b"}, False), ({"expires": 0.0, "processes": (tuple(me()[:3]),)}, True)],
)
def test_it_holds_as_long_as_the_node_thinks_so(host: Host, change: dict[str, Any], holds: bool) -> None:
    host.take()
    host.change(**change)
    mine = host.look().mine
    assert mine is not None
    assert (mine.holds, mine.remaining_s) == (holds, 0.0)


def test_our_own_claim_holds_while_our_ray_runs(host: Host) -> None:
    host.take(ttl_s=0.0)
    host.remember(me())
    mine = host.look().mine
    assert mine is not None
    assert (mine.holds, mine.processes) == (True, ())


def test_a_public_half_that_a_cleaner_took_is_missed_only_without_our_ray(host: Host) -> None:
    host.take()
    (host.place / f"rayctl-claim.{os.geteuid()}").unlink()
    assert host.look().mine is None
    host.remember(me())
    mine = host.look().mine
    assert mine is not None
    assert (mine.cluster, mine.cluster_id, mine.node, mine.holds) == ("demo", "id-demo", "h1", True)


@needs_root
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_everybodys_claims_are_told_and_whether_they_hold(
    host: Host, child: Callable[..., processes.Process], shell: list[str]
) -> None:
    theirs = child(user=ANNA, group=ANNA, extra_groups=[])
    for uid, process in ((ANNA, theirs), (ANNA + 1, theirs), (ANNA + 2, me())):
        stored(host, uid, expires=0.0, processes=[list(process[:3])])
    stored(host, ANNA + 3, expires=1e9)
    told = {claim.uid: (claim.holds, claim.user) for claim in host.look(shell).claims}
    assert told == {uid: (uid in (ANNA, ANNA + 3), "UNKNOWN") for uid in range(ANNA, ANNA + 4)}


@needs_root
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_hostile_claims_forge_nothing(host: Host, shell: list[str]) -> None:
    host.take()
    short = host.folder.name
    forged = f"stat:0 81a4 10 root rayctl-claim.0\n{short}/state.json:{{}}\nrayctl-claim.0:{{}}\n\x1erayctl end\nuid:5\n[1[1[0"
    for number, text in enumerate([forged, "\x1erayctl end", "{" * 70000, "[1, 1, " * 9000, "\xff\n" * 100, "no newline"]):
        stored(host, ANNA + number, text=text)
    stored(host, ANNA + 9, expires=1e9)
    seen = host.look(shell)
    assert {claim.uid for claim in seen.claims} == {os.geteuid(), ANNA + 9}
    assert (seen.uid, seen.state, seen.refused) == (os.geteuid(), None, {})


@needs_root
def test_a_claim_that_its_user_did_not_write_counts_as_none(host: Host) -> None:
    for uid, owner, mode in ((ANNA, ANNA + 1, 0o644), (ANNA + 2, ANNA + 2, 0o664), (ANNA + 3, 0, 0o644)):
        os.chown(stored(host, uid, expires=1e9), owner, owner)
        (host.place / f"rayctl-claim.{uid}").chmod(mode)
    (host.place / f"rayctl-claim.{ANNA + 4}").symlink_to(stored(host, ANNA + 5, expires=1e9))
    (host.place / f"rayctl-claim.{ANNA + 6}").mkdir()
    assert [claim.uid for claim in host.look().claims] == [ANNA + 5]
    assert [claim.uid for claim in Board(str(host.place)).others()] == [ANNA + 5]


def test_a_flood_of_junk_hides_nothing_of_ours(host: Host) -> None:
    host.take()
    for number in range(10_000):  # more than fits into a command line
        (host.place / f"rayctl-claim.{10**239 + number}").touch()
    assert host.look().mine is not None


@pytest.mark.parametrize("name", ["rayctl-claim.x y", "rayctl-claim.$(id)", "rayctl-claim.", "rayctl-claim.0\n7"])
def test_odd_names_of_claims_are_nobodys(host: Host, name: str) -> None:
    (host.place / name).write_text("junk")
    host.take()
    assert len(host.look().claims) == 1


def test_a_newer_claim_of_ours_is_refused_and_others_are_read(host: Host) -> None:
    host.take()
    path = host.place / f"rayctl-claim.{os.geteuid()}"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    seen = host.look()
    assert seen.mine is None
    assert "written by a newer rayctl" in seen.refused[path.name]


def stored(host: Host, uid: int, text: str | None = None, **changes: Any) -> Path:
    """A public claim of another user."""
    claim = {
        "version": 1, "kind": "claim", "cluster": "theirs", "cluster_id": "i", "node": "n", "node_kind": "head", "type": "t",
        "owner": "o", "since": 1.0, "generation": 1, "boot_id": processes.boot_id(), "expires": 1.0, "processes": [], **changes,
    }  # fmt: skip
    path = host.place / f"rayctl-claim.{uid}"
    path.write_text(json.dumps(claim) if text is None else text)
    path.chmod(0o644)
    os.chown(path, uid, uid)
    return path


# ---- scalers
@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_look_tells_as_whom_and_where_and_which_keys_only_if_asked(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shell: list[str]
) -> None:
    keys = "ssh-rsa AAAA me\nno-pty ssh-ed25519 BBBB rayctl:id-1\nssh-rsa uid:0 rayctl:id-2\n"
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "authorized_keys").write_text(keys)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 50000 10.0.0.1 2200")
    seen = host.look(shell, keys=True)
    assert seen.port == 2200
    assert seen.keys == ("no-pty ssh-ed25519 BBBB rayctl:id-1", "ssh-rsa uid:0 rayctl:id-2")
    assert seen.uid == os.geteuid()
    assert host.look(shell).keys == ()
    monkeypatch.delenv("SSH_CONNECTION")
    assert host.look(shell).port == 0


@pytest.mark.parametrize(("service", "name"), [("system", "daemon.json"), ("supervisor", "supervisor.json")])
def test_a_look_tells_of_the_scaler_and_whether_it_runs(
    host: Host, child: Callable[..., processes.Process], service: str, name: str
) -> None:
    assert host.look().scaler is None
    state.make_private(str(host.folder))
    record = {"version": 1, "kind": "scaler", "service": service, "bundle": "b"}
    state.write(str(host.folder / "scaler.json"), record)
    assert host.look().scaler == {**record, "alive": False}
    who = child()
    state.write(str(host.folder / name), {"version": 1, "kind": "scaler", "pid": who.pid, "started": who.started})
    assert host.look().scaler == {**record, "alive": True}
    state.write(str(host.folder / name), {"version": 1, "kind": "scaler", "pid": who.pid, "started": who.started + 1})
    assert host.look().scaler == {**record, "alive": False}
    (host.folder / "scaler.json").chmod(0o666)
    seen = host.look()
    assert seen.scaler is None
    assert "scaler.json" in seen.refused
