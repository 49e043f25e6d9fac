# SPDX-License-Identifier: Apache-2.0
"""From a cluster file to nodes that are as wanted, and back to nothing, by the real command line."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.ansible, pytest.mark.slow]
ALL = ["demo-head-1", "demo-worker-1", "demo-worker-2"]
HEAD, ONE, TWO = ALL


def test_from_nothing_to_up_and_back(standin: Any) -> None:
    """The file's name is one that a shell would take apart, and rayctl is called from elsewhere."""
    file = standin.file = standin.file.rename(standin.folder / "it's my $cluster.yaml")
    assert standin.run("up", str(file), code=2).stderr.count("Say --yes") == 1
    assert not (standin.home / "embedded").exists()

    first = standin.up(cwd="/")
    assert sorted(standin.nodes()) == standin.noted("one") == standin.noted("starts") == ALL
    assert "demo is up: no Ray was asked for, 3 nodes changed" in first.stdout

    # what it says comes next does what it says
    commands = [line.partition("  # ")[0].strip() for line in first.stdout.splitlines() if "  # " in line]
    verbs = [shlex.split(command)[1] for command in commands]
    assert verbs == ["exec", "submit", "status", "scaler", "down"]
    status = subprocess.run(["bash", "-c", commands[2]], env=standin.env, capture_output=True, text=True, check=True)
    assert ONE in status.stdout

    # a second one changes nothing, needs no yes, and no playbook
    second = standin.run("up", str(file), cwd="/tmp")
    assert "nothing changed" in second.stdout
    assert standin.noted("one") == standin.noted("starts") == ALL
    assert first.stderr.count("\n") > second.stderr.count("\n")

    log = sorted((standin.home / "runs" / "demo" / "up").iterdir())[-1]
    events = [json.loads(line)["kind"] for line in log.read_text().splitlines()]
    assert (events[0], events[-1]) == ("operation_started", "operation_ended")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert list((standin.home / "ansible").iterdir()) == []
    assert stat.S_IMODE((standin.home / "ansible").stat().st_mode) == 0o700

    down = subprocess.run(["bash", "-c", f"{commands[-1]} -y"], env=standin.env, capture_output=True, text=True, check=True)
    assert "demo: 3 nodes ended" in down.stdout
    assert standin.nodes() == {}
    assert standin.processes() == []
    assert "nothing to end" in standin.run("down", "-y", str(file)).stdout


def test_what_runs_on_the_head(standin: Any) -> None:
    """exec and submit bring words, streams and exit codes through unchanged; looking touches nothing."""
    file = str(standin.file)
    assert standin.run("exec", file, "true", code=125).stderr.startswith("error: the cluster demo is not up")
    assert standin.run("get-head-ip", file, code=1).stdout == ""
    assert standin.run("get_worker_ips", file).stdout == ""
    standin.up()

    assert standin.run("exec", file, "exit 7", code=7).stderr == ""
    assert standin.run("exec", file, "kill -9 $BASHPID", code=137).stdout == ""
    said = standin.run("exec", file, "cat; echo err >&2; echo $RAY_ADDRESS", input="given", stdin=None)
    assert said.stdout.startswith("given")
    assert said.stderr == "err\n"
    assert said.stdout.removeprefix("given").strip().startswith("127.0.0.")
    odd = "a  b|'\"$HOME`id`{{ x }}\\"
    assert standin.run("exec", file, f"printf %s {shlex.quote(odd)}").stdout == odd
    foreign = {"RAY_ADDRESS": "9.9.9.9:1", "RAY_JOB_ID": "01"}
    assert "9.9.9.9" not in standin.run("exec", file, "env", env=foreign).stdout

    script = standin.folder / "my script.py"
    script.write_text("import sys; print(sys.argv[1:], sys.stdin.read()); sys.exit(3)")
    words = ["--epochs", "3", "-n", "x", "a b", "", "$HOME", "--"]
    said = standin.run("submit", file, "-n", "demo", str(script), *words, code=3, input="given", stdin=None)
    assert said.stdout == f"{words} given\n"
    assert standin.run("submit", file, str(standin.folder / "gone.py"), code=125).stdout == ""

    assert "there is such a file already" in standin.run("cluster-dump", file, "-o", file, code=2).stderr
    assert "there is no folder /nosuch" in standin.run("cluster-dump", file, "-o", "/nosuch/x.tgz", code=2).stderr
    assert "contradict" in standin.run("cluster-dump", file, "-h", ONE, "--limit", ONE, code=2).stderr

    addresses = [node["address"] for node in standin.nodes().values()]
    assert standin.run("get_head_ip", file).stdout.split() == addresses[:1]
    assert standin.run("get-worker-ips", file).stdout.split() == addresses[1:]
    assert {node["steps_done"] for node in standin.nodes("--probe").values()} == {1}
    assert "0 of 3 nodes joined" in standin.run("status", file).stdout


