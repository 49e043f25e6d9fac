# SPDX-License-Identifier: Apache-2.0
"""Taking a host and keeping it: one cluster has it, whoever asks, and it is known again after a reboot."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from claim_bench import ANNA, BOB, NOBODY_LIVES, Host, as_user, killed_at, myself, needs_root, start_as
from node_bench import eventually

from rayctl.node import claim, launched, processes, state
from rayctl.node.claims import Claim
from rayctl.node.state import NodeError

ANOTHER_BOOT = "00000000-0000-0000-0000-000000000000"


@pytest.fixture
def marked() -> Iterator[Callable[[str], processes.Process]]:
    """Processes that bear a node's mark."""
    children = []

    def start(mark: str) -> processes.Process:
        child = subprocess.Popen(["sleep", "60"], env={processes.RAY: mark}, start_new_session=True)
        children.append(child)
        return next(iter(eventually(lambda: processes.marked(mark))))

    yield start
    for child in children:
        child.kill()
        child.wait()


# ---- a free host
def test_a_free_host_is_taken_and_everybody_can_read_by_whom(host: Host) -> None:
    got = host.taken()
    assert (got.cluster, got.cluster_id, got.node, got.node_kind, got.owner) == ("demo", "id-demo", "h1", "head", "anna@laptop")
    assert (got.generation, got.boot_id, got.processes) == (1, processes.boot_id(), ())
    assert got.expires - processes.uptime() == pytest.approx(claim.CLAIM_S, abs=5)
    assert host.file().stat().st_mode & 0o7777 == 0o644
    assert host.board.mine() == got


def test_the_token_and_what_was_launched_are_nobody_elses_business(host: Host) -> None:
    host.taken(tags={"a": "b"})
    assert "token-1" not in host.file().read_text()
    private = launched.read(str(host.folder()))
    assert private is not None
    assert (private["token"], private["resources"], private["tags"]) == ("token-1", {"CPU": 4.0}, {"a": "b"})
    assert (host.folder() / launched.FILE).stat().st_mode & 0o7777 == 0o600
    assert host.folder().stat().st_mode & 0o7777 == 0o700


def test_the_same_request_again_only_renews(host: Host) -> None:
    first = host.taken(ttl_s=10.0)
    private = launched.read(str(host.folder()))
    again = host.taken()
    assert again == first._replace(expires=again.expires)
    assert again.expires > first.expires
    assert launched.read(str(host.folder())) == private


def test_another_token_for_a_claim_that_holds_is_refused(host: Host) -> None:
    host.taken()
    with pytest.raises(NodeError, match="a node of the cluster demo already, launched with another token"):
        host.take(token="token-2")
    assert launched.read(str(host.folder()))["token"] == "token-1"  # type: ignore[index]


def test_another_token_for_a_claim_that_ran_out_is_a_new_launch(host: Host) -> None:
    host.taken(ttl_s=0.0)
    assert host.taken(token="token-2").generation == 2
    assert launched.read(str(host.folder()))["token"] == "token-2"  # type: ignore[index]


# ---- founding
def test_who_founds_first_decides_the_identity(host: Host) -> None:
    assert host.taken(cluster_id="", proposed="id-1", token="").cluster_id == "id-1"
    assert host.taken(cluster_id="", proposed="id-2", token="").cluster_id == "id-1"


def test_a_founded_host_is_no_node_until_it_is_launched(host: Host) -> None:
    founded = host.taken(cluster_id="", proposed="id-demo", token="", resources={})
    assert launched.read(str(host.folder()))["token"] == ""  # type: ignore[index]
    assert host.taken().generation == founded.generation
    private = launched.read(str(host.folder()))
    assert private is not None
    assert (private["token"], private["resources"]) == ("token-1", {"CPU": 4.0})


@pytest.mark.parametrize("change", [{"expires": 0.0}, {"boot_id": ANOTHER_BOOT}])
def test_the_identity_stays_through_reboots_and_long_silence(host: Host, change: dict[str, object]) -> None:
    host.taken()
    host.change(**change)
    again = host.taken(cluster_id="", proposed="id-2", token="")
    assert (again.cluster_id, again.generation, again.boot_id) == ("id-demo", 2, processes.boot_id())


@pytest.mark.parametrize("change", [{"cluster": "other"}, {"node_kind": "worker"}])
def test_what_the_host_was_for_others_founds_nothing(host: Host, change: dict[str, str]) -> None:
    host.taken(ttl_s=0.0)
    assert host.taken(**{"cluster_id": "", "proposed": "id-2", "token": "", **change}).cluster_id == "id-2"


