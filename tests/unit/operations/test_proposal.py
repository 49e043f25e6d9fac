# SPDX-License-Identifier: Apache-2.0
"""What `up` is about to do: words, whose jobs are interrupted, and when two proposals are the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rayctl.errors import NodeFailure
from rayctl.node.look import Wanted
from rayctl.operations.proposal import Action, Proposal, propose
from rayctl.operations.survey import Work
from rayctl.plan import Ending, Launch, Machines
from rayctl.providers.base import Kind, Node, NodeState

NO_MACHINES = Machines()
STEPS = [{"name": f"s{n}", "digest": f"d{n}"} for n in (1, 2, 3)]


def node(name: str, kind: Kind = Kind.WORKER) -> Node:
    return Node(id=name, name=name, kind=kind, type=kind.value, state=NodeState.RUNNING, launch_token="t")


def work(name: str = "w1", kind: Kind = Kind.WORKER, *, first: int = 3, ray: str | None = None, **more: Any) -> Work:
    mounts = more.pop("mounts", [])
    return Work(
        node(name, kind),
        {"steps": STEPS, "ray": None, "phases": []},
        Wanted(mounts, first, ray, more.pop("watch", False)),
        more.pop("busy", False),
        **more,
    )


def proposed(*works: Work, wanted: Machines = NO_MACHINES, silent: tuple[NodeFailure, ...] = (), **kinds: Any) -> Proposal:
    names = ["s1", "s2", "s3"]
    return propose("demo", "id", wanted=wanted, works=works, silent=silent, kinds=kinds, steps_of=lambda *_: names)


@pytest.mark.parametrize(
    ("given", "action", "what"),
    [
        (work(), Action.LIVE, "live"),
        (work(busy=True), Action.FOLLOW, "follow the run that is under way"),
        (
            work(busy=True, first=1, ray="a set-up step runs before"),
            Action.FOLLOW,
            "follow the run that is under way; run set-up from step 2 of 3; start Ray, because a set-up step runs before",
        ),
        (work(mounts=[{"target": "~/app", "digest": "m"}]), Action.SYNC, "copy ~/app"),
        (work(behind=True), Action.SYNC, "copy the head's synced files"),
        (work(first=1, why_steps="it changed"), Action.RERUN, "run set-up from step 2 of 3"),
        (work(watch=True), Action.WATCH, "put orphan_timeout into force"),
        (work(watch=True, ray="it was not started yet"), Action.START, "start Ray, because it was not started yet"),
        (work(ray="it was not started yet"), Action.START, "start Ray, because it was not started yet"),
        (work(ray="its start commands changed", works=True), Action.RESTART, "restart Ray, because its start commands changed"),
        (
            work(first=0, ray="a set-up step runs before", works=True, mounts=[{"target": "/x", "digest": "m"}]),
            Action.RESTART,
            "copy /x; run set-up from step 1 of 3; restart Ray, because a set-up step runs before",
        ),
    ],
)
def test_each_node_in_words(given: Work, action: Action, what: str) -> None:
    (found,) = proposed(given).nodes
    assert (found.action, found.what) == (action, what)
    assert bool(proposed(given).changes) == (action is not Action.LIVE)


def test_steps_have_numbers_as_in_rerun_and_the_first_says_why() -> None:
    (found,) = proposed(work(first=1, why_steps="it changed")).nodes
    assert [(step.index, step.name, step.why) for step in found.steps] == [
        (2, "s2", "it changed"),
        (3, "s3", "a step before it runs"),
    ]


@pytest.mark.parametrize(
    ("works", "who"),
    [
        ([work("h", Kind.HEAD), work()], "none"),
        ([work("h", Kind.HEAD), work(ray="x")], "none"),
        ([work("h", Kind.HEAD), work(ray="x", works=True)], "some"),
        ([work("h", Kind.HEAD, ray="x", works=True), work()], "all"),
        ([work("h", Kind.HEAD, first=0), work(first=0)], "none"),
    ],
)
def test_jobs_are_interrupted_where_a_ray_that_works_is_restarted(works: list[Work], who: str) -> None:
    assert proposed(*works).interrupts == who


def test_a_worker_that_is_ended_takes_its_work_with_it() -> None:
    found = proposed(wanted=Machines(endings=(Ending(node("w9"), "too many"),)))
    assert found.interrupts == "some"
    assert found.lines() == [
        "demo: 1 node to end",
        "  w9: end it: too many",
        "Jobs with work on a node whose Ray is restarted or that is ended are interrupted there.",
    ]


def test_a_machine_that_comes_back_as_another_type_is_replaced() -> None:
    endings = tuple(Ending(node(name), "it is of the type big now", "big") for name in ("w1", "w2"))
    found = proposed(wanted=Machines((Launch(Kind.WORKER, "big", 1),), endings))
    assert [(item.node, item.action, item.type) for item in found.nodes] == [
        ("w1", Action.REPLACE, "big"),
        ("w2", Action.END, "worker"),
    ]
    assert found.interrupts == "some"
    assert found.lines()[1] == "  w1: end it and launch it anew, with 3 set-up steps: it is of the type big now"


def test_launches_come_first_and_nodes_alike_are_one_line() -> None:
    launches = (Launch(Kind.HEAD, "big", 1), Launch(Kind.WORKER, "small", 2))
    works = [work(name, first=0, why_steps="it changed") for name in "ab"]
    found = proposed(*works, work("c"), wanted=Machines(launches))
    assert found.lines() == [
        "demo: 3 nodes to launch, 2 nodes to rerun",
        "  launch the head (big), with 3 set-up steps",
        "  launch 2 workers (small), with 3 set-up steps",
        "  a, b: run set-up from step 1 of 3",
        "    step 1 s1: it changed, and 2 more after it",
        "  c: live",
        "No job is interrupted.",
    ]


def test_of_many_nodes_alike_the_first_are_named() -> None:
    found = proposed(*(work(f"n{number}") for number in range(12)))
    assert found.lines() == ["demo: nothing to do", "  n0, n1, n2, n3, n4, n5, n6, n7 and 4 more: live"]


def test_a_machine_that_does_not_answer_is_no_launch() -> None:
    away = NodeFailure("h3", "no route to host", unreachable=True)
    found = proposed(wanted=Machines((Launch(Kind.WORKER, "w", 2),)), silent=(away,), h3=("worker", "w"))
    assert [(item.action, item.node, item.count) for item in found.nodes] == [
        (Action.LAUNCH, "", 1),
        (Action.UNREACHABLE, "h3", 1),
    ]
    alone = proposed(wanted=Machines((Launch(Kind.WORKER, "w", 1),)), silent=(away,), h3=("worker", "w"))
    assert alone.lines() == ["demo: nothing to do", "  h3: unreachable: no route to host"]
    assert alone.nodes[0].what == "unreachable: no route to host"


def test_two_are_the_same_when_they_would_do_the_same() -> None:
    before = proposed(work("a", first=0), work("b"))
    assert proposed(work("a", first=0), work("b"), work("c")).fingerprint == before.fingerprint, "what is live does not count"
    others = [
        proposed(work("a", first=1), work("b")), proposed(work("a"), work("b")),
        proposed(work("a", first=0), work("b", first=0)),
        replace(before, cluster_id="other"), proposed(work("a", first=0, ray="x"), work("b")),
    ]  # fmt: skip
    edited = work("a", first=0)
    plan = {**edited.plan, "steps": [{"name": "s1", "digest": "other"}, *STEPS[1:]]}
    others.append(proposed(replace(edited, plan=plan), work("b")))
    assert before.fingerprint not in {other.fingerprint for other in others}