def test_only_what_changed_runs_again(standin: Any) -> None:
    source, target = standin.folder / "source", standin.folder / "target"
    source.mkdir()
    (source / "tool").write_text("#!/bin/sh\n")
    (source / "x.pyc").write_text("one")
    steps = [standin.note(str(n)) for n in range(1, 7)]
    more = f"file_mounts: {{{target}: source}}\nrsync_exclude: ['*.pyc']"

    def counts() -> list[int]:
        """How often each step ran on the first worker, and how often Ray was started there."""
        return [standin.noted(name).count(ONE) for name in (*"123456", "starts")]

    standin.write(*steps, more=more)
    standin.up()
    assert counts() == [1] * 7
    assert (target / "tool").exists()
    assert not (target / "x.pyc").exists()

    # neither what is excluded nor where the tree lies
    (source / "x.pyc").write_text("two")
    shutil.copytree(source, standin.folder / "moved")
    standin.write(*steps, more=more.replace("source", "moved"))
    assert "nothing changed" in standin.up().stdout

    # a mode is part of a tree; the steps behind it run again
    (standin.folder / "moved" / "tool").chmod(0o755)
    foreseen = standin.up("--check", "--diff")
    assert counts() == [1] * 7
    assert stat.S_IMODE((target / "tool").stat().st_mode) == 0o644
    assert f"{ONE}, {TWO}: copy {target}; run set-up from step 1 of 6" in foreseen.stdout
    assert "tool (0755)" in foreseen.stdout
    standin.up()
    assert counts() == [2] * 7
    assert stat.S_IMODE((target / "tool").stat().st_mode) == 0o755

    # an edited fifth command
    more = more.replace("source", "moved")
    edited = [*steps[:4], steps[4] + " # edited", steps[5]]
    standin.write(*edited, more=more)
    standin.up("--no_restart")
    assert counts() == [2, 2, 2, 2, 3, 3, 2]
    standin.up()
    assert counts() == [2, 2, 2, 2, 3, 3, 3], "a set-up step ran since it was started"

    # on demand
    standin.up("--rerun", "6")
    assert counts() == [2, 2, 2, 2, 3, 4, 4]
    standin.up("--restart-only")
    assert counts() == [2, 2, 2, 2, 3, 4, 5]
    standin.up("--limit", TWO, "--restart")
    assert counts()[-1] == 5
    assert standin.noted("starts").count(TWO) == 6
    assert "there are only 6 set-up steps" in standin.up("--rerun", "7", code=2).stderr
    assert "names no node" in standin.up("--limit", "nobody", code=2).stderr


def test_a_failed_step_is_one_block_and_the_next_up_resumes_there(standin: Any) -> None:
    hurt = f"case $RAYCTL_STEP in *worker-1) echo so; echo it goes; test -e {standin.out}/mended || exit 3;; esac"
    standin.write(standin.note("one"), standin.note("two", hurt), standin.note("three"))
    failed = standin.up(code=1)
    block = failed.stderr.partition("✗ ")[2]
    assert block.startswith(f"{ONE}: ")
    for line in ("  exit   3\n", "  | so\n  | it goes\n", "1 node failed; the other 2 nodes are up"):
        assert line in block
    assert failed.stderr.count("✗ ") == 1
    log = Path(block.partition("  log    ")[2].splitlines()[0])
    assert log.read_text().endswith("so\nit goes\n")
    resume = block.splitlines()[-1].strip()
    assert resume == f"rayctl up {standin.file}"
    assert standin.noted("three") == [HEAD, TWO], "others go on"

    (standin.out / "mended").touch()
    subprocess.run(["bash", "-c", f"{resume} -y"], env=standin.env, capture_output=True, check=True)
    assert standin.noted("one") == ALL
    assert standin.noted("two") == sorted([*ALL, ONE])
    assert standin.noted("three") == standin.noted("starts") == ALL


