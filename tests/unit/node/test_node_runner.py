# SPDX-License-Identifier: Apache-2.0
"""The runner's life: its own session, adoption, cancel, kills, lost controllers, and never two beside each other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from node_bench import Bench, Step, eventually

from rayctl.node import processes
from rayctl.node.wire import PROTOCOL
from rayctl.transport.channel import Channel
from rayctl.transport.local import argv
from rayctl.transport.shipping import opening

HELD = "echo held >> $O/ran; echo going; until [ -e $O/go ]; do sleep 0.05; done; echo end >> $O/ran"
ENDLESS = "echo endless >> $O/ran; echo going; sleep $NAP"


def test_the_runner_has_a_session_of_its_own_and_holds_nothing_of_the_line(bench: Bench) -> None:
    line = bench.open(bench.plan(ENDLESS))
    line.until("out")
    pid = bench.runner()["pid"]
    runner = processes.find(pid)
    assert runner.session not in (pid, os.getsid(line.channel.process.pid), os.getsid(0))
    held = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir() if path.is_symlink()]
    assert held
    assert not [name for name in held if name.startswith("pipe:")]


def test_a_second_run_of_the_same_plan_adopts_the_first(bench: Bench) -> None:
    plan = bench.plan("echo a >> $O/ran", HELD)
    first = bench.open(plan)
    first.until("out", index=1)
    second = bench.open(plan)
    assert second.until("hello")["adopted"] is True
    (bench.out / "go").touch()
    outcomes = [first.done(), second.done()]
    assert outcomes[0] == outcomes[1]
    assert [step["name"] for step in second.said("step") if step["state"] == "ok"] == ["step 1", "step 2"]
    assert bench.traces() == ["a", "held", "end"]


def test_two_controllers_with_the_same_plan_at_once_run_each_step_once(bench: Bench) -> None:
    for number in range(5):
        plan = bench.plan(f"echo {number} >> $O/ran; sleep 0.1")
        lines = [bench.open(plan) for _ in range(3)]
        assert [line.done()["failed"] for line in lines] == [False] * 3
    assert bench.traces() == list("01234")


def test_another_plan_stops_the_run_under_way_first(bench: Bench) -> None:
    first = bench.open(bench.plan(ENDLESS))
    first.until("out")
    second = bench.open(bench.plan('pgrep -fx "sleep $NAP" >> $O/beside; echo new >> $O/ran'))
    assert first.done()["cancelled"] is True
    assert second.done()["failed"] is False
    assert bench.traces() == ["endless", "new"]
    assert bench.traces("beside") == []


def test_many_plans_at_once_never_work_beside_each_other(bench: Bench) -> None:
    alone = "mkdir $O/alone || echo beside >> $O/beside; echo {0} >> $O/ran; sleep 0.{0}; rmdir $O/alone"
    tidy = "trap 'rmdir $O/alone; exit 1' TERM; "
    lines = [bench.open(bench.plan(tidy + alone.format(number))) for number in range(1, 5)]
    outcomes = [line.done() for line in lines]
    assert bench.traces("beside") == []
    assert sum(not outcome["failed"] for outcome in outcomes) >= 1


@pytest.mark.parametrize("change", [{"protocol": PROTOCOL + 1}, {"protocol": 0}])
def test_a_runner_of_another_protocol_is_stopped_not_adopted(bench: Bench, change: dict[str, int]) -> None:
    plan = bench.plan(ENDLESS)
    first = bench.open(plan)
    first.until("out")
    before = bench.runner()["pid"]
    second = bench.open(plan, **change)
    assert first.done()["cancelled"] is True
    eventually(lambda: bench.runner() and bench.runner()["pid"] != before)
    second.channel.kill()


# ---- cancel
def test_a_cancel_ends_the_step_and_is_told_to_all(bench: Bench) -> None:
    plan = bench.plan(ENDLESS, "echo never >> $O/ran")
    lines = [bench.open(plan), bench.open(plan)]
    lines[0].until("out")
    lines[1].channel.send({"cancel": "Ctrl-C"})
    outcomes = [line.done() for line in lines]
    assert {(outcome["failed"], outcome["cancelled"], outcome["message"]) for outcome in outcomes} == {
        (True, True, "step 1 was stopped")
    }
    assert bench.sleepers() == []
    assert bench.traces() == ["endless"]


def test_a_cancel_by_a_request_of_its_own(bench: Bench) -> None:
    line = bench.open(bench.plan(ENDLESS))
    line.until("out")
    request = {"op": "cancel", "state_dir": str(bench.state_dir)}
    assert bench.request(request).done()["stopped"] is True
    assert line.done()["cancelled"] is True
    assert bench.request(request).done()["stopped"] is False


def test_a_cancel_while_a_question_is_open(bench: Bench) -> None:
    line = bench.open(bench.plan("echo never >> $O/ran", mounts={"/m": "1"}))
    line.answers = {}
    line.until("need")
    line.channel.send({"cancel": "Ctrl-C"})
    assert line.done()["message"] == "cancelled: Ctrl-C"
    assert bench.traces() == []


def test_a_time_out_fails_the_run_with_what_was_printed(bench: Bench) -> None:
    outcome = bench.run(Step(ENDLESS, timeout_s=0.5))
    assert outcome["message"] == "step 1 ran out of time after 0.5 s"
    assert (outcome["step"]["state"], outcome["step"]["tail"], outcome["cancelled"]) == ("timeout", ["going"], False)
    assert bench.sleepers() == []


def test_a_death_by_signal_is_named(bench: Bench) -> None:
    assert bench.run("kill -9 $BASHPID")["message"] == "step 1 ended with exit code 137, a death by SIGKILL"
    assert bench.run("exit 255")["message"] == "step 1 ended with exit code 255"


# ---- the controller goes away
def test_without_a_controller_the_set_up_is_finished_and_can_be_fetched(bench: Bench) -> None:
    plan = bench.plan(HELD, "echo last >> $O/ran")
    line = bench.open(plan)
    line.until("out")
    line.close()
    (bench.out / "go").touch()
    bench.alone()
    assert bench.traces() == ["held", "end", "last"]
    assert bench.open(plan).done()["changed"] is False


def test_without_a_controller_nothing_is_started_until_one_comes_back(bench: Bench) -> None:
    plan = bench.plan(HELD, ray=head_without_ray())
    line = bench.open(plan, orphan_s=60.0)
    line.until("out")
    line.close()
    (bench.out / "go").touch()
    eventually(lambda: "end" in bench.traces())
    time.sleep(0.3)
    assert "started" not in bench.traces()
    again = bench.open(plan)
    assert again.until("hello")["adopted"] is True
    assert again.done()["ray"] == "it was not started yet"
    assert bench.traces() == ["held", "end", "started"]


@pytest.mark.parametrize("needs", [{"ray": True}, {"mounts": {"/m": "1"}}], ids=["start", "mount"])
def test_a_run_that_nobody_adopts_ends_and_keeps_what_was_done(bench: Bench, needs: dict[str, object]) -> None:
    changes = {"ray": head_without_ray()} if "ray" in needs else needs
    plan = bench.plan(HELD, **changes)
    line = bench.open(plan, orphan_s=0.2)
    line.answers = {}
    line.until("step" if "ray" in needs else "need")
    line.close()
    (bench.out / "go").touch()
    bench.alone()
    assert "started" not in bench.traces()
    assert bench.open(plan).done()["failed"] is False
    assert bench.traces() == ["held", "end", *(["started"] if "ray" in needs else [])]


def test_a_follower_that_stops_reading_holds_nobody(bench: Bench) -> None:
    plan = bench.plan("for i in $(seq 60); do head -c 60000 /dev/zero | tr '\\0' x; sleep 0.02; done", "echo b >> $O/ran")
    stopped = bench.open(plan)
    stopped.until("step", state="run")
    os.kill(stopped.channel.process.pid, signal.SIGSTOP)
    other = bench.open(plan)
    began = time.monotonic()
    assert other.done()["failed"] is False
    assert time.monotonic() - began < 60
    os.kill(stopped.channel.process.pid, signal.SIGCONT)
    # it missed output, and nothing else
    assert stopped.done()["failed"] is False
    assert [step["state"] for step in stopped.said("step")] == ["run", "ok", "run", "ok"]


# ---- kills
def test_after_a_kill_in_the_middle_of_a_step_its_processes_end_before_the_next_run_begins(bench: Bench) -> None:
    step = 'pgrep -fx "sleep $NAP" >> $O/beside; setsid sleep $NAP & echo going; sleep $NAP'
    line = bench.open(bench.plan(step))
    line.until("out")
    eventually(lambda: len(bench.sleepers()) == 2)
    os.kill(bench.runner()["pid"], signal.SIGKILL)
    assert line.done()["message"].startswith("the node's runner died in the middle of its work; its log is ")
    assert len(bench.sleepers()) == 2
    assert bench.run('pgrep -fx "sleep $NAP" >> $O/beside; true')["failed"] is False
    assert bench.traces("beside") == []
    assert bench.sleepers() == []


def test_a_cancel_after_a_kill_ends_what_was_left(bench: Bench) -> None:
    line = bench.open(bench.plan(ENDLESS))
    line.until("out")
    os.kill(bench.runner()["pid"], signal.SIGKILL)
    line.done()
    bench.request({"op": "cancel", "state_dir": str(bench.state_dir)}).done()
    assert bench.sleepers() == []


def test_a_kill_between_steps_repeats_none(bench: Bench) -> None:
    plan = bench.plan("echo a >> $O/ran", "echo b >> $O/ran", mounts={"/m": "1"}, phases=["mounts"])
    line = bench.open(plan)
    line.answers = {}
    line.until("need")
    os.kill(bench.runner()["pid"], signal.SIGKILL)
    line.done()
    bench.run("echo a >> $O/ran", "echo b >> $O/ran", mounts={"/m": "1"})
    assert bench.traces() == ["a", "b"]


def test_a_daemon_of_a_step_that_ended_well_outlives_kills_cancels_and_new_runs(bench: Bench) -> None:
    daemon = "sleep $NAP & echo a >> $O/ran"
    line = bench.open(bench.plan(daemon, "echo going; sleep 30"))
    line.until("out", index=1)
    os.kill(bench.runner()["pid"], signal.SIGKILL)
    line.done()
    line = bench.open(bench.plan(daemon, "echo going; sleep 31"))
    line.until("out", index=1)
    line.channel.send({"cancel": "enough"})
    line.done()
    bench.run(daemon)
    assert len(bench.sleepers()) == 1
    assert bench.traces() == ["a"]


@pytest.mark.slow
def test_a_suspended_runner_is_replaced(bench: Bench) -> None:
    line = bench.open(bench.plan(ENDLESS))
    line.until("out")
    pid = bench.runner()["pid"]
    os.kill(pid, signal.SIGSTOP)
    before = processes.find(pid)
    outcome = bench.open(bench.plan("echo new >> $O/ran")).done()
    assert outcome["failed"] is False
    assert not processes.alive(pid, before.started)
    assert bench.sleepers() == []


# ---- what the machine refuses
def test_a_state_folder_that_others_can_write_to_is_a_sentence(bench: Bench) -> None:
    bench.run("true")
    bench.folder.chmod(0o777)
    outcome = bench.run("echo a >> $O/ran")
    assert outcome["failed"] is True
    assert "can be written by others (mode 0777)" in outcome["message"]
    assert bench.traces() == []


@pytest.mark.parametrize("limit", [1, 60, 300, 2200])
def test_a_full_disk_is_a_sentence_at_any_moment(bench: Bench, limit: int) -> None:
    """With a limit on every file's size, in bytes, as the disk that fills up."""
    plan = bench.plan("true", Step("x=" + "y" * 2000 + "; echo a >> $O/ran"))
    request = {"op": "run", "protocol": PROTOCOL, "plan": plan, "plan_digest": "d"}
    with_limit = ["/usr/bin/prlimit", f"--fsize={limit}", *argv([bench.python])]
    channel = Channel(with_limit, bench.env, opening(request))
    outcome = next(message for message in channel if message["event"] == "done")
    channel.close()
    assert outcome["failed"] is True
    assert "File too large" in outcome["message"] or "SIGXFSZ" in outcome["message"] or "exit code" in outcome["message"]
    assert "\n" not in outcome["message"]
    assert bench.open(plan).done()["failed"] is False


