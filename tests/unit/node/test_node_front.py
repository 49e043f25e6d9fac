# SPDX-License-Identifier: Apache-2.0
"""The node's end of the line, asked as a controller asks: many questions over one line, and what only a claimed host does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from claim_bench import ANNA, Host, as_user, needs_root, request
from node_bench import PYTHONS, Bench, Line, Step

from rayctl.node import claim, handover, processes

SECRET = "c0ffee" * 10
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def line(bench: Bench, shared_host: Host) -> Line:
    """A line that serves until it ends."""
    return bench.request({"op": "serve"})


@pytest.fixture
def ask(line: Line, bench: Bench) -> Ask:
    """Put a question over the line; the answer."""

    def put(op: str, **fields: Any) -> dict[str, Any]:
        line.channel.send({"op": op, "state_dir": str(bench.state_dir), **fields})
        return line.until("done")

    return put


def wanted(bench: Bench, **changes: Any) -> dict[str, Any]:
    """What a controller asks to claim the node's host."""
    return request(**{"cluster_id": bench.cluster_id, "node": bench.name, **changes})._asdict()


# ---- many questions
def test_one_start_serves_many_requests_and_ends_with_the_line(bench: Bench, line: Line, ask: Ask) -> None:
    assert ask("probe", mark="c/n")["broken"] == "it was not started yet"
    assert ask("claim", claim=wanted(bench))["cluster_id"] == bench.cluster_id
    assert ask("token")["token"] == ""
    assert ask("cancel")["stopped"] is False
    assert line.channel.close() == 0
    assert len(line.heard) == 4


@pytest.mark.parametrize(
    "asked", [{"op": "run"}, {"op": "serve"}, {}, {"op": ["probe"]}, {"op": "probe"}, {"op": "claim", "claim": {"x": 1}}]
)
def test_what_it_does_not_understand_is_answered_and_ends_nothing(ask: Ask, line: Line, asked: dict[str, Any]) -> None:
    line.channel.send(asked)
    answer = line.until("done")
    assert answer["failed"] is True
    assert "the node does not understand" in answer["message"]
    assert ask("token")["token"] == ""


def test_an_error_is_a_reply_and_ends_nothing(bench: Bench, ask: Ask) -> None:
    bench.folder.parent.mkdir(mode=0o700)
    bench.folder.symlink_to(bench.out)
    assert "is a symlink" in ask("probe", mark="c/n")["message"]
    assert "is a symlink" in ask("claim", claim=wanted(bench))["message"]
    assert ask("cancel")["failed"] is True


def test_each_of_them_can_be_asked_alone(bench: Bench, shared_host: Host) -> None:
    answer = bench.request({"op": "claim", "state_dir": str(bench.state_dir), "claim": wanted(bench)}).done()
    assert answer["generation"] == 1


@pytest.mark.parametrize("python", PYTHONS)
def test_every_interpreter_takes_a_host_and_frees_it(bench_of: Callable[[str], Bench], shared_host: Host, python: str) -> None:
    bench = bench_of(python)
    place = {"state_dir": str(bench.state_dir)}
    assert bench.request({"op": "claim", "claim": wanted(bench), **place}).done()["generation"] == 1
    assert bench.run("true", claimed=True, handover={"env": {}})["message"] == ""
    assert bench.request({"op": "release", "cluster_id": bench.cluster_id, **place}).done()["released"] is True


# ---- the answers
def test_a_claim_is_founded_launched_tagged_and_released(bench: Bench, ask: Ask, shared_host: Host) -> None:
    founding = {key: wanted(bench)[key] for key in ("cluster", "node", "node_kind", "type", "owner")}
    assert ask("claim", claim={**founding, "proposed": "id-1"})["cluster_id"] == "id-1"
    assert ask("claim", claim={**founding, "proposed": "id-2"})["cluster_id"] == "id-1"
    answer = ask("claim", claim=wanted(bench, cluster_id="id-1"))
    assert (answer["generation"], answer["cluster_id"]) == (1, "id-1")
    assert 800 < answer["remaining_s"] <= claim.CLAIM_S
    assert ask("set_tags", cluster_id="id-1", tags={"a": "b"}).get("failed") is None
    assert ask("release", cluster_id="id-1") == {"left": [], "released": True, "event": "done"}
    assert ask("release", cluster_id="id-1") == {"left": [], "released": False, "event": "done"}
    assert list(shared_host.place.iterdir()) == []
    assert not bench.state_dir.exists()


