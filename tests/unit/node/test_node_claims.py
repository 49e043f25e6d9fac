# SPDX-License-Identifier: Apache-2.0
"""What counts as a user's claim: nobody forges another's, and junk keeps nobody out."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from claim_bench import ANNA, BOB, Host, as_user, myself, needs_root
from hypothesis import given
from hypothesis import strategies as st

from rayctl.node import claims
from rayctl.node.claims import Claim
from rayctl.node.state import NodeError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def document(**changes: Any) -> dict[str, Any]:
    """A sound claim as it is stored."""
    return {
        "version": 1, "kind": "claim", "cluster": "demo", "cluster_id": "id-demo", "node": "h1", "node_kind": "head",
        "type": "cpu", "owner": "anna@laptop", "since": 1.5, "generation": 1, "boot_id": "b", "expires": 100.0,
        "processes": [[7, 8, "raylet"]], **changes,
    }  # fmt: skip


def never(pid: int, started: int, uid: int) -> bool:
    """No process lives."""
    return False


# ---- contents
def test_what_is_stored_is_read_back() -> None:
    claim = claims.parse(document(), 7)
    assert claim == Claim(
        7, "demo", "id-demo", "h1", "head", "cpu", "anna@laptop", 1.5, 1, "b", 100.0, ((7, 8, "raylet"),)
    )  # fmt: skip


def test_a_key_that_is_not_known_yet_does_no_harm() -> None:
    assert claims.parse(document(version=2, more=1), 7) == claims.parse(document(), 7)


@pytest.mark.parametrize("key", sorted(set(document()) - {"version"}))
def test_a_missing_key_makes_it_none(key: str) -> None:
    assert claims.parse({k: v for k, v in document().items() if k != key}, 7) is None


@pytest.mark.parametrize(
    "change",
    [
        {"owner": "anna\x1b[2J"}, {"owner": "anna\nrayctl"}, {"cluster": "x" * 201}, {"since": float("nan")},
        {"expires": float("inf")}, {"expires": 10**400}, {"expires": True}, {"generation": 1.0}, {"processes": [[1, 2]]},
        {"processes": [[1, 2, "\x07"]]}, {"processes": [[-1, 2, "a"]]}, {"processes": [[True, 2, "a"]]},
        {"processes": [["1", 2, "a"]]}, {"processes": [[1, 2, "a"]] * 65}, {"kind": "lease"},
    ],
)  # fmt: skip
def test_a_field_that_is_not_fit_to_be_shown_or_counted_makes_it_none(change: dict[str, Any]) -> None:
    assert claims.parse(document(**change), 7) is None


@given(key=st.sampled_from(sorted(document())), value=JSON)
def test_no_content_raises(key: str, value: Any) -> None:
    claim = claims.parse(document(**{key: value}), 7)
    if claim is not None:
        claims.holds(claim, "b", 50.0, never)
        claims.remaining_s(claim, "b", 50.0)


# ---- holding
@pytest.mark.parametrize(
    ("boot_id", "uptime", "lives", "held"),
    [("b", 99.9, False, True), ("b", 100.0, False, False), ("b", 100.0, True, True), ("c", 1.0, True, False)],
)
def test_it_holds_within_its_boot_by_time_or_by_a_process(boot_id: str, uptime: float, lives: bool, held: bool) -> None:
    claim = claims.parse(document(), 7)
    assert claim is not None
    assert claims.holds(claim, boot_id, uptime, lambda *process: lives and process == (7, 8, 7)) is held


def test_what_remains_is_never_negative() -> None:
    claim = claims.parse(document(), 7)
    assert claim is not None
    assert [claims.remaining_s(claim, boot, at) for boot, at in (("b", 99.0), ("b", 200.0), ("c", 1.0))] == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(("answer", "held"), [(PermissionError, True), (ProcessLookupError, False)])
def test_where_processes_of_others_are_hidden_their_number_has_to_do(
    monkeypatch: pytest.MonkeyPatch, answer: type[OSError], held: bool
) -> None:
    def kill(pid: int, number: int) -> None:
        assert number == 0
        raise answer

    monkeypatch.setattr(os, "kill", kill)
    assert claims.lives(4_000_000, 1, ANNA) is held


def test_a_process_that_is_seen_is_known_by_more_than_its_number() -> None:
    pid, started, _ = myself()
    assert claims.lives(pid, started, os.geteuid())
    assert not claims.lives(pid, started - 1, os.geteuid())
    assert not claims.lives(pid, started, os.geteuid() + 1)


# ---- files
def junk(path: Path, kind: str) -> None:
    """Something that is no claim."""
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        real = path.with_name("real")
        real.write_text(json.dumps(document()))
        path.symlink_to(real)
    else:
        path.write_bytes({"text": b"{", "bytes": b"\xff\0", "huge": b" " * 65537 + json.dumps(document()).encode()}[kind])


KINDS = ["folder", "pipe", "link", "text", "bytes", "huge"]


@pytest.mark.parametrize("kind", KINDS)
def test_junk_under_another_users_name_keeps_nobody_out(host: Host, kind: str) -> None:
    junk(host.file(ANNA), kind)
    assert host.board.others() == []
    host.taken()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "folder"])
def test_junk_of_our_own_counts_as_none_and_is_replaced(host: Host, kind: str) -> None:
    junk(host.file(), kind)
    assert host.taken().generation == 1
    assert host.file().is_file()
    assert not host.file().is_symlink()


def test_odd_names_are_nobodys(host: Host) -> None:
    for name in ("rayctl-claim.", "rayctl-claim.007", "rayctl-claim.-1", "rayctl-claim.1\n", "rayctl-claim.\u0661"):
        (host.place / name).write_text(json.dumps(document()))
    assert host.board.others() == []


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_claim_that_others_could_have_written_counts_as_none(host: Host, mode: int) -> None:
    host.taken()
    host.file().chmod(mode)
    assert host.board.mine() is None


@needs_root
def test_a_claim_that_somebody_else_wrote_counts_as_none(host: Host) -> None:
    text = json.dumps(document(boot_id=claims.processes.boot_id(), expires=1e9))
    as_user(BOB, lambda: host.file(ANNA).write_text(text))
    host.taken()


@needs_root
def test_who_planted_a_file_in_our_place_is_named(host: Host) -> None:
    as_user(BOB, lambda: host.file(ANNA).write_text("mine"))
    with pytest.raises(NodeError, match=rf"Somebody else put it there, user id {BOB}"):
        as_user(ANNA, host.take)


@needs_root
def test_users_read_each_others_claims(host: Host) -> None:
    def listed() -> list[Claim]:
        return host.board.others()

    first = as_user(ANNA, host.taken)
    assert as_user(BOB, listed) == [first]


# ---- the folder
@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_folder_where_others_can_remove_our_file_is_refused_with_what_to_do(host: Host, mode: int) -> None:
    host.place.chmod(mode)
    with pytest.raises(NodeError, match=rf"chmod 1777 {host.place}"):
        host.take()


@needs_root
def test_a_folder_of_another_user_is_refused(host: Host) -> None:
    os.chown(host.place, BOB, BOB)
    with pytest.raises(NodeError, match="not fit for claims"):
        host.take()


def test_a_host_without_the_folder_is_a_sentence(host: Host) -> None:
    host.place.rmdir()
    with pytest.raises(NodeError, match=rf"cannot open {host.place}, where claims on this host lie: No such file"):
        host.take()


def test_a_folder_that_takes_no_file_is_a_sentence_and_leaves_nothing(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    mine = host.board
    with mine.locked(), pytest.raises(NodeError, match=r"cannot write the claim on this host, .*: No space left on device"):
        mine.write(claims.parse(document(), os.geteuid()))  # type: ignore[arg-type]
    assert list(host.place.iterdir()) == []