# ---- a host that is taken
@pytest.mark.parametrize("change", [{"cluster": "other", "cluster_id": "id-other"}, {"cluster_id": "id-of-another-founder"}])
def test_our_other_cluster_comes_second(host: Host, change: dict[str, str]) -> None:
    first = host.taken()
    held = host.refused(**change)
    assert held.claim == first
    assert 0 < held.remaining_s <= claim.CLAIM_S
    assert not (host.homes / str(os.geteuid()) / ".rayctl" / "other").exists()


def test_it_takes_over_once_the_first_claim_ran_out(host: Host) -> None:
    host.taken(ttl_s=0.0)
    assert host.taken(cluster="other", cluster_id="id-other").generation == 2


def test_a_claim_holds_while_a_process_lives_that_it_names(host: Host) -> None:
    host.taken(ttl_s=0.0)
    host.change(processes=(NOBODY_LIVES, myself()))
    held = host.refused(cluster="other", cluster_id="id-other")
    assert (held.claim.cluster, held.remaining_s) == ("demo", 0.0)


def test_a_pid_that_was_given_to_someone_else_holds_nothing(host: Host) -> None:
    pid, started, name = myself()
    host.taken(ttl_s=0.0)
    host.change(processes=((pid, started - 1, name),))
    host.taken(cluster="other", cluster_id="id-other")


def test_after_a_reboot_nothing_holds(host: Host) -> None:
    host.taken()
    host.change(boot_id=ANOTHER_BOOT, processes=(myself(),))
    host.taken(cluster="other", cluster_id="id-other")


def test_our_own_claim_holds_while_marked_processes_run(host: Host, marked: Callable[[str], processes.Process]) -> None:
    host.taken(ttl_s=0.0)
    marked("id-demo/h1")
    assert host.refused(cluster="other", cluster_id="id-other").remaining_s == 0.0


def test_a_public_half_that_a_cleaner_took_is_written_again(host: Host, marked: Callable[[str], processes.Process]) -> None:
    host.taken()
    marked("id-demo/h1")
    host.file().unlink()
    assert host.refused(cluster="other", cluster_id="id-other").claim.cluster == "demo"
    assert not host.file().exists()
    host.record(myself())
    mine = host.board.mine()
    assert mine is not None
    assert (mine.cluster_id, mine.node, mine.type, mine.generation) == ("id-demo", "h1", "cpu", 1)
    assert (mine.boot_id, mine.processes) == (processes.boot_id(), (myself(),))


def test_without_its_processes_a_lost_public_half_frees_the_host(host: Host) -> None:
    host.taken()
    host.file().unlink()
    host.taken(cluster="other", cluster_id="id-other")


# ---- keeping it
def test_a_run_names_its_processes_beside_those_that_still_live(host: Host) -> None:
    first = host.taken(ttl_s=1.0)
    host.change(processes=(NOBODY_LIVES, myself()))
    host.record((1, 2, "raylet"))
    mine = host.board.mine()
    assert mine is not None
    assert mine.processes == (myself(), (1, 2, "raylet"))
    assert mine.expires > first.expires
    assert mine.generation == 1


@pytest.mark.parametrize(("change", "generation"), [({"expires": 0.0}, 1), ({"boot_id": ANOTHER_BOOT}, 2)])
def test_a_claim_that_ran_out_goes_on_where_nobody_else_came(host: Host, change: dict[str, object], generation: int) -> None:
    host.taken()
    host.change(**change)
    claim.ours(host.state_dir(), "id-demo", str(host.place))
    host.record()
    mine = host.board.mine()
    assert mine is not None
    assert (mine.generation, mine.boot_id) == (generation, processes.boot_id())
    assert mine.expires > processes.uptime()


def test_a_host_that_is_free_is_no_node(host: Host) -> None:
    with pytest.raises(NodeError, match="this host is no node of this cluster: it is free"):
        claim.ours(host.state_dir(), "id-demo", str(host.place))


def test_a_host_of_our_other_cluster_is_no_node_of_this_one(host: Host) -> None:
    host.taken(cluster="other", cluster_id="id-other")
    with pytest.raises(NodeError, match="claimed by anna@laptop for the cluster other of user"):
        host.record()


def test_tags_are_added_and_replaced(host: Host) -> None:
    host.taken(tags={"a": "1", "b": "1"})
    claim.set_tags(host.state_dir(), "id-demo", {"b": "2", "c": "2"}, str(host.place))
    host.taken()
    assert launched.read(str(host.folder()))["tags"] == {"a": "1", "b": "2", "c": "2"}  # type: ignore[index]


def test_tags_need_a_node(host: Host) -> None:
    with pytest.raises(NodeError, match="is free"):
        claim.set_tags(host.state_dir(), "id-demo", {}, str(host.place))


@pytest.mark.parametrize("damage", ["{", "[]", '{"version": 1}', '{"version": 1, "kind": "claim-token", "cluster_id": 5}'])
def test_a_broken_private_half_counts_as_none(host: Host, damage: str) -> None:
    host.taken()
    (host.folder() / launched.FILE).write_text(damage)
    assert launched.read(str(host.folder())) is None
    host.taken(token="token-2")


