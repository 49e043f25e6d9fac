# SPDX-License-Identifier: Apache-2.0
"""What a plan would do on a node, as a table."""

from __future__ import annotations

from typing import Any

import pytest

from rayctl.node.look import Wanted, anything, look, watch_s

PHASES = ["mounts", "setup", "start"]
MOUNT = {"target": "/m", "digest": "1"}
RAY = {"digest": "d", "policy": "auto", "want_ray": ""}
STARTED = {"digest": "d", "head": "h1", "versions": "2.60.0 3.11"}


def plan(**changes: Any) -> dict[str, Any]:
    steps = [{"digest": name} for name in "abc"]
    return {"phases": PHASES, "mounts": [MOUNT], "steps": steps, "rerun_from": None, "ray": RAY, **changes}


def seen(**changes: Any) -> dict[str, Any]:
    return {
        "mounts": {"/m": "1"}, "steps": ["a", "b", "c"], "ray": STARTED, "ray_stale": False, "broken": None,
        "watch_s": 0.0, **changes
    }  # fmt: skip


def ray(**changes: Any) -> dict[str, Any]:
    return {"ray": {**RAY, **changes}}


AFTER_STEPS = "a set-up step runs before"
DEAD = "its raylet is not running"
SET_UP = [
    ("all is as wanted", {}, {}, ([], 3)),
    ("a new node", {}, {"mounts": {}, "steps": []}, ([MOUNT], 0)),
    ("a changed mount reruns all", {}, {"mounts": {"/m": "0"}}, ([MOUNT], 0)),
    ("a mount of no plan does not matter", {}, {"mounts": {"/m": "1", "/n": "1"}}, ([], 3)),
    ("an edited step", {}, {"steps": ["a", "x", "c"]}, ([], 1)),
    ("a failed step", {}, {"steps": ["a"]}, ([], 1)),
    ("a removed last step", {}, {"steps": ["a", "b", "c", "d"]}, ([], 3)),
    ("rerun from the third", {"rerun_from": 2}, {}, ([], 2)),
    ("rerun from the third, edited before", {"rerun_from": 2}, {"steps": ["x"]}, ([], 0)),
    ("no steps, changed mount", {"steps": []}, {"mounts": {}, "steps": []}, ([MOUNT], 0)),
    ("only mounts", {"phases": ["mounts"]}, {"mounts": {}, "steps": []}, ([MOUNT], 3)),
    ("only set-up", {"phases": ["setup"]}, {"mounts": {}, "steps": []}, ([], 0)),
    ("only start", {"phases": ["start"]}, {"mounts": {}, "steps": []}, ([], 3)),
]


@pytest.mark.parametrize(("wanted", "node", "expected"), [row[1:] for row in SET_UP], ids=[row[0] for row in SET_UP])
def test_mounts_and_steps(wanted: dict[str, Any], node: dict[str, Any], expected: tuple[list[Any], int]) -> None:
    found = look(plan(**wanted), seen(**node))
    assert found[:2] == expected


RESTARTS = [
    ("all is as wanted", {}, {}, None, None),
    ("never started", {}, {"ray": None, "broken": "it was not started yet"}, None, "it was not started yet"),
    ("a dead raylet", {}, {"broken": DEAD}, None, DEAD),
    (
        "a dead raylet, and never",
        ray(policy="never"),
        {"broken": DEAD},
        None,
        DEAD,
    ),
    ("other commands", ray(digest="e"), {}, None, "its start commands changed"),
    ("other commands, and never", ray(digest="e", policy="never"), {}, None, None),
    ("always", ray(policy="always"), {}, None, "a restart was asked for"),
    ("a step ran in an earlier run", {}, {"ray_stale": True}, None, "a set-up step ran since it was started"),
    ("a step ran in an earlier run, and never", ray(policy="never"), {"ray_stale": True}, None, None),
    ("a step is going to run", {}, {"steps": ["a"]}, None, AFTER_STEPS),
    ("a step is going to run, and never", ray(policy="never"), {"steps": ["a"]}, None, None),
    ("a mount changed and there are steps", {}, {"mounts": {}}, None, AFTER_STEPS),
    ("a mount changed and there are no steps", {"steps": []}, {"mounts": {}, "steps": []}, None, None),
    ("the same head", {}, {}, "h1", None),
    ("another head", {}, {}, "h2", "the head was restarted"),
    ("another head, and never", ray(policy="never"), {}, "h2", "the head was restarted"),
    ("a head that Ray's start did not know", {}, {"ray": {**STARTED, "head": None}}, "h2", None),
    ("the wanted version", ray(want_ray="2.60.0"), {}, None, None),
    ("another version", ray(want_ray="2.9.0"), {}, None, "the file wants Ray 2.9.0"),
    ("a version that nobody looked at", ray(want_ray="2.9.0"), {"ray": {**STARTED, "versions": ""}}, None, None),
    ("no Ray in the plan", {"ray": None}, {"ray": None, "broken": "it was not started yet"}, None, None),
    ("no start in this run", {"phases": ["setup"]}, {"broken": DEAD}, None, None),
]


@pytest.mark.parametrize(("wanted", "node", "head", "why"), [row[1:] for row in RESTARTS], ids=[row[0] for row in RESTARTS])
def test_reasons_to_start_ray(wanted: dict[str, Any], node: dict[str, Any], head: str | None, why: str | None) -> None:
    assert look(plan(**wanted), seen(**node), head).ray == why


WATCHES = [
    ("none is wanted and none is there", {}, {}, False),
    ("the wanted one is there", {"orphan_timeout_s": 60.0}, {"watch_s": 60.0}, False),
    ("none is there", {"orphan_timeout_s": 60.0}, {}, True),
    ("one with another time is there", {"orphan_timeout_s": 60.0}, {"watch_s": 1800.0}, True),
    ("none is wanted any more", {}, {"watch_s": 60.0}, True),
    ("Ray is not started in this run", {"orphan_timeout_s": 60.0, "phases": ["setup"]}, {}, False),
    ("no Ray in the plan", {"orphan_timeout_s": 60.0, "ray": None}, {}, False),
]


@pytest.mark.parametrize(("wanted", "node", "expected"), [row[1:] for row in WATCHES], ids=[row[0] for row in WATCHES])
def test_whether_the_watch_over_the_head_is_made_anew(wanted: dict[str, Any], node: dict[str, Any], expected: bool) -> None:
    found = look(plan(**wanted), seen(**node))
    assert (found.watch, found.ray) == (expected, None)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (None, 0.0),
        ({"pid": 7, "started": 70, "boot_id": "b", "timeout_s": 60.0}, 60.0),
        ({"pid": 8, "started": 70, "boot_id": "b", "timeout_s": 60.0}, 0.0),
        ({"pid": 7, "started": 70, "boot_id": "a", "timeout_s": 60.0}, 0.0),
    ],
)
def test_a_watch_counts_while_its_process_lives(known: dict[str, Any] | None, expected: float) -> None:
    assert watch_s(known, "b", lambda *process: process == (7, 70)) == expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted([], 3, None), False),
        (Wanted([MOUNT], 3, None), True),
        (Wanted([], 2, None), True),
        (Wanted([], 3, "x"), True),
        (Wanted([], 3, None, watch=True), True),
    ],
)
def test_whether_a_node_would_change(wanted: Wanted, expected: bool) -> None:
    assert anything(plan(), wanted) is expected
