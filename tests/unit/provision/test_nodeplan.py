# SPDX-License-Identifier: Apache-2.0
"""What a node is sent: everything from the file arrives as written, and digests see what the user wrote alone."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rayctl.config.load import parse
from rayctl.providers.base import Addresses, Connection, Kind, Node, NodeState
from rayctl.provision import nodeplan
from rayctl.provision.deployment import Deployment

FILE = """\
cluster_name: demo
provider: {type: embedded}
available_node_types:
  head: {resources: {CPU: 2}}
  worker: {labels: {tier: gold}}
setup_commands:
  - echo "{{ lookup('pipe', 'id') }}" ${HOME} $(id) `id` %s
  - command: docker ps --format '{{.Names}}'
    name: list
    timeout_s: 5
    env: {A: "{{ b }}"}
"""
HEAD = Node("i-1", "demo-head-1", Kind.HEAD, "head", NodeState.RUNNING, "t", Addresses("127.0.0.5"))
WORKER = Node("i-2", "demo-worker-1", Kind.WORKER, "worker", NodeState.RUNNING, "t", Addresses("127.0.0.6"))


class Given:
    """The part of a provider that plans ask."""

    def __init__(self, **flags: str) -> None:
        self.flags = flags

    def connection(self, node: Node) -> Connection:
        return Connection("local", "127.0.0.5", f"/state/{node.name}", {"E": "1"}, ("/a", "/b"))

    def start_flags(self, node: Node) -> dict[str, str]:
        return self.flags


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))


def deployment(text: str = FILE, cluster_id: str = "id-1", **flags: str) -> Deployment:
    return Deployment(parse(text, "/f/c.yaml"), Given(**flags), cluster_id, (HEAD, WORKER))  # type: ignore[arg-type]


def plan(node: Node = HEAD, text: str = FILE, mounts: dict[str, str] | None = None, **flags: str) -> dict[str, Any]:
    return nodeplan.plan_of(deployment(text, **flags), node, mounts or {}, nodeplan.Options())


def digests(found: dict[str, Any]) -> list[str]:
    return [step["digest"] for step in found["steps"]]


def test_what_looks_like_a_template_arrives_as_written() -> None:
    first, second = plan()["steps"]
    assert first["command"] == "echo \"{{ lookup('pipe', 'id') }}\" ${HOME} $(id) `id` %s"
    assert second == {
        "phase": "setup", "name": "list", "command": "docker ps --format '{{.Names}}'", "digest": second["digest"],
        "env": {"A": "{{ b }}"}, "timeout_s": 5.0,
    }  # fmt: skip


def test_a_plan_is_json_and_the_same_each_time() -> None:
    assert json.dumps(plan(), sort_keys=True) == json.dumps(plan(), sort_keys=True)


def test_an_edited_step_changes_its_digest_and_those_behind_it() -> None:
    before = digests(plan())
    assert digests(plan(text=FILE.replace("docker ps", "docker ps -a")))[0] == before[0]
    after = digests(plan(text=FILE.replace("%s", "%d")))
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_a_changed_mount_changes_all_steps() -> None:
    one, other = (digests(plan(mounts={"~/a": value})) for value in ("v1:a", "v1:b"))
    assert not set(one) & set(other)


def test_a_name_or_time_out_is_no_reason_to_run_again() -> None:
    assert digests(plan(text=FILE.replace("name: list\n    timeout_s: 5", "name: other\n    timeout_s: 9"))) == digests(plan())


def test_nodes_of_one_kind_share_their_digests_whatever_their_names_and_addresses() -> None:
    other = replace(HEAD, id="i-9", name="demo-head-9", addresses=Addresses("127.0.0.9"))
    assert digests(plan(other)) == digests(plan())
    assert plan(other)["ray"]["digest"] == plan()["ray"]["digest"]


def test_flags_of_the_machine_reach_ray_but_not_the_digest() -> None:
    found = plan(**{"node-ip-address": "127.0.0.5", "port": "10240"})
    assert "--port=10240" in found["ray"]["commands"][0]["command"]
    assert found["ray"]["port"] == 10240
    assert found["ray"]["ports"] == [10240]
    assert found["ray"]["digest"] == plan()["ray"]["digest"]


def test_a_port_in_the_file_wins_and_must_be_free() -> None:
    text = FILE + "head_start_ray_commands: [ray start --head --port=7000]\n"
    found = plan(text=text, port="10240")["ray"]
    assert (found["port"], found["ports"]) == (7000, [7000])


def test_start_commands_that_start_no_ray_leave_nothing_to_watch() -> None:
    found = plan(text=FILE + "head_start_ray_commands: [sleep 1]\n", port="10240")["ray"]
    assert (found["processes"], found["ports"]) == ([], [])
    assert not found["commands"][0]["checks"]


def test_a_worker_on_the_controllers_own_machine_does_not_give_up() -> None:
    assert "orphan_timeout_s" not in plan(WORKER, FILE + "scaler: {orphan_timeout: 60}\n")


def test_the_head_is_watched_with_its_gcs() -> None:
    assert plan()["ray"]["processes"] == ["gcs_server", "raylet"]
    assert plan(WORKER)["ray"]["processes"] == ["raylet"]


def test_ray_is_told_who_the_node_is_and_what_it_has() -> None:
    env = plan()["ray"]["env"]
    assert env["RAY_CLOUD_INSTANCE_ID"] == "i-1"
    assert env["RAY_NODE_TYPE_NAME"] == "head"
    assert json.loads(env["RAY_OVERRIDE_RESOURCES"]) == {"CPU": 2.0}
    assert json.loads(plan(WORKER)["ray"]["env"]["RAY_OVERRIDE_LABELS"]) == {"tier": "gold"}


def test_the_token_travels_as_a_path() -> None:
    env = plan()["ray"]["env"]
    token = Path(env["RAY_AUTH_TOKEN_PATH"]).read_text()
    assert len(token) == 64
    assert token not in json.dumps(plan())


def test_without_a_token_ray_is_told_so() -> None:
    env = plan(text=FILE + "auth: {ray_token: false}\n")["ray"]["env"]
    assert env["RAY_AUTH_MODE"] == "disabled"
    assert "RAY_AUTH_TOKEN_PATH" not in env


def test_changed_resources_are_a_reason_to_start_ray_anew() -> None:
    assert plan(text=FILE.replace("CPU: 2", "CPU: 3"))["ray"]["digest"] != plan()["ray"]["digest"]


def test_a_machine_keeps_what_it_was_launched_with_where_the_file_says_nothing() -> None:
    resources, labels = nodeplan.offers(deployment(), replace(WORKER, resources={"GPU": 1.0}, labels={"tier": "old"}))
    assert resources == {"GPU": 1.0}
    assert labels == {"tier": "gold"}


def test_a_check_asks_for_no_runner() -> None:
    checked = nodeplan.plan_of(deployment(), HEAD, {}, nodeplan.Options(check=True))
    assert nodeplan.request_for(checked, {})["op"] == "check"
    assert nodeplan.request_for(plan(), {})["op"] == "run"


def test_plans_that_differ_are_told_apart_by_their_digest() -> None:
    one, other = (nodeplan.request_for(plan(text=FILE.replace("%s", text)), {})["plan_digest"] for text in ("%s", "%d"))
    assert one != other


def test_a_version_is_checked_on_every_node_and_installed_only_where_asked() -> None:
    checked = plan(text=FILE + 'ray_version: "2.60.0"\n')
    assert (len(checked["steps"]), checked["ray"]["want_ray"]) == (2, "2.60.0")
    installed = plan(WORKER, text=FILE + 'ray_version: {version: "2.60.0", install: true}\n')
    assert installed["steps"][-1]["name"] == "install Ray 2.60.0"


@pytest.mark.parametrize(("there", "asked"), [("2.60.0", False), ("2.59.0", True), ("", True)])
def test_ray_is_installed_only_where_it_is_another(there: str, asked: bool, tmp_path: Path) -> None:
    """The step itself, in a shell whose python3 answers as told and writes down what pip was asked for."""
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/sh\ncase "$1" in -c) echo "{there}";; *) echo "$@" > {tmp_path}/asked;; esac\n')
    python.chmod(0o755)
    step = plan(text=FILE + 'ray_version: {version: "2.60.0", install: true}\n')["steps"][-1]
    subprocess.run(["/bin/bash", "-c", step["command"]], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=True)
    asked_for = tmp_path / "asked"
    assert asked_for.exists() is asked
    if asked:
        assert asked_for.read_text() == "-m pip install --quiet ray[default]==2.60.0\n"