def test_a_head_that_fails_is_told_apart_from_those_that_wait_for_it(standin: Any) -> None:
    standin.write(standin.note("one"), more="head_setup_commands: ['exit 4']")
    failed = standin.up(code=1).stderr
    assert f"✗ {HEAD}: exit 4 ended with exit code 4" in failed
    assert f"✗ {ONE}, {TWO}: not joined, because the head is not up" in failed
    assert standin.noted("one") == ALL, "workers are prepared all the same"


def test_steps_that_never_end_read_or_leave_something_behind(standin: Any) -> None:
    standin.write(
        "read x; cat; echo nothing was there",
        "sleep 300 & echo $! > " + str(standin.out / "daemon") + "-${RAYCTL_STEP##*/}",
        {"command": "echo begun; sleep 301", "timeout_s": 1, "name": "the slow one"},
    )
    failed = standin.up(code=1).stderr
    assert "the slow one ran out of time after 1" in failed
    assert "  | begun\n" in failed
    left = standin.processes()
    assert sum("sleep 300" in line for line in left) == 3, "what a step leaves behind on purpose stays"
    assert not any("sleep 301" in line for line in left)
    standin.run("down", "-y", str(standin.file))
    assert standin.processes() == []


def test_more_fewer_and_other_workers(standin: Any) -> None:
    standin.up()
    standin.up("--min-workers", "3")
    assert list(standin.nodes()) == [*ALL, "demo-worker-3"]
    assert standin.noted("one").count(ONE) == 1, "those that were there are left alone"
    standin.up()
    assert len(standin.nodes()) == 4, "what is between minimum and maximum stays"
    shown = standin.up("--max-workers", "1", "--check").stdout
    assert "demo-worker-2, demo-worker-3: end it: worker has at most 1" in shown
    assert len(standin.nodes()) == 4
    standin.up("--max-workers", "2")
    assert list(standin.nodes()) == ALL

    standin.file.write_text(standin.file.read_text().replace("worker: {min_workers: 2}", "other: {min_workers: 1}"))
    assert "the type worker is no longer in the file" in standin.up("--check").stdout
    standin.up("--restart-only")
    assert standin.noted("starts").count(ONE) == 1, "a type that is no more only waits for its end"
    standin.up()
    assert list(standin.nodes()) == [HEAD, "demo-other-1"]

    standin.up("--min-workers", "2")
    standin.run("down", "-y", "--keep-min-workers", str(standin.file))
    assert list(standin.nodes()) == [HEAD, "demo-other-1"]
    standin.run("down", "-y", "--workers-only", str(standin.file))
    assert list(standin.nodes()) == [HEAD]

    standin.file.write_text(standin.file.read_text().replace("  head: {}", "  boss: {}") + "head_node_type: boss\n")
    refused = standin.up(code=2).stderr
    assert "is of the type `head`, but the file's head type is `boss`" in refused


def test_a_lost_head_comes_back_and_a_strange_cluster_does_not_go_unseen(standin: Any) -> None:
    standin.up()
    records = standin.home / "embedded" / "demo"
    (records / "nodes" / f"{HEAD}.json").unlink()
    assert list(standin.nodes()) == ALL[1:]
    assert standin.run("get-head-ip", str(standin.file), code=1).stderr.startswith("error: the cluster demo is not up")
    back = standin.up()
    assert list(standin.nodes()) == ["demo-head-2", ONE, TWO], "a name is never given twice"
    assert "launched (head" in back.stderr

    document = json.loads((records / "cluster.json").read_text())
    (records / "cluster.json").write_text(json.dumps({**document, "cluster_id": "11111111-2222-3333-4444-555555555555"}))
    for command in ("up", "down"):
        refused = standin.run(command, "-y", str(standin.file), code=3).stderr
        assert "another cluster of the same name" in refused
        assert "--accept-other-cluster" in refused
    assert len(standin.nodes()) == 3
    standin.run("down", "-y", "--accept-other-cluster", str(standin.file))
    assert standin.nodes() == {}


