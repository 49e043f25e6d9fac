# SPDX-License-Identifier: Apache-2.0
"""What a declared host is sent beyond other nodes: its claim, the way in, ports others may have, secrets beside the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rayctl.config.load import parse
from rayctl.errors import RayctlError
from rayctl.providers.registry import provider_for
from rayctl.provision import nodeplan
from rayctl.provision.deployment import Deployment
from rayctl.state import paths, token

FILE = """\
cluster_name: demo
provider:
  type: local
  hosts:
    - {address: 10.0.0.1, name: boss}
    - {address: 10.0.0.2, resources: {GPU: 1}, labels: {rack: b}, python: /opt/python3}
available_node_types:
  head: {resources: {CPU: 0}}
  worker: {resources: {CPU: 4}, labels: {tier: gold}}
cluster_synced_files: [~/model]
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def deployment(text: str = FILE) -> Deployment:
    loaded = parse(text, "/f/c.yaml")
    provider = provider_for(loaded.config, loaded.folder)
    return Deployment(loaded, provider, "id-1", tuple(provider.declared()))  # type: ignore[attr-defined]


def plan(name: str, text: str = FILE) -> dict[str, Any]:
    deployed = deployment(text)
    node = deployed.node(name)
    assert node is not None
    return nodeplan.plan_of(deployed, node, {}, nodeplan.Options())


def secrets(text: str = FILE) -> dict[str, str]:
    deployed = deployment(text)
    boss = deployed.node("boss")
    assert boss is not None
    return nodeplan.secrets_for(deployed, boss, plan("boss", text), "")


def test_a_declared_host_works_only_under_its_claim() -> None:
    found = plan("10.0.0.2")
    assert found["claimed"] is True
    assert found["state_dir"] == "~/.rayctl/demo"


def test_the_token_is_named_by_its_place_on_the_node_and_never_told() -> None:
    found = plan("boss")
    expected = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "{state_dir}/token"}
    assert found["handover"]["env"] == expected
    assert expected.items() <= found["ray"]["env"].items()


def test_a_host_offers_its_own_resources_over_those_of_its_type() -> None:
    env = plan("10.0.0.2")["ray"]["env"]
    assert json.loads(env["RAY_OVERRIDE_RESOURCES"]) == {"CPU": 4.0, "GPU": 1.0}
    assert json.loads(env["RAY_OVERRIDE_LABELS"]) == {"tier": "gold", "rack": "b"}


def test_only_workers_get_the_files_of_the_head() -> None:
    assert plan("10.0.0.2")["synced"] == ["~/model"]
    assert plan("boss")["synced"] == []


@pytest.mark.parametrize(
    ("scaler", "expected"), [("", 1800.0), ("scaler: {orphan_timeout: 60}\n", 60.0), ("scaler: {orphan_timeout: 0}\n", None)]
)
def test_only_workers_give_up_without_their_head_and_that_is_no_reason_to_start_ray_anew(
    scaler: str, expected: float | None
) -> None:
    found = plan("10.0.0.2", FILE + scaler)
    assert found.get("orphan_timeout_s") == expected
    assert found["ray"] == plan("10.0.0.2")["ray"]
    assert "orphan_timeout_s" not in plan("boss", FILE + scaler)


def test_our_own_start_commands_may_move_their_ports_and_written_ones_may_not() -> None:
    assert plan("boss")["ray"]["preferred_ports"]["port"] == 6379
    assert "port" not in plan("10.0.0.2")["ray"]["preferred_ports"]
    written = FILE + "head_start_ray_commands: ['ray start --head --port=7000']\n"
    assert plan("boss", written)["ray"]["preferred_ports"] == {}


def test_fixed_ports_lie_outside_of_the_range_that_ray_gives_to_its_workers() -> None:
    for port in plan("boss")["ray"]["preferred_ports"].values():
        assert port < 10002 or 19999 < port < 32768


def test_secrets_lie_beside_the_plan_and_change_no_digest() -> None:
    found = plan("boss")
    bare, with_secret = nodeplan.request_for(found, {}), nodeplan.request_for(found, {"ray_token": "s3cret"})
    assert with_secret["secrets"] == {"ray_token": "s3cret"}
    assert with_secret["plan_digest"] == bare["plan_digest"]
    assert "s3cret" not in json.dumps(with_secret["plan"])


def test_a_controller_that_does_not_know_the_token_makes_up_none(home: Path) -> None:
    with pytest.raises(RayctlError, match="does not know the Ray token of demo"):
        secrets()
    made = token.ensure(paths.token_file(home, "demo"))
    assert secrets() == {"ray_token": made}


def test_without_a_token_there_is_no_secret() -> None:
    assert secrets(FILE + "auth: {ray_token: false}\n") == {}