def test_200_mb_of_output_cost_neither_memory_nor_the_tail(bench: Bench) -> None:
    line = bench.open(bench.plan("head -c 200000000 /dev/zero | tr '\\0' '\\n'; yes line | head -c 1000; echo; echo the end"))
    line.until("step", state="run")
    pid = bench.runner()["pid"]
    peaks = [peak_kb(pid) for message in line if message["event"] == "out"]
    assert line.said("step")[-1]["tail"][-1] == "the end"
    assert 0 < max(peaks) < 40_000


def peak_kb(pid: int) -> int:
    """The most memory that a process ever held; 0 when it is gone."""
    try:
        rows = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(row.split()[1]) for row in rows if row.startswith("VmHWM:")), 0)


def test_a_runner_that_fails_in_an_unforeseen_way_says_so(bench: Bench) -> None:
    plan = bench.plan("true")
    del plan["steps"][0]["env"]
    outcome = bench.open(plan).done()
    assert outcome["message"] == f"the node's runner failed: KeyError: 'env'; its log is {bench.folder}/runner.log"
    assert "Traceback" in (bench.folder / "runner.log").read_text()


def test_a_missing_home_is_no_obstacle(bench: Bench) -> None:
    del bench.env["HOME"]
    assert bench.run("cd ~ && echo a >> $O/ran")["failed"] is False
    assert bench.traces() == ["a"]