def test_what_a_newer_rayctl_wrote_is_refused(host: Host) -> None:
    host.taken()
    for path in (host.file(), host.folder() / launched.FILE):
        old = path.read_text()
        path.write_text(json.dumps({**json.loads(old), "version": 2}))
        with pytest.raises(NodeError, match="written by a newer rayctl"):
            host.take()
        path.write_text(old)


# ---- killed in the middle
def test_a_kill_at_any_moment_leaves_the_old_claim_or_the_new_one(host: Host) -> None:
    old = host.taken(ttl_s=0.0)
    call = 1
    while killed_at(call, lambda: host.take(token="token-2", type="gpu")):
        found = host.board.mine()
        assert found is not None
        assert found == old or (found.type, found.generation) == ("gpu", 2)
        call += 1
    assert call > 8
    done = host.board.mine()
    assert done is not None
    assert done.generation == 2


def test_what_a_killed_one_left_is_removed_by_the_next_and_stops_nobody(host: Host) -> None:
    call = 1
    while killed_at(call, host.take):
        assert host.taken().generation == 1
        assert [path.name for path in host.place.iterdir()] == [host.file().name]
        host.file().unlink()
        (host.folder() / launched.FILE).unlink()
        call += 1
    assert call > 8


# ---- other users
@needs_root
def test_another_users_claim_holds_by_time(host: Host) -> None:
    first = as_user(ANNA, host.taken)
    held = as_user(BOB, lambda: host.refused(cluster_id="id-bob"))
    assert (held.claim, held.user) == (first, str(ANNA))
    assert held.remaining_s > 800
    assert not host.file(BOB).exists()
    assert not (host.homes / str(BOB)).exists()


@needs_root
def test_one_cluster_under_two_users_comes_second_too(host: Host) -> None:
    as_user(ANNA, host.taken)
    assert as_user(BOB, host.refused).claim.uid == ANNA


@needs_root
def test_another_users_claim_holds_while_their_process_runs(host: Host) -> None:
    as_user(ANNA, lambda: host.taken(ttl_s=0.0))
    child = subprocess.Popen(["sleep", "60"], user=ANNA, group=ANNA, extra_groups=[])
    try:
        found = eventually(lambda: (p := processes.find(child.pid)) and p.name == "sleep" and p)
        as_user(ANNA, lambda: host.change(processes=(found[:3],)))
        assert as_user(BOB, host.refused).remaining_s == 0.0
    finally:
        child.kill()
        child.wait()
    assert as_user(BOB, host.taken).generation == 1


@needs_root
def test_a_process_of_a_third_user_holds_nothing(host: Host) -> None:
    me = myself()
    as_user(ANNA, lambda: host.taken(ttl_s=0.0))
    as_user(ANNA, lambda: host.change(processes=(me,)))
    as_user(BOB, host.taken)


@needs_root
def test_a_claim_that_ran_out_and_was_taken_by_another_user_is_no_longer_ours(host: Host) -> None:
    as_user(ANNA, lambda: host.taken(ttl_s=0.0))
    as_user(BOB, lambda: host.taken(owner="bob@desk", cluster="bobs", cluster_id="id-bobs"))
    with pytest.raises(NodeError, match=f"claimed by bob@desk for the cluster bobs of user {BOB}"):
        as_user(ANNA, host.record)


@needs_root
def test_of_two_users_who_race_exactly_one_gets_the_host(host: Host) -> None:
    for turn in range(50):
        start = time.monotonic() + 0.01

        def race(start: float = start, turn: int = turn) -> bool:
            while time.monotonic() < start:
                pass
            return isinstance(host.take(token=f"token-{turn}"), Claim)

        waiting = [start_as(uid, race) for uid in (ANNA, BOB)]
        assert sorted(result() for result in waiting) == [False, True]
        for uid in (ANNA, BOB):
            host.file(uid).unlink(missing_ok=True)


def test_of_two_clusters_of_one_user_that_race_exactly_one_gets_the_host(host: Host) -> None:
    def race(name: str) -> Callable[[], bool]:
        return lambda: isinstance(host.take(cluster=name, cluster_id=name), Claim)

    for _ in range(20):
        waiting = [start_as(os.geteuid(), race(name)) for name in ("one", "two")]
        assert sorted(result() for result in waiting) == [False, True]
        host.file().unlink()


def test_a_lock_that_is_never_free_is_a_sentence(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "LOCK_S", 0.05)
    holder = os.open(host.place, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        with pytest.raises(NodeError, match=rf"holds the lock on {host.place} for more than 0.05 s; lslocks shows which"):
            host.take()
    finally:
        os.close(holder)
