# SPDX-License-Identifier: Apache-2.0
"""Declared hosts in `up` and `down`: which ones are claimed, and what becomes of those that do not answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from listed_machines import Machines

from rayctl import plan
from rayctl.errors import NodesFailed, Unreachable
from rayctl.operations import machines
from rayctl.operations.down import down
from rayctl.operations.options import DownOptions
from rayctl.providers.base import Addresses, DeclaresHosts, Kind, Node, NodeState, Standing, host_token

NAMES = ("h", "w1", "w2", "w3")
OFF = Unreachable("it does not answer on port 22.", hint="Is it powered on?")


class Hosts(Machines, DeclaresHosts):
    """Hosts h, w1, w2 and w3, of which some do not answer."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.off: dict[str, Unreachable] = {}
        self.torn_down = 0

    @property
    def reach(self) -> Any:
        return SimpleNamespace(pinned=dict, forget=lambda: None, close=lambda: None)

    def declared(self) -> list[Node]:
        return [self._host(name) for name in NAMES]

    def _host(self, name: str) -> Node:
        kind = Kind.HEAD if name == "h" else Kind.WORKER
        return Node(f"i-{name}", name, kind, kind.value, NodeState.UNKNOWN, "", Addresses(f"{name}.lan"))

    def ask_only_head(self) -> None: ...

    def standing(self) -> dict[str, Standing]:
        return {}

    def silent(self) -> dict[str, Unreachable]:
        return self.off

    def list_nodes(self, *, deadline_s: float = 60) -> list[Node]:
        return [node for node in self.nodes if node.name not in self.off]

    def teardown(self, *, purge: bool = False, deadline_s: float = 60) -> None:
        self.torn_down += 1
        super().teardown()


@pytest.fixture
def hosts(desk: Any) -> Hosts:
    desk.machines = Hosts(desk.folder)
    return desk.machines


def applied(desk: Any, **overrides: Any) -> tuple[list[str], Any]:
    """Names of the hosts that were asked for, in order."""
    session = desk.session(**overrides)
    machines.apply(session, plan.machines(session.config, desk.machines.nodes))
    return [slot.name for request in desk.machines.requests for slot in request.slots], session


def test_hosts_are_claimed_in_the_order_of_the_file_by_their_own_names(desk: Any, hosts: Hosts) -> None:
    names, session = applied(desk)
    assert names == ["h", "w1", "w2"]
    assert hosts.requests[1].slots[0].token == host_token(session.deployment.cluster_id, "w1")


def test_hosts_that_answer_are_claimed_before_those_that_do_not(desk: Any, hosts: Hosts) -> None:
    hosts.off = {"w1": OFF}
    assert applied(desk)[0] == ["h", "w2", "w3"]


def test_a_silent_host_is_asked_for_only_where_there_is_no_other(desk: Any, hosts: Hosts) -> None:
    hosts.off = {"w1": OFF}
    assert applied(desk, min_workers=3)[0] == ["h", "w2", "w3", "w1"]


def test_a_cluster_that_comes_back_has_its_identity(desk: Any, hosts: Hosts) -> None:
    """A host that was out of reach when it went still bears it."""
    applied(desk)
    first, hosts.identity, hosts.nodes = hosts.identity, None, []
    applied(desk)
    assert hosts.identity == first


def test_another_file_of_the_same_name_is_another_cluster(desk: Any, hosts: Hosts) -> None:
    applied(desk)
    first, hosts.identity, hosts.nodes = hosts.identity, None, []
    desk.file = desk.file.rename(desk.folder / "other.yaml")
    applied(desk)
    assert hosts.identity != first


def test_silence_is_told_with_what_to_do_about_it(desk: Any, hosts: Hosts) -> None:
    del desk
    hosts.off = {"w2": OFF}
    (failure,) = machines.silent(hosts)
    assert (failure.node, failure.unreachable) == ("w2", True)
    assert failure.reason == "it does not answer on port 22. Is it powered on?"


@pytest.mark.parametrize(
    ("off", "says"),
    [
        (["h"], "the head is out of reach: it does not answer on port 22."),
        (["h", "w3"], "the head is out of reach: it does not answer on port 22. (of 4 hosts, 2 are out of reach)"),
    ],
)
def test_without_the_head_nothing_is_done(hosts: Hosts, off: list[str], says: str) -> None:
    hosts.off = dict.fromkeys(off, OFF)
    with pytest.raises(Unreachable) as caught:
        machines.require_head(hosts)
    assert (caught.value.message, caught.value.hint) == (says, "Is it powered on?")


def test_silent_workers_keep_nobody_from_the_head(hosts: Hosts) -> None:
    hosts.off = {"w1": OFF, "w2": OFF}
    machines.require_head(hosts)


# ---- down
def ended(desk: Any, **options: Any) -> Any:
    return down(desk.session("down"), DownOptions(**options), lambda _: None)


def test_down_forgets_the_cluster_once_though_its_identity_went_with_the_last_claim(
    desk: Any, hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied(desk)
    monkeypatch.setattr(Hosts, "cluster_id", lambda hosts, **_: hosts.identity if hosts.nodes else None)
    assert set(ended(desk).ended) == {"h", "w1", "w2"}
    assert hosts.torn_down == 1


def test_down_with_a_silent_worker_ends_the_others_and_fails_by_its_name(desk: Any, hosts: Hosts) -> None:
    applied(desk)
    hosts.off = {"w2": OFF}
    with pytest.raises(NodesFailed) as caught:
        ended(desk)
    assert [node.name for node in hosts.nodes] == ["w2"]
    assert caught.value.message == "2 of the hosts ended, 1 did not answer"
    assert [failure.node for failure in caught.value.failures] == ["w2"]
    assert f"rayctl down {desk.file}" in caught.value.hint


def test_down_of_hosts_that_are_all_silent_reached_nothing(desk: Any, hosts: Hosts) -> None:
    applied(desk)
    hosts.off = dict.fromkeys(NAMES, OFF)
    with pytest.raises(Unreachable) as caught:
        ended(desk)
    assert caught.value.exit_code == 4