def test_who_comes_second_hears_who_has_the_host(bench: Bench, ask: Ask) -> None:
    ask("claim", claim=wanted(bench))
    held = ask("claim", claim=wanted(bench, cluster="other", cluster_id="id-other"))["held"]
    remaining_s = held.pop("remaining_s")
    assert 800 < remaining_s <= claim.CLAIM_S
    assert held == {
        "cluster": "demo", "cluster_id": bench.cluster_id, "node": bench.name, "node_kind": "head", "owner": "anna@laptop",
        "uid": os.geteuid(), "user": held["user"],
    }  # fmt: skip


@needs_root
def test_another_users_claim_is_told_by_their_name_here(bench: Bench, ask: Ask, shared_host: Host) -> None:
    as_user(ANNA, shared_host.taken)
    assert ask("claim", claim=wanted(bench))["held"]["user"] == str(ANNA)


def test_the_lease_is_read_and_set(ask: Ask) -> None:
    assert ask("lease_read")["lease"] is None
    assert ask("lease_set", expected=0, lease={"generation": 1, "token": "t"})["stored"] is True
    assert ask("lease_set", expected=0, lease={"generation": 1, "token": "u"})["stored"] is False
    answer = ask("lease_read")
    assert answer["lease"] == {"generation": 1, "token": "t"}
    assert answer["boot_id"] == processes.boot_id()
    assert answer["now"] == pytest.approx(processes.uptime(), abs=5)


def test_the_token_is_told_to_another_controller(bench: Bench, ask: Ask) -> None:
    handover.write_token(str(bench.state_dir), SECRET)
    assert ask("token")["token"] == SECRET


# ---- runs on a claimed host
def test_a_run_on_a_host_that_is_not_ours_does_and_leaves_nothing(bench: Bench, shared_host: Host) -> None:
    done = bench.run('echo x >> "$O/ran"', claimed=True)
    assert done["failed"] is True
    assert "this host is no node of this cluster: it is free" in done["message"]
    assert bench.traces() == []
    assert not bench.state_dir.exists()


def test_a_run_on_a_host_that_another_cluster_took_names_it(bench: Bench, shared_host: Host) -> None:
    shared_host.taken(cluster="other", cluster_id="id-other")
    done = bench.run("true", claimed=True)
    assert "claimed by anna@laptop for the cluster other of user" in done["message"]


def test_others_see_the_runner_in_the_claim_and_it_is_renewed(bench: Bench, shared_host: Host) -> None:
    claim.take(str(bench.state_dir), claim.Request(**wanted(bench, ttl_s=60.0)), str(shared_host.place))
    line = bench.open(bench.plan(f"sleep {bench.nap}", claimed=True))
    line.until("step", state="run")
    mine, runner = shared_host.board.mine(), bench.runner()
    assert mine is not None
    assert runner is not None
    assert [process[:2] for process in mine.processes] == [(runner["pid"], runner["started"])]
    assert mine.expires > processes.uptime() + 600
    line.channel.send({"cancel": "enough"})
    assert line.done()["cancelled"] is True


def test_a_plan_without_a_claim_asks_for_none(bench: Bench, shared_host: Host) -> None:
    assert bench.run("true")["failed"] is False
    assert list(shared_host.place.iterdir()) == []


# ---- secrets
def test_the_token_arrives_and_is_written_nowhere_else(bench: Bench) -> None:
    show = Step('env >> "$O/env"; tr "\\0" " " < /proc/$PPID/cmdline >> "$O/env"', env={"RAY_AUTH_TOKEN_PATH": "x"})
    assert bench.open(bench.plan(show, claimed=False), secrets={"ray_token": SECRET}).done()["message"] == ""
    assert (bench.state_dir / "token").read_text() == SECRET
    assert (bench.state_dir / "token").stat().st_mode & 0o7777 == 0o600
    files = [path for place in (bench.state_dir, bench.out, bench.home) for path in place.rglob("*") if path.is_file()]
    assert {path.name for path in files} >= {"state.json", "runner.log", "env", "01-setup.log"}
    assert [path.name for path in files if SECRET in Path(path).read_text()] == ["token"]


def test_a_run_without_secrets_writes_no_token(bench: Bench) -> None:
    bench.run("true")
    assert not (bench.state_dir / "token").exists()
