# SPDX-License-Identifier: Apache-2.0
"""A run does what changed and nothing else: chained steps, mounts, resuming, check mode, fresh logins."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from node_bench import PYTHONS, Bench, Step

A, B, C = ("echo a >> $O/ran", "echo b >> $O/ran", "echo c >> $O/ran")


@pytest.mark.parametrize("python", PYTHONS)
def test_steps_run_once_in_order_on_every_supported_python(python: str, bench_of: Callable[[str], Bench]) -> None:
    bench = bench_of(python)
    first, second = bench.run(A, B), bench.run(A, B)
    assert (first["failed"], first["changed"], [step["index"] for step in first["steps"]]) == (False, True, [0, 1])
    assert (second["failed"], second["changed"], second["steps"]) == (False, False, [])
    assert bench.traces() == ["a", "b"]


def test_edited_command_reruns_from_there(bench: Bench) -> None:
    bench.run(A, B, C)
    outcome = bench.run(A, "echo B >> $O/ran", C)
    assert [step["name"] for step in outcome["steps"]] == ["step 2", "step 3"]
    assert bench.traces() == ["a", "b", "c", "B", "c"]


def test_edited_environment_of_a_step_reruns_from_there(bench: Bench) -> None:
    bench.run(A, Step("echo $X >> $O/ran", env={"X": "1"}))
    bench.run(A, Step("echo $X >> $O/ran", env={"X": "2"}))
    assert bench.traces() == ["a", "1", "2"]


def test_a_removed_last_command_runs_nothing_and_is_forgotten(bench: Bench) -> None:
    bench.run(A, B)
    assert bench.run(A)["changed"] is False
    bench.run(A, B)
    assert bench.traces() == ["a", "b", "b"]


def test_a_failed_run_resumes_at_the_failed_step(bench: Bench) -> None:
    broken = "echo b >> $O/ran; [ -e $O/mended ]"
    failed = bench.run(A, broken, C)
    assert (failed["failed"], failed["message"]) == (True, "step 2 ended with exit code 1")
    (bench.out / "mended").touch()
    assert bench.run(A, broken, C)["failed"] is False
    assert bench.traces() == ["a", "b", "b", "c"]


def test_a_run_from_a_given_step(bench: Bench) -> None:
    bench.run(A, B, C)
    outcome = bench.run(A, B, C, rerun_from=1)
    assert [step["index"] for step in outcome["steps"]] == [1, 2]
    assert bench.traces() == ["a", "b", "c", "b", "c"]


def test_only_set_up_leaves_mounts_alone(bench: Bench) -> None:
    line = bench.open(bench.plan(A, mounts={"/m": "1"}, phases=["setup"]))
    line.done()
    assert not line.said("need")


# ---- mounts
def test_a_changed_mount_is_asked_for_and_reruns_all_steps(bench: Bench) -> None:
    bench.run(A, mounts={"/m": "1", "/n": "1"})
    line = bench.open(bench.plan(A, mounts={"/m": "1", "/n": "2"}))
    assert line.done()["mounts"] == ["/n"]
    assert [need["target"] for need in line.said("need")] == ["/n"]
    assert bench.traces() == ["a", "a"]


def test_a_mount_that_cannot_be_copied_fails_the_run_and_is_asked_for_again(bench: Bench) -> None:
    plan = bench.plan(A, mounts={"/m": "1"})
    refused = bench.open(plan, {"mounts": {"ok": False, "message": "no space"}}).done()
    assert refused["message"] == "the file mount /m could not be copied: no space"
    assert bench.traces() == []
    assert bench.open(plan).done()["mounts"] == ["/m"]
    assert bench.traces() == ["a"]


def test_steps_rerun_when_the_run_ended_between_the_mount_and_them(bench: Bench) -> None:
    bench.run(A, mounts={"/m": "1"})
    changed = bench.plan("exit 3", mounts={"/m": "2"})
    bench.open(changed).done()
    bench.run(A, mounts={"/m": "2"})
    assert bench.traces() == ["a", "a"]


def test_steps_rerun_behind_a_mount_that_was_changed_and_changed_back(bench: Bench) -> None:
    for digest, phases in (("1", ["mounts", "setup"]), ("2", ["mounts"]), ("1", ["mounts"]), ("1", ["mounts", "setup"])):
        bench.run(A, mounts={"/m": digest}, phases=phases)
    assert bench.traces() == ["a", "a"]


# ---- fresh login
def test_after_initialization_the_run_asks_for_a_fresh_login_and_the_next_goes_on(bench: Bench) -> None:
    plan = bench.plan(Step(A, "initialization"), Step(B, "initialization"), C)
    line = bench.open(plan)
    line.until("relogin")
    line.close()
    bench.alone()
    assert bench.traces() == ["a", "b"]
    outcome = bench.open(plan).done()
    assert [step["index"] for step in outcome["steps"]] == [0, 1, 2]
    assert "".join(outcome["diff"]["before"].split()) == ""
    assert bench.traces() == ["a", "b", "c"]
    assert bench.open(plan).done()["changed"] is False


def test_a_rerun_from_initialization_asks_for_one_fresh_login_only(bench: Bench) -> None:
    steps = (Step(A, "initialization"), C)
    for rerun_from in (None, 0):
        plan = bench.plan(*steps, rerun_from=rerun_from)
        line = bench.open(plan)
        line.until("relogin")
        line.close()
        bench.alone()
        assert bench.open(plan).done()["failed"] is False
    assert bench.traces() == ["a", "c", "a", "c"]


def test_initialization_alone_needs_no_fresh_login(bench: Bench) -> None:
    assert bench.run(Step(A, "initialization"))["failed"] is False


def test_a_start_right_after_initialization_happens_in_a_fresh_login(bench: Bench) -> None:
    plan = bench.plan(Step(A, "initialization"), ray=plain_ray())
    line = bench.open(plan)
    line.until("relogin")
    line.close()
    bench.alone()
    assert bench.open(plan).done()["ray"] == "it was not started yet"


def plain_ray() -> dict[str, object]:
    """A head whose start commands start no Ray."""
    command = {"name": "start", "command": "echo started >> $O/ran", "timeout_s": None, "env": {}, "checks": False}
    return {
        "kind": "head", "digest": "d", "commands": [command], "processes": [], "env": {}, "address": "127.0.0.1", "port": 1,
        "ports": [], "policy": "auto", "want_ray": "", "temp_dir": "/nonexistent",
    }  # fmt: skip


# ---- check and diff
def test_check_mode_says_all_and_touches_nothing(bench: Bench) -> None:
    bench.run(A, mounts={"/m": "1"})
    before = tree(bench)
    line = bench.request({"op": "check", "plan": bench.plan(A, B, mounts={"/m": "2"}, check=True)})
    outcome = line.done()
    assert (outcome["changed"], outcome["mounts"], [s["index"] for s in outcome["steps"]]) == (True, ["/m"], [0, 1])
    assert line.said("need")[0]["check"] is True
    assert outcome["diff"] == {"before": f"1. {A}\n", "after": f"1. {A}\n2. {B}\n"}
    assert tree(bench) == before
    assert bench.traces() == ["a"]


def test_check_mode_makes_no_folder_on_a_new_node(bench: Bench) -> None:
    assert bench.check(bench.plan(A))["changed"] is True
    assert not bench.state_dir.exists()


def test_check_mode_waits_for_no_lock(bench: Bench) -> None:
    line = bench.open(bench.plan("echo up; sleep 30"))
    line.until("out")
    assert bench.check(bench.plan("echo up; sleep 30"))["changed"] is True


def test_check_mode_that_is_cancelled_says_so(bench: Bench) -> None:
    line = bench.request({"op": "check", "plan": bench.plan(A, mounts={"/m": "1"}, check=True)}, {"mounts": {"cancel": "stop"}})
    outcome = line.done()
    assert (outcome["cancelled"], outcome["message"]) == (True, "cancelled: stop")


def test_the_diff_of_a_run_is_that_of_its_check(bench: Bench) -> None:
    bench.run(A, B)
    plan = bench.plan(A, C, ray=plain_ray())
    told = bench.check(plan)["diff"]
    done = bench.open(plan).done()["diff"]
    assert told["after"].replace("would be started", "started") == done["after"]
    assert done["after"].endswith("ray: started: it was not started yet\n") or "a set-up step" in done["after"]
    assert told["before"] == done["before"]


# ---- what a node remembers
def test_a_damaged_state_file_means_that_everything_runs_again(bench: Bench) -> None:
    bench.run(A)
    (bench.folder / "state.json").write_text('{"version": 1, "mou')
    assert bench.run(A)["failed"] is False
    assert bench.traces() == ["a", "a"]


def test_a_newer_state_file_is_refused_in_one_sentence(bench: Bench) -> None:
    bench.run(A)
    (bench.folder / "state.json").write_text('{"version": 2}')
    outcome = bench.run(A)
    assert outcome["failed"] is True
    assert outcome["message"].endswith("(version 2, this one reads up to 1); update rayctl on the controller")
    assert bench.traces() == ["a"]


def tree(bench: Bench) -> dict[str, tuple[int, int]]:
    """Every file of the node with its size and time of change."""
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in bench.state_dir.rglob("*")}
