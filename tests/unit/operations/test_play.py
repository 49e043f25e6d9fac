# SPDX-License-Identifier: Apache-2.0
"""From a node's messages to events, and from a playbook's outcome to failures."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from rayctl.errors import NodeFailure
from rayctl.operations import play
from rayctl.provision.driver import Outcome

STEP = {"host": "w", "event": "step", "phase": "setup", "index": 1, "name": "pip install x"}
ENDED = {**STEP, "state": "failed", "rc": 3, "seconds": 1.5, "tail": ["no x"], "log": "/n/02-setup.log"}
DONE = {"event": "done", "changed": True, "failed": False, "message": "", "step": None}


def told(desk: Any, *messages: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    narrator = play.Narrator(desk.session().bus, {"w": (2, 3)})
    for message in messages:
        narrator.tell({"host": "w", **message})
    return [(str(event.kind), event.step, dict(event.data)) for event in desk.kept.events]


def test_a_step_bears_its_place_and_command(desk: Any) -> None:
    assert told(desk, {**STEP, "state": "run"}) == [
        ("step_started", "setup-2", {"text": "pip install x", "index": 2, "total": 3})
    ]


def test_a_failed_step_brings_its_last_lines_and_its_log(desk: Any) -> None:
    ((kind, _, data),) = told(desk, ENDED)
    assert kind == "step_ended"
    assert (data["status"], data["exit_code"], data["tail"], data["log"]) == ("failed", 3, ["no x"], "/n/02-setup.log")


def test_output_of_a_good_step_stays_in_its_log(desk: Any) -> None:
    ((_, _, data),) = told(desk, {**ENDED, "state": "ok", "rc": 0})
    assert data["tail"] == []


def test_starting_ray_is_no_numbered_step(desk: Any) -> None:
    ((_, step, data),) = told(desk, {**STEP, "phase": "start", "index": 0, "state": "run"})
    assert step == "start-1"
    assert "total" not in data


def test_work_on_a_node_begins_once_though_it_logs_in_twice(desk: Any) -> None:
    hello = {"event": "hello", "adopted": False}
    assert told(desk, hello, hello) == [("node_started", "", {"steps": 2, "total": 3})]


def test_following_an_earlier_run_is_told(desk: Any) -> None:
    ((kind, _, data),) = told(desk, {"event": "hello", "adopted": True})
    assert (kind, data["text"]) == ("notice", "an earlier run is still at work here; following it")


def test_output_comes_line_by_line(desk: Any) -> None:
    out = {"event": "out", "phase": "setup", "index": 0, "text": "a\nb\n"}
    assert [data["text"] for _, _, data in told(desk, out)] == ["a", "b"]


@pytest.mark.parametrize(
    ("fields", "status"), [({}, "ok"), ({"changed": False}, "unchanged"), ({"failed": True, "message": "no"}, "failed")]
)
def test_a_nodes_end(desk: Any, fields: dict[str, Any], status: str) -> None:
    ((kind, _, data),) = told(desk, {**DONE, **fields})
    assert (kind, data["status"]) == ("node_ended", status)


# ---- failures
def test_a_failed_step_becomes_one_block() -> None:
    done = {**DONE, "failed": True, "message": "pip install x ended with exit code 3", "step": ENDED}
    assert play.failures(Outcome(nodes={"w": done}), ["w"]) == [
        NodeFailure("w", done["message"], "setup step 2: pip install x", 3, ("no x",), "/n/02-setup.log")
    ]


def test_nodes_that_did_well_are_no_failures() -> None:
    assert play.failures(Outcome("successful", nodes={"w": DONE}), ["w"]) == []


def test_a_node_that_does_not_answer_is_unreachable() -> None:
    (failure,) = play.failures(Outcome(unreachable={"w": "no route"}), ["w"])
    assert failure.unreachable
    assert failure.reason == "no route"


def test_a_node_that_ansible_never_reached_says_what_ansible_said() -> None:
    (failure,) = play.failures(Outcome(output="[ERROR]: the role was not found\n\n"), ["w"])
    assert failure.reason == "Ansible ended before it got to this node: [ERROR]: the role was not found"


def test_out_of_time_is_the_reason_where_nothing_else_is_known() -> None:
    (failure,) = play.failures(Outcome("timeout"), ["w"])
    assert failure.reason == "the time limit was reached before it was done"


# ---- signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_acts_once_and_the_handlers_are_put_back(number: signal.Signals) -> None:
    before, acted = signal.getsignal(number), []
    with play.on_interrupt(lambda: acted.append(1)) as seen:
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert seen.is_set()
    assert acted == [1]
    assert signal.getsignal(number) is before


def test_elsewhere_than_in_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    within: list[object] = []

    def other() -> None:
        with play.on_interrupt(lambda: None):
            within.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert within == [before]


def test_a_check_says_of_a_node_only_that_it_failed(desk: Any) -> None:
    narrator = play.Narrator(desk.session().bus, {}, check=True)
    narrator.tell({"host": "w", **DONE})
    narrator.tell({"host": "v", **DONE, "failed": True, "message": "no"})
    assert [event.node for event in desk.said("node_ended")] == ["v"]