def test_json_is_one_event_a_line_and_nothing_else(standin: Any) -> None:
    standin.write(standin.note("one", "echo hello"))
    done = standin.up("--format", "json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["cluster"] for event in events} == {"demo"}
    assert events[-1]["kind"] == "operation_ended"
    assert events[-1]["data"]["exit_code"] == 0
    assert {event["node"] for event in events if event["kind"] == "step_output"} == set(ALL)
    assert done.stderr == ""
    standin.write("exit 3")
    failed = standin.up("--format", "json", code=1)
    assert json.loads(failed.stdout.splitlines()[-1])["data"]["exit_code"] == 1
    bad = standin.run("up", "-y", "--format", "json", str(standin.folder / "gone.yaml"), code=2)
    assert json.loads(bad.stdout)["kind"] == "operation_ended"
    down = standin.run("down", "-y", "--format", "json", str(standin.file))
    assert json.loads(down.stdout.splitlines()[-1])["kind"] == "operation_ended"


def test_ray_that_is_missing_of_another_version_or_in_the_way(standin: Any) -> None:
    """`provider.python` decides which `ray` a node finds: here none, and then one that only says it started."""
    bin_ = standin.folder / "bin"
    bin_.mkdir()
    (bin_ / "python3").symlink_to(os.path.realpath("/proc/self/exe"))
    standin.env["PATH"] = "/usr/bin:/bin"
    text = f"""\
cluster_name: demo
provider: {{type: embedded, python: {bin_}/python3}}
available_node_types: {{head: {{}}}}
head_start_ray_commands: [ray start --head --port=23456]
"""
    standin.file.write_text(text)
    assert "there is no ray command on this node's PATH" in standin.up(code=1).stderr

    ray = bin_ / "ray"
    ray.write_text(f"#!{sys.executable}\nprint('started')\n")
    ray.chmod(0o755)
    standin.file.write_text(text + 'ray_version: "1.2.3"\n')
    assert "but the cluster needs Ray 1.2.3" in standin.up(code=1).stderr
    standin.file.write_text(text)
    assert "ended well, but gcs_server is not running" in standin.up(code=1).stderr

    with socket.create_server(("127.0.0.1", 23456)):
        refused = standin.up(code=1).stderr
    assert "port 23456 is in use by" in refused
    assert f"pid {os.getpid()}" in refused


def test_inside_of_another_clusters_step_rayctl_is_not_confused(standin: Any) -> None:
    foreign = {
        "RAYCTL_LEASE": "f" * 32, "RAYCTL_STEP": "x/y", "RAYCTL_NODE": "x/y", "RAYCTL_OWNER": "1/1", "RAYCTL_PROGRESS": "/no",
        "RAY_ADDRESS": "9.9.9.9:1", "RAY_AUTH_TOKEN": "z" * 64, "ANSIBLE_CHECK_MODE_MARKERS": "1",
    }  # fmt: skip
    standin.write(standin.note("one", f"env > {standin.out}/env-${{RAYCTL_STEP##*/}}"))
    standin.up(env=foreign)
    assert standin.noted("one") == standin.noted("starts") == ALL
    seen = (standin.out / f"env-{ONE}").read_text()
    for value in ("9.9.9.9", "zzzz", "RAYCTL_LEASE", "RAYCTL_PROGRESS"):
        assert value not in seen


def test_commands_that_bring_up_and_end_what_they_run_on(standin: Any) -> None:
    file = str(standin.file)
    done = standin.run("exec", "--start", file, "echo here; exit 4", code=4)
    assert done.stdout == "here\n"
    assert "up done" in done.stderr
    assert standin.noted("one") == [HEAD, ONE, TWO]
    assert standin.run("exec", "--all-nodes", file, "echo $RAY_ADDRESS").stdout.count("127.0.0.") == 1, "all see one head"
    assert (
        standin.run("exec", "--workers", "--stop", file, "exit 2", code=1).stdout == f"== {ONE}, {TWO} (2 nodes): exit code 2\n"
    )
    assert standin.nodes() == {}
    assert standin.run("exec", "--stop", file, "--nosuch", "x", code=125).stdout == ""
    assert "is not up" in standin.run("attach", file, code=125).stderr


def test_files_are_copied_on_this_machine_too(standin: Any) -> None:
    standin.up()
    source, target = standin.folder / "source", standin.folder / "far" / "away"
    (source / "sub").mkdir(parents=True)
    (source / "sub" / "a b").write_text("x")
    assert "1 file copied, 1 B" in standin.run("rsync-up", str(standin.file), f"{source}/", f"{target}/", "--all-nodes").stdout
    standin.run("rsync-down", str(standin.file), f"{target}/sub/a b", str(standin.folder / "back" / "it"))
    assert (standin.folder / "back" / "it").read_text() == "x"
    (source / "a:b").write_text("y")
    standin.run("rsync-up", str(standin.file), "a:b", f"{target}/a:b", cwd=source)
    standin.run("rsync-down", str(standin.file), f"{target}/a:b", "b:a", cwd=source)
    assert (source / "b:a").read_text() == "y", "a colon makes no host of a path"
    assert "neither for all file mounts" in standin.run("rsync-up", str(standin.file), "one", code=2).stderr
    assert "has no file_mounts" in standin.run("rsync-up", str(standin.file), code=2).stderr


def test_a_plan_tells_what_up_does_and_up_does_what_a_plan_told(standin: Any) -> None:
    file, kept = str(standin.file), standin.folder / "kept.plan"

    def plan(*flags: str, code: int = 0) -> dict[str, Any]:
        return json.loads(standin.run("plan", file, "--format", "json", *flags, code=code).stdout)  # type: ignore[no-any-return]

    def actions(found: dict[str, Any]) -> dict[str, str]:
        return {node["node"] or node["type"]: node["action"] for node in found["nodes"]}

    assert actions(plan("--detailed-exitcode", code=2)) == {"head": "launch", "worker": "launch"}
    assert not standin.home.exists(), "nothing was touched"
    standin.up()
    assert plan("--detailed-exitcode")["changes"] is False

    standin.write(standin.note("one"), standin.note("two"))
    told = plan("--out", str(kept), "--limit", ONE)
    assert actions(told) == {ONE: "restart"}
    assert [(step["index"], step["why"]) for step in told["nodes"][0]["steps"]] == [(2, "it has not been run yet")]
    assert told["interrupts"] == "some"
    shown = standin.run("plan", file, "--limit", ONE).stdout
    assert f"{ONE}: run set-up from step 2 of 2; restart Ray, because a set-up step runs before" in shown
    assert standin.up("--check", "--limit", ONE).stdout == shown
    assert standin.noted("two") == []
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600

    assert "cannot be given beside it" in standin.run("up", file, "--plan", str(kept), "--restart", code=2).stderr
    standin.run("up", file, "--plan", str(kept))  # without a question
    assert standin.noted("two") == [ONE]
    moved = standin.run("up", file, "--plan", str(kept), code=3)
    assert "is not as it was when the plan was made; nothing was touched" in moved.stderr
    assert standin.noted("two") == [ONE]

    kept.write_text("{}")
    assert "is no plan" in standin.run("up", file, "--plan", str(kept), code=2).stderr
    assert standin.run("plan", file, "--limit", "nosuch", code=2).stdout == ""
    standin.run("plan", file, "--limit", "nosuch", "--detailed-exitcode", code=1)


def test_a_cluster_is_known_by_its_name_and_its_runs_are_remembered(standin: Any) -> None:
    file = str(standin.file)
    assert "no clusters yet" in standin.run("list").stdout
    standin.write(standin.note("one", "echo loud"))
    standin.up()
    assert re.search(rf"^demo +up \d+ s ago, ok +{re.escape(file)}$", standin.run("list").stdout, re.M)
    (known,) = json.loads(standin.run("list", "--format", "json").stdout)
    assert (known["name"], known["last"]["operation"]) == ("demo", "up")
    assert standin.run("exec", "demo", "echo by name").stdout == "by name\n"
    assert "loud" in standin.run("logs", "demo").stdout
    assert ONE not in standin.run("logs", "demo", TWO).stdout
    assert standin.run("logs", "demo", ONE, "--step", "1").stdout == "loud\n"
    assert "ran step 7" in standin.run("logs", "demo", ONE, "--step", "7", code=1).stderr
    assert "needs a node" in standin.run("logs", "demo", "--step", "1", code=2).stderr
    assert standin.run("ssh-config", "demo", code=3).stdout == ""

    standin.run("up", "-y", file, "-n", "second")
    assert standin.run("exec", "second", "echo $RAY_ADDRESS").stdout != standin.run("exec", "demo", "echo $RAY_ADDRESS").stdout
    standin.run("down", "-y", "second")
    assert "down" in standin.run("list").stdout
    assert "no cluster that this machine has met" in standin.run("status", "third", code=2).stderr
    standin.up()
    assert ONE in standin.run("logs", "demo", ONE).stdout, "of the run before, which had to do with it"
    assert "no run that is remembered here had to do with nosuch" in standin.run("logs", "demo", "nosuch", code=2).stderr


def test_restart_starts_ray_anew_and_does_nothing_else(standin: Any) -> None:
    standin.up()
    assert "Ray was started anew on " + ONE in standin.run("restart", "-y", str(standin.file), "--limit", ONE).stdout
    assert standin.noted("starts") == sorted([*ALL, ONE])
    assert standin.noted("one") == ALL