def test_a_state_path_of_any_length_will_do(bench: Bench) -> None:
    bench.state_dir = bench.state_dir / ("long" * 40)
    assert bench.run("true")["failed"] is False


def test_steps_carry_their_nodes_mark_and_never_rays(bench: Bench) -> None:
    bench.env.update(RAYCTL_NODE="another/node", RAYCTL_STEP="x", RAYCTL_OWNER="1/2")
    bench.run("env | grep ^RAYCTL_ | grep -v STEP_RUN > $O/ran")
    assert bench.traces() == [f"RAYCTL_STEP={bench.cluster_id}/{bench.name}"]


def test_a_request_that_never_comes_is_a_sentence() -> None:
    done = subprocess.run(argv(["python3"]), input=opening({})[:-3], capture_output=True, check=False, timeout=30)
    assert b"rayctl: no request arrived" in done.stderr


def head_without_ray() -> dict[str, object]:
    """A head whose start commands start no Ray."""
    command = {"name": "start", "command": "echo started >> $O/ran", "timeout_s": None, "env": {}, "checks": False}
    return {
        "kind": "head", "digest": "d", "commands": [command], "processes": [], "env": {}, "address": "127.0.0.1", "port": 1,
        "ports": [], "policy": "auto", "want_ray": "", "temp_dir": "/nonexistent",
    }  # fmt: skip


def test_the_status_of_a_runner_tells_what_it_works_on(bench: Bench) -> None:
    line = bench.open(bench.plan(ENDLESS))
    line.until("out")
    probe = {"op": "probe", "state_dir": str(bench.state_dir), "mark": f"{bench.cluster_id}/{bench.name}"}
    seen = bench.request(probe).done()
    assert seen["runner"]["step"] == "step 1"
    assert (seen["steps"], seen["broken"]) == ([], "it was not started yet")
    assert json.loads((bench.folder / "runner.json").read_text())["step_run"]
