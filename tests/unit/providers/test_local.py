# SPDX-License-Identifier: Apache-2.0
"""Declared hosts as a provider: what their looks make of the cluster, and what is told of those that cannot be had.

What hosts answer is given here; `tests/contract` lets the node's own code answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pytest

from rayctl.errors import Category, ProviderError, RayctlError, Refused, StateRefused, Unreachable
from rayctl.node import launched
from rayctl.providers.base import Kind, LaunchRequest, Slot
from rayctl.providers.local import LocalProvider
from rayctl.providers.local.claims import HEAD_TAG
from rayctl.transport.connection import Connection, Ssh
from rayctl.transport.glance import Claim, Glance
from rayctl.transport.reach import Reach
from rayctl.transport.ssh import SshTransport

ME, BOB = 1000, 1001
HELD = {"cluster": "theirs", "user": "bob", "owner": "bob@desk", "remaining_s": 120.0}
SILENT = Unreachable("w2 did not answer", hint="Is it powered on?")


def claim(name: str, *, cluster: str = "demo", id: str = "id-1", uid: int = ME, **fields: Any) -> Claim:
    kind = "head" if name == "h" else "worker"
    given: dict[str, Any] = {
        "uid": uid, "cluster": cluster, "cluster_id": id, "node": name, "node_kind": kind, "type": kind, "owner": "me@laptop",
        "since": 1.0, "generation": 1, "boot_id": "b", "expires": 9.0, "processes": (), "user": "bob" if uid == BOB else "me",
        "holds": True, "remaining_s": 9.0, **fields,
    }  # fmt: skip
    return Claim(**given)


def glance(*claims: Claim, token: str = "t", tags: Mapping[str, str] | None = None, **fields: Any) -> Glance:
    """What a host tells with these claims on it; where ours is among them, it was launched."""
    mine = next((one for one in claims if one.uid == ME), None)
    private = {
        "token": token, "resources": {"CPU": 2}, "labels": {}, "tags": tags or {}, "launch_digest": "d", "launched_at": 5.0,
    }  # fmt: skip
    found = {"claims": claims, "mine": mine, "private": private if mine else None, **fields}
    return Glance("m", "b", 1.0, ME, "me", "host", **found)


class FakeReach(Reach):
    """Hosts that tell what they are given to tell. `asked` are the requests that were sent, by host."""

    def __init__(self, answers: Mapping[str, Glance | Unreachable]) -> None:
        self.answers = dict(answers)
        self.replies: dict[str, dict[str, Any] | Unreachable] = {}
        self.asked: list[tuple[str, str]] = []
        self.looked: list[list[str]] = []
        self.forgotten: list[list[str]] = []
        self.closed = False

    def look(self, connections: Sequence[Connection]) -> Mapping[str, Glance | Unreachable]:
        self.looked.append([connection.name for connection in connections])
        return {connection.name: self.answers[connection.name] for connection in connections}

    def transport(self, connection: Connection) -> SshTransport:
        return FakeTransport(self, connection)

    def forget(self, names: Collection[str] | None = None) -> None:
        self.forgotten.append(sorted(names or self.answers))

    def close_masters(self) -> None:
        self.closed = True


class FakeTransport(SshTransport):
    def __init__(self, reach: FakeReach, connection: Connection) -> None:
        self.reach, self.connection = reach, connection

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.reach.asked.append((self.connection.name, request["op"]))
        reply = self.reach.replies.get(self.connection.name, {"cluster_id": "id-1"})
        if isinstance(reply, Unreachable):
            raise reply
        if reply.get("failed"):
            raise RayctlError(f"{self.connection.name}: {reply['message']}")
        if request["op"] == "claim" and "held" not in reply:
            self.reach.answers[self.connection.name] = glance(
                claim(self.connection.name), token=request["claim"].get("token", "")
            )
        return reply


def provider(head: Glance | Unreachable, *workers: Glance | Unreachable, **settings: Any) -> tuple[LocalProvider, FakeReach]:
    """Hosts h, w1, w2, ... of the cluster demo."""
    names = ["h", *(f"w{number}" for number in range(1, len(workers) + 1))]
    hosts = [{"name": name, "address": f"{name}.lan", "type": "head" if name == "h" else "worker"} for name in names]
    found = LocalProvider("demo", {"hosts": [{**host, "head": host["name"] == "h"} for host in hosts], **settings})
    reach = FakeReach(dict(zip(names, (head, *workers), strict=True)))
    found.__dict__["_reach"] = reach
    return found, reach


def workers_wanted(*names: str) -> LaunchRequest:
    return LaunchRequest(Kind.WORKER, "worker", tuple(Slot(name, f"token-{name}") for name in names))


# ---- who is there
def test_our_claims_are_the_nodes_and_others_are_none() -> None:
    theirs = glance(claim("w2", cluster="theirs", uid=BOB))
    found, _ = provider(glance(claim("h")), glance(claim("w1")), theirs, glance())
    assert [(node.name, node.kind, node.addresses and node.addresses.internal) for node in found.list_nodes()] == [
        ("h", Kind.HEAD, "h.lan"), ("w1", Kind.WORKER, "w1.lan"),
    ]  # fmt: skip
    assert {name: standing.state for name, standing in found.standing().items()} == {
        "h": "ours", "w1": "ours", "w2": "taken", "w3": "free",
    }  # fmt: skip


def test_a_host_that_is_only_founded_is_no_node_yet() -> None:
    found, _ = provider(glance(claim("h"), token=""), glance())
    assert found.cluster_id() == "id-1"
    assert found.list_nodes() == []


def test_a_silent_host_is_in_no_listing_and_is_named_with_its_reason() -> None:
    found, _ = provider(glance(claim("h")), glance(claim("w1")), SILENT)
    assert [node.name for node in found.list_nodes()] == ["h", "w1"]
    assert found.silent() == {"w2": SILENT}
    assert (found.standing()["w2"].state, found.standing()["w2"].why) == ("silent", "w2 did not answer")


def test_our_claim_counts_no_more_where_somebody_elses_holds_the_host() -> None:
    lost = glance(claim("w1", holds=False), claim("w1", cluster="theirs", uid=BOB))
    found, _ = provider(glance(claim("h")), lost)
    assert [node.name for node in found.list_nodes()] == ["h"]


def test_a_claim_of_an_earlier_life_of_the_cluster_is_no_node() -> None:
    found, _ = provider(glance(claim("h", id="id-2")), glance(claim("w1", id="id-1")))
    assert found.cluster_id() == "id-2"
    assert [node.name for node in found.list_nodes()] == ["h"]


def test_a_private_half_that_must_not_be_read_is_an_error_and_no_missing_node() -> None:
    spoilt = glance(claim("w1"), refused={launched.FILE: "claim.json is of a newer rayctl"})
    found, _ = provider(glance(claim("h")), spoilt)
    with pytest.raises(StateRefused, match=r"w1: claim\.json is of a newer rayctl"):
        found.list_nodes()


@pytest.mark.parametrize("head", [glance(), Unreachable("h is off")])
def test_without_a_heads_claim_the_newest_of_its_workers_tells_the_identity(head: Glance | Unreachable) -> None:
    mine = {HEAD_TAG: "h.lan"}
    old, new = glance(claim("w1", since=1.0), tags=mine), glance(claim("w2", id="id-2", since=2.0), tags=mine)
    assert provider(head, old, new)[0].cluster_id() == "id-2"


def test_workers_of_another_head_tell_nothing_of_our_cluster() -> None:
    assert provider(glance(), glance(claim("w1"), tags={HEAD_TAG: "other.lan"}))[0].cluster_id() is None


def test_a_head_that_is_a_worker_elsewhere_tells_nothing_of_our_cluster() -> None:
    assert provider(glance(claim("h", node_kind="worker"), tags={HEAD_TAG: "other.lan"}))[0].cluster_id() is None


def test_who_wants_the_head_alone_asks_nobody_else() -> None:
    found, reach = provider(glance(claim("h")), glance(claim("w1")))
    found.ask_only_head()
    assert [node.name for node in found.list_nodes()] == ["h"]
    assert {name for names in reach.looked for name in names} == {"h"}


def test_how_a_node_looks_to_others_does_not_tell_how_we_know_it() -> None:
    found, _ = provider(glance(claim("h"), tags={HEAD_TAG: "h.lan", "a": "1"}))
    assert dict(found.list_nodes()[0].tags) == {"a": "1"}


# ---- claiming
def test_a_taken_head_is_refused_with_its_owner() -> None:
    found, reach = provider(glance(), glance())
    reach.replies["h"] = {"held": HELD}
    with pytest.raises(Refused) as caught:
        found.bootstrap("id-1")
    assert caught.value.exit_code == 3
    assert caught.value.message == (
        "h is taken by the cluster theirs of its user bob (claimed by bob@desk), for another 120 s; nothing was touched."
    )
    assert "Ask bob@desk to run `rayctl down` for theirs" in caught.value.hint


def test_after_a_change_only_the_hosts_that_it_was_about_are_asked_anew() -> None:
    found, reach = provider(glance(claim("h")), glance(), glance())
    found.bootstrap("id-1")
    found.launch(workers_wanted("w2"))
    found.terminate(["w2"])
    assert reach.forgotten == [["h"], ["w2"], ["w2"]]


def test_a_taken_worker_is_a_shortfall_by_its_name() -> None:
    found, reach = provider(glance(claim("h")), glance(), glance())
    reach.replies["w1"] = {"held": {**HELD, "remaining_s": 0.0}}
    result = found.launch(workers_wanted("w1", "w2"))
    assert ([node.name for node in result.nodes], result.shortfall) == (["w2"], 1)
    assert (set(result.errors), result.errors["w1"].category) == ({"w1"}, Category.CAPACITY)
    assert result.errors["w1"].message.endswith("while its processes run")


def test_the_first_error_is_that_of_the_first_slot() -> None:
    found, reach = provider(glance(claim("h")), glance(), glance())
    reach.replies = {"w1": {"failed": True, "message": "disk full"}, "w2": {"held": HELD}}
    result = found.launch(workers_wanted("w2", "w1", "w9"))
    assert result.error is result.errors["w2"]
    assert {name: error.category for name, error in result.errors.items()} == {
        "w1": Category.INVALID, "w2": Category.CAPACITY, "w9": Category.INVALID,
    }  # fmt: skip


def test_a_host_known_to_be_silent_is_not_asked_again() -> None:
    found, reach = provider(glance(claim("h")), glance(), SILENT)
    result = found.launch(workers_wanted("w1", "w2"))
    assert ("w2", "claim") not in reach.asked
    assert (result.errors["w2"].category, result.errors["w2"].hint) == (Category.TRANSIENT, "Is it powered on?")


def test_a_line_that_breaks_is_transient() -> None:
    found, reach = provider(glance(claim("h")), glance())
    reach.replies["w1"] = Unreachable("the connection was lost")
    assert found.launch(workers_wanted("w1")).errors["w1"].category is Category.TRANSIENT


# ---- ending
def test_a_process_that_does_not_end_keeps_the_node() -> None:
    found, reach = provider(glance(claim("h")), glance(claim("w1")))
    reach.replies["w1"] = {"left": ["raylet (pid 7)"]}
    (problem,) = found.terminate(["w1"]).values()
    assert problem is not None
    assert problem.message == "these processes of w1 do not end: raylet (pid 7)"


def test_the_last_to_go_closes_the_connections() -> None:
    found, reach = provider(glance(claim("h"), token=""), glance())
    found.teardown()
    assert reach.asked == [("h", "release")], "what founded the cluster goes too"
    assert reach.closed


def test_teardown_spares_a_head_host_that_is_another_clusters_worker() -> None:
    found, reach = provider(glance(claim("h", node_kind="worker"), tags={HEAD_TAG: "other.lan"}))
    found.teardown()
    assert reach.asked == []


@pytest.mark.parametrize("call", ["launch", "terminate", "set_tags", "teardown"])
def test_without_an_answer_of_the_head_nothing_is_begun(call: str) -> None:
    found, reach = provider(Unreachable("h is off"), glance())
    calls: dict[str, Any] = {
        "launch": lambda: found.launch(workers_wanted("w1")), "terminate": lambda: found.terminate(["w1"]),
        "set_tags": lambda: found.set_tags(["w1"], {}), "teardown": found.teardown,
    }  # fmt: skip
    with pytest.raises(ProviderError) as caught:
        calls[call]()
    assert (caught.value.category, caught.value.message) == (Category.TRANSIENT, "h is off")
    assert reach.asked == []


# ---- ways
def test_what_a_host_says_of_itself_wins_over_what_is_said_of_all() -> None:
    host = {"name": "h", "address": "h.lan", "type": "head", "head": True, "user": "own", "port": 2222, "python": "/opt/python"}
    found = LocalProvider("demo", {"hosts": [host]})
    found.ssh = Ssh("all", 22, "/all.pem", proxy_jump="gate")
    connection = found.connection(found.declared()[0])
    assert connection.ssh == Ssh("own", 2222, "/all.pem", proxy_jump="gate")
    assert (connection.python, connection.state_dir) == (("/opt/python",), "~/.rayctl/demo")
