# SPDX-License-Identifier: Apache-2.0
"""What `status` finds out: how each node stands, how many there are, what waits, and whether a scaler is at work."""

from __future__ import annotations

import json
import os
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_declared import Hosts

from rayctl.gcs.view import ClusterView, Demand, Gang, LabelRule, RayNode, RayState
from rayctl.node import processes
from rayctl.operations import status as operation
from rayctl.operations.asked import asked
from rayctl.operations.standing import Look
from rayctl.operations.status import ClusterStatus
from rayctl.planner.model import Answer, Plan
from rayctl.providers.base import NodeState, Standing
from rayctl.reconcile import told
from rayctl.reconcile.told import FailureTold, NodeTold, ScalerStatus
from rayctl.state import paths
from tests.cpu import cpu_s

NO_ANSWER = ("", None, "no answer within 5 s")


def ray(name: str, state: RayState = RayState.IDLE, *, free: float = 1.0, **fields: Any) -> RayNode:
    """Ray's word of a node with one CPU."""
    given = {"node_type": "worker", "total": {"CPU": 1.0}, "available": {"CPU": free}, **fields}
    return RayNode(name, f"i-{name}", address="127.0.0.9", state=state, **given)


class Watched:
    """A cluster whose head's answer is the test's own. Its file asks for 2 to 4 workers."""

    def __init__(self, desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.desk, self.monkeypatch = desk, monkeypatch
        desk.machines.identity = "6f1de0bb"
        desk.machines.add("demo-head-1")

    def workers(self, count: int, **fields: Any) -> None:
        for number in range(1, count + 1):
            self.desk.machines.add(f"demo-worker-{number}", **fields)

    def file(self, old: str, new: str) -> None:
        self.desk.file.write_text(self.desk.file.read_text().replace(old, new))

    def tells(self, *nodes: NodeTold, at: float = 0.0, **fields: Any) -> None:
        """The scaler, which is this process, told this `at` seconds ago."""
        me = processes.find(os.getpid())
        assert me is not None
        given = {"pid": me.pid, "started": me.started, "turn": 7, **fields}
        told.write(self.place, ScalerStatus(at=time.time() - at, nodes=nodes, **given))

    @property
    def place(self) -> Path:
        return paths.scaler_status(self.desk.home, "demo")

    def seen(self, *nodes: RayNode, answer: Any = None, **load: Any) -> ClusterStatus:
        head = ray("demo-head-1", is_head=True, node_type="head")
        found = answer or ("2.60.0", ClusterView("s", (head, *nodes), **load), "")
        self.monkeypatch.setattr(operation, "_ask_ray", lambda *_: found)
        self.monkeypatch.setattr(operation.joined, "gcs_address", lambda _: "127.0.0.9:6379")
        return operation.status(self.desk.session("status"))


@pytest.fixture
def watched(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(desk, monkeypatch)


def standing(found: ClusterStatus) -> dict[str, str]:
    return {node.name.removeprefix("demo-"): node.counts_as for node in found.nodes}


def counted(found: ClusterStatus) -> dict[str, dict[str, int]]:
    """What is not 0, by type."""
    return {count.type: {state: n for state, n in count.states.items() if n} for count in found.types}


# ---- nodes
@pytest.mark.parametrize("state", [RayState.RUNNING, RayState.IDLE, RayState.DRAINING])
def test_a_node_that_ray_knows_counts_as_ray_says(watched: Watched, state: RayState) -> None:
    watched.workers(1)
    found = watched.seen(ray("demo-worker-1", state))
    assert standing(found) == {"head-1": "idle", "worker-1": str(state)}


def test_one_that_ray_does_not_know_is_pending(watched: Watched) -> None:
    watched.workers(2)
    found = watched.seen(ray("demo-worker-1"), ray("demo-worker-2", RayState.DEAD))
    assert counted(found) == {"head": {"idle": 1}, "worker": {"idle": 1, "pending": 1}}


def test_nothing_is_known_where_the_head_does_not_answer(watched: Watched) -> None:
    watched.workers(1)
    watched.tells(NodeTold("demo-worker-1", "i-demo-worker-1", "worker", "up", 1.0))
    found = watched.seen(answer=NO_ANSWER)
    assert counted(found) == {"head": {"unknown": 1}, "worker": {"unknown": 1}}
    assert found.note == "no answer within 5 s"


def test_old_rays_are_known_by_their_address(watched: Watched) -> None:
    watched.desk.machines.nodes.clear()
    watched.workers(1)
    nodes = Look(
        watched.desk.session("status"), ClusterView("s", (RayNode("x", "", "", "127.0.0.9", RayState.IDLE),)), None, probe=False
    ).nodes()
    assert [node.counts_as for node in nodes] == ["idle"]


def test_types_come_in_the_order_of_the_file_and_add_up(watched: Watched) -> None:
    watched.file("  worker: {min_workers: 2}", "  z: {min_workers: 1, max_workers: 2}\n  worker: {min_workers: 2}")
    watched.workers(2)
    watched.desk.machines.add("demo-z-1", type="z")
    watched.desk.machines.add("demo-old-1", type="gone")
    found = watched.seen(ray("demo-worker-1", free=0.25), ray("demo-worker-2"), ray("demo-z-1", RayState.RUNNING, free=0))
    assert [(count.type, count.nodes, count.min_workers, count.max_workers) for count in found.types] == [
        ("head", 1, None, None), ("z", 1, 1, 2), ("worker", 2, 2, 4), ("gone", 1, None, None),
    ]  # fmt: skip
    assert [(count.used, count.resources) for count in found.types] == [
        ({"CPU": 0.0}, {"CPU": 1.0}), ({"CPU": 1.0}, {"CPU": 1.0}), ({"CPU": 0.75}, {"CPU": 2.0}), ({}, {}),
    ]  # fmt: skip
    assert all(sum(count.states.values()) == count.nodes for count in found.types)


# ---- with a scaler
@pytest.mark.parametrize(
    ("stage", "state"),
    [
        ("booting", "pending"), ("waiting", "pending"), ("setting up", "pending"), ("joining", "pending"),
        ("restarting", "pending"), ("lost", "lost"), ("up", "lost"), ("draining", "draining"), ("ending", "draining"),
    ],
)  # fmt: skip
def test_of_a_machine_that_ray_does_not_know_the_scalers_word_goes(watched: Watched, stage: str, state: str) -> None:
    watched.workers(1)
    watched.tells(NodeTold("demo-worker-1", "i-demo-worker-1", "worker", stage, 1.0, "step 2/3"))
    (_, node) = watched.seen().nodes
    assert (node.counts_as, node.stage, node.since, node.detail) == (state, stage, 1.0, "step 2/3")


@pytest.mark.parametrize(("stage", "state"), [("joining", "running"), ("lost", "running"), ("draining", "draining")])
def test_of_one_that_ray_knows_rays_word_goes_unless_it_is_on_its_way_out(watched: Watched, stage: str, state: str) -> None:
    watched.workers(1)
    watched.tells(NodeTold("demo-worker-1", "i-demo-worker-1", "worker", stage, 1.0))
    assert standing(watched.seen(ray("demo-worker-1", RayState.RUNNING)))["worker-1"] == state


@pytest.mark.parametrize(("stage", "state"), [("waiting", "pending"), ("setting up", "pending"), ("lost", "failed")])
def test_one_that_failed_has_failed_until_it_is_tried_again(watched: Watched, stage: str, state: str) -> None:
    watched.workers(1)
    failure = FailureTold("worker", "demo-worker-1", "no disk", 1.0)
    watched.tells(NodeTold("demo-worker-1", "i-demo-worker-1", "worker", stage, 1.0), failures=(failure,))
    assert standing(watched.seen())["worker-1"] == state


def test_machines_that_are_asked_for_count_each_once_whether_listed_yet_or_not(watched: Watched) -> None:
    """`ray status` counts requests, however many machines each is for."""
    watched.workers(2)
    asked = [NodeTold(f"demo-worker-{n}", f"token-{n}", "worker", "booting", 5.0) for n in range(1, 6)]
    watched.tells(*asked, launching={"worker": 5})
    found = watched.seen(ray("demo-worker-1"))
    assert counted(found)["worker"] == {"idle": 1, "pending": 4}
    assert [node.state for node in found.nodes] == ["running", "running", "running", "asked for", "asked for", "asked for"]


def test_what_the_provider_has_ended_is_not_brought_back_by_an_older_word(watched: Watched) -> None:
    watched.workers(1, state=NodeState.STOPPING)
    watched.tells(
        NodeTold("demo-worker-1", "i", "worker", "booting", 1.0), NodeTold("demo-worker-2", "x", "worker", "lost", 1.0)
    )
    assert standing(watched.seen()) == {"head-1": "idle"}


def test_an_old_word_is_told_and_not_relied_on(watched: Watched) -> None:
    watched.workers(1)
    watched.tells(NodeTold("demo-worker-1", "i", "worker", "lost", 1.0), at=100)
    found = watched.seen()
    assert re.fullmatch(rf"silent for 1 min 4\d s; its process \(pid {os.getpid()}\) stands still", found.scaler_note)
    assert (found.scaler_at_work, standing(found)["worker-1"]) == (None, "pending")
    assert found.scaler is not None
    assert found.scaler.turn == 7


@pytest.mark.parametrize(("seconds", "since"), [(100, r"1 min 4\d s"), (1, r"\d s")])
def test_a_scaler_that_is_gone_is_told_at_once(watched: Watched, seconds: float, since: str) -> None:
    watched.tells(at=seconds, started=1)
    found = watched.seen()
    silent, _, rest = found.scaler_note.partition("; ")
    assert re.fullmatch(f"silent for {since}", silent)
    assert rest == f"its process (pid {os.getpid()}) is gone; start it: rayctl scaler {watched.desk.file}"
    assert found.scaler_at_work is None


def test_a_missing_scaler_is_told_where_there_should_be_one(watched: Watched) -> None:
    start = f"start one: rayctl scaler {watched.desk.file}"
    assert watched.seen().scaler_note == f"none has told anything here; {start}"
    watched.file("max_workers: 4", "max_workers: 2")
    assert watched.seen().scaler_note == ""


def test_a_scaler_at_work_leaves_no_note(watched: Watched) -> None:
    watched.tells(at=20)
    found = watched.seen()
    assert (found.scaler_note, found.scaler_at_work) == ("", found.scaler)


@pytest.mark.parametrize(("damage", "says"), [("{", "is damaged"), ('{"version": 9, "kind": "scaler-status"}', "newer rayctl")])
def test_a_word_that_cannot_be_read_is_told_and_no_failure(watched: Watched, damage: str, says: str) -> None:
    watched.tells()
    watched.place.write_text(damage)
    found = watched.seen()
    assert says in found.scaler_note
    assert found.scaler is None


# ---- declared hosts
class Declared(Hosts):
    """Of four hosts the head and the first worker are ours; nobody else was asked, or answers."""

    def standing(self) -> dict[str, Standing]:
        return {
            "h": Standing("ours"), "w1": Standing("ours"), "w2": Standing("free"), "w3": Standing("silent", why="no answer"),
        }  # fmt: skip


@pytest.fixture
def declared(desk: Any, monkeypatch: pytest.MonkeyPatch) -> Watched:
    desk.machines = Declared(desk.folder)
    found = Watched(desk, monkeypatch)
    desk.machines.nodes = [replace(host, state=NodeState.RUNNING) for host in desk.machines.declared()[:2]]
    return found


def states(found: ClusterStatus) -> list[tuple[str, str]]:
    return [(node.state, node.counts_as) for node in found.nodes]


def test_hosts_that_are_no_nodes_count_as_none(declared: Watched) -> None:
    found = declared.seen(ray("h"), ray("w1", RayState.RUNNING))
    assert states(found) == [("running", "idle"), ("running", "running"), ("free", ""), ("silent", "")]
    assert sum(count.nodes for count in found.types) == 2


def test_a_silent_host_that_ray_knows_is_a_node_all_the_same(declared: Watched) -> None:
    assert states(declared.seen(ray("h"), ray("w1"), ray("w3")))[3] == ("silent", "idle")


def test_a_host_that_the_scaler_takes_just_now_is_a_node(declared: Watched) -> None:
    declared.tells(NodeTold("w2", "i-w2", "worker", "setting up", 1.0), NodeTold("w3", "i-w3", "worker", "lost", 1.0))
    assert states(declared.seen(ray("h"), ray("w1")))[2:] == [("free", "pending"), ("silent", "failed")]


# ---- what is asked for
BIG, SMALL = Demand({"CPU": 4.0}, 3), Demand({"CPU": 4.0}, 2)


def test_placement_groups_that_differ_in_anything_are_never_told_as_one(watched: Watched) -> None:
    watched.tells()
    gangs = (
        Gang("a", "SPREAD", (BIG,)), Gang("b", "SPREAD", (SMALL,)), Gang("c", "PACK", (BIG,)), Gang("d", "SPREAD", (BIG,)),
        Gang("e", "SPREAD", (Demand({"CPU": 4.0}, 3, ((LabelRule("zone", ("a",)),),)),)),
    )  # fmt: skip
    found = watched.seen(gangs=gangs)
    assert [(group["text"], group["count"]) for group in found.gangs] == [
        ("SPREAD of {CPU: 4} x 3", 2),
        ("SPREAD of {CPU: 4} x 2", 1),
        ("PACK of {CPU: 4} x 3", 1),
        ("SPREAD of {CPU: 4} x 3 on zone in (a)", 1),
    ]
    assert found.gangs[0]["bundles"] == [{"shape": {"CPU": 4.0}, "count": 3, "selectors": []}]
    assert found.gangs[3]["bundles"][0]["selectors"] == [[{"key": "zone", "values": ("a",), "negated": False}]]


def test_bundles_in_another_order_are_the_same_group(watched: Watched) -> None:
    watched.tells()
    gpu = Demand({"GPU": 1.0}, 1)
    (found,) = watched.seen(gangs=(Gang("a", "PACK", (BIG, gpu)), Gang("b", "PACK", (gpu, BIG)))).gangs
    assert (found["count"], found["text"]) == (2, "PACK of {CPU: 4} x 3, {GPU: 1}")


def test_a_group_of_many_different_bundles_is_told_whole(watched: Watched) -> None:
    watched.tells()
    bundles = tuple(Demand({"CPU": float(n)}, 1) for n in range(1, 8))
    (found,) = watched.seen(gangs=(Gang("a", "PACK", bundles),)).gangs
    assert found["text"] == "PACK of {CPU: 1}, {CPU: 2}, {CPU: 3}, {CPU: 4}, {CPU: 5}, {CPU: 6}, {CPU: 7}"


def test_where_a_scaler_is_at_work_it_says_why_and_the_planner_is_not_asked(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rayctl.planner.decide.plan", lambda _: pytest.fail("nobody asks"))
    watched.tells(waiting=("2 x max_workers (4) is reached",))
    (found,) = watched.seen(pending=(Demand({"CPU": 1.0}, 2),)).pending
    assert found == {"shape": {"CPU": 1.0}, "count": 2, "selectors": [], "text": "{CPU: 1} x 2", "why": ""}


def test_without_a_scaler_the_planner_says_what_each_waits_for(watched: Watched) -> None:
    watched.file("  worker: {min_workers: 2}", "  worker: {min_workers: 2, resources: {CPU: 1}}")
    watched.workers(2)
    found = watched.seen(
        ray("demo-worker-1"), pending=(Demand({"CPU": 1.0}, 9), Demand({"CPU": 8.0}, 1)),
        gangs=(Gang("a", "STRICT_SPREAD", (Demand({"CPU": 1.0}, 9),)),), requested=(Demand({"CPU": 1.0}, 1),),
    )  # fmt: skip
    assert [request["why"] for request in found.pending] == [
        "2 fit on nodes that run, 1 will fit on nodes that are coming, 2 need more nodes, and no scaler is at work, 4 wait: "
        "worker has its max_workers (4)",
        "1 can never be placed: no node type can hold it: worker has 1 CPU",
    ]
    assert found.gangs[0]["why"].startswith("1 can never be placed: it needs 9 nodes")
    assert found.requested[0]["why"] == "1 fits on nodes that run"


# ---- the form for programs
OLD_KEYS = {"v", "cluster", "cluster_id", "provider", "address", "ray_version", "nodes", "workers_wanted", "pending", "note"}
OLD_NODE_KEYS = {
    "name", "kind", "type", "id", "state", "address", "ray", "resources", "used", "steps_done", "problem", "busy", "asked_at",
    "claim", "host_key",
}  # fmt: skip


def test_the_json_has_all_of_it_and_all_that_it_had_before(watched: Watched) -> None:
    watched.workers(1)
    failure = FailureTold("worker", "demo-worker-9", "no disk", 1.0, 2.0, "/log")
    watched.tells(failures=(failure,), quarantined=(("10.0.0.9", "no disk", 5.0),), launching={"worker": 1})
    found = json.loads(json.dumps(watched.seen(ray("demo-worker-1"), gangs=(Gang("a", "PACK", (BIG,)),)).to_dict()))
    assert OLD_KEYS | {"at", "types", "gangs", "requested", "scaler", "scaler_note"} == set(found)
    assert OLD_NODE_KEYS | {"counts_as", "stage", "since", "detail"} == set(found["nodes"][0])
    assert found["v"] == 1
    assert found["types"][1]["states"]["idle"] == 1
    assert found["scaler"]["failures"] == [vars(failure)]
    assert found["scaler"]["quarantined"] == [["10.0.0.9", "no disk", 5.0]]
    assert found["scaler"]["turn"] == 7


def test_a_group_of_which_some_wait_and_some_can_never_be_is_told_in_both_numbers() -> None:
    gangs = (Gang("a", "PACK", (BIG,)), Gang("b", "PACK", (BIG,)))
    answers = (Answer(1, waiting=1, why="busy"), Answer(1, never=1, why="too big"))
    (found,) = asked(ClusterView("s", gangs=gangs), Plan(gangs=answers)).gangs
    assert found["why"] == "1 waits, 1 can never be placed: busy; too big"


def test_ten_thousand_nodes_are_told_in_less_than_a_second(watched: Watched) -> None:
    from rayctl.cli.overview import Page

    watched.workers(10_000)
    watched.tells(*(NodeTold(f"demo-worker-{n}", f"i-{n}", "worker", "up", 1.0) for n in range(1, 10_001)))
    nodes = [ray(f"demo-worker-{n}", RayState.RUNNING, free=n % 7 / 7) for n in range(1, 10_001)]
    pending = (Demand({"CPU": 1.0}, 1000),)
    found = watched.seen(*nodes, pending=pending)
    assert cpu_s(lambda: watched.seen(*nodes, pending=pending)) < 1
    assert cpu_s(lambda: Page(found, 160).lines()) < 1
    assert cpu_s(lambda: json.dumps(found.to_dict(), indent=2, sort_keys=True)) < 1
