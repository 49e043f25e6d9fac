# SPDX-License-Identifier: Apache-2.0
"""What the head is given to read: the same cluster, and nothing of this machine."""

from __future__ import annotations

import base64
import hashlib
import hmac
from pathlib import Path
from typing import Any

import pytest
import yaml

from rayctl.config.load import load, parse
from rayctl.errors import Unreachable
from rayctl.providers.registry import provider_for
from rayctl.provision.deployment import Deployment
from rayctl.provision.headscaler import facts, known, resolved
from rayctl.provision.headscaler.bundle import Bundle
from rayctl.provision.headscaler.facts import Met
from rayctl.transport.glance import Glance

FIXTURES = Path(__file__).parents[2] / "fixtures" / "clusterfiles"
FILE = """\
cluster_name: demo
min_workers: 2
max_workers: 4
provider:
  type: local
  hosts:
    - {address: 10.0.0.1, name: boss, key: ~/.ssh/boss, python: /opt/py}
    - {address: 10.0.0.2, type: cpu}
    - {address: "fd00::3", type: cpu, port: 2200, host_key: "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"}
    - {address: 10.0.0.4, type: gpu, user: carla}
    - {address: 10.0.0.5, type: gpu}
  use_internal_ips: true
auth: {ssh_private_key: ~/.ssh/id, ssh_proxy_jump: bastion, become: true}
available_node_types:
  head: {resources: {CPU: 0}, max_workers: 1, x-why: a note}
  cpu: {labels: {tier: gold}, idle_timeout_s: 30}
  gpu: {min_workers: 1, worker_setup_commands: [{command: make, timeout_s: 5, env: {A: "1"}, name: "it: # builds"}]}
head_node_type: head
file_mounts: {~/app: app, data/: ./data/x.txt, /same: ./data/x.txt}
rsync_exclude: ["*.log"]
setup_commands: ["docker ps --format '{{.Names}}' {{ x }} $HOME\\n  'é' \\"q\\"", "yes", "1e3"]
scaler: {python: python3.12}
x-team: {owner: me}
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "run.sh").write_text("go")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "x.txt").write_text("x")
    return tmp_path


def deployed(folder: Path, text: str = FILE, **flags: Any) -> Deployment:
    loaded = parse(text, str(folder / "c.yaml"), **flags)
    provider = provider_for(loaded.config, loaded.folder)
    return Deployment(loaded, provider, "id-1", tuple(provider.declared()))  # type: ignore[attr-defined]


def bundle(folder: Path, text: str = FILE, met: facts.Facts | None = None, **flags: Any) -> Bundle:
    deployment = deployed(folder, text, **flags)
    return Bundle.of(deployment, {mount.target: mount.digest for mount in deployment.mounts}, met or {})


def read(found: Bundle, folder: Path) -> Any:
    """As the head reads it."""
    return parse(found.files()["cluster.yaml"], str(folder / "elsewhere" / "cluster.yaml")).config


# ---- the file
@pytest.mark.parametrize("flags", [{}, {"max_workers": 1}, {"max_workers": 0}, {"max_workers": 9}, {"min_workers": 3}])
def test_read_on_the_head_it_is_the_same_cluster_with_the_flags_applied(home: Path, flags: dict[str, int]) -> None:
    found = bundle(home, **flags)
    ours, theirs = found.deployment.config, read(found, home)
    assert theirs.worker_types == ours.worker_types
    for name in ours.available_node_types:
        assert theirs.min_workers_of(name) == ours.min_workers_of(name)
        assert theirs.max_workers_of(name) == ours.max_workers_of(name)
        assert theirs.available_node_types[name].labels == ours.available_node_types[name].labels
    for key in (
        "setup_commands",
        "initialization_commands",
        "head_start_ray_commands",
        "rsync_exclude",
        "idle_timeout_minutes",
    ):
        assert getattr(theirs, key) == getattr(ours, key)
    assert [host.inventory_name for host in theirs.provider.hosts] == [host.inventory_name for host in ours.provider.hosts]
    assert theirs.scaler_runs_on == "head"


@pytest.mark.parametrize("file", sorted(FIXTURES.glob("*local*.yaml")), ids=lambda path: path.stem)
def test_files_of_every_kind_can_be_given_to_the_head(file: Path) -> None:
    config = load(file).config
    said = resolved.data(config, dict.fromkeys(config.file_mounts, "~/content"), "~/key", {}, "~/known_hosts")
    assert parse(resolved.text(said, config), "x").config.cluster_name == config.cluster_name


def test_nothing_in_it_means_a_file_or_a_way_of_this_machine(home: Path) -> None:
    found = bundle(home)
    text = found.files()["cluster.yaml"]
    assert str(home) not in text
    for word in (".ssh", "bastion", "x-team", "x-why"):
        assert word not in text
    config = read(found, home)
    assert config.auth.ssh_private_key == "~/.rayctl/demo/scaler/key"
    assert config.auth.ssh_proxy_jump is None
    assert config.auth.become
    assert all(path.startswith("~/.rayctl/demo/scaler/mounts/") for path in config.file_mounts.values())


def test_hosts_are_reached_as_they_were_met_where_the_file_leaves_it_open(home: Path) -> None:
    met = {name: Met("ray", 2022) for name in ("boss", "10.0.0.4", "fd00::3")}
    hosts = {host.inventory_name: host for host in read(bundle(home, met=met), home).provider.hosts}
    assert (hosts["boss"].user, hosts["boss"].port) == ("ray", 2022)
    assert (hosts["10.0.0.4"].user, hosts["10.0.0.4"].port) == ("carla", 2022)
    assert (hosts["fd00::3"].user, hosts["fd00::3"].port) == ("ray", 2200)
    assert (hosts["10.0.0.2"].user, hosts["10.0.0.2"].port) == (None, None)
    named = FILE.replace("become: true", "become: true, ssh_user: anna, ssh_port: 24")
    boss = read(bundle(home, named, met), home).provider.hosts[0]
    assert (boss.user, boss.port) == (None, None), "the file says it of all hosts"


def test_the_digest_changes_with_what_the_head_would_do_otherwise_and_with_nothing_else(home: Path) -> None:
    first = bundle(home).digest
    assert bundle(home).digest == first
    assert bundle(home, FILE.replace("x-team: {owner: me}", "# a remark")).digest == first
    assert bundle(home, FILE.replace("ssh_private_key: ~/.ssh/id", "ssh_private_key: ~/.ssh/other")).digest == first
    assert bundle(home, max_workers=3).digest != first
    assert bundle(home, FILE.replace("'1e3'", "'1e4'").replace('"1e3"', '"1e4"')).digest != first
    (home / "app" / "run.sh").write_text("gone")
    assert bundle(home).digest != first


def test_a_mount_read_on_the_head_has_the_digest_that_nodes_know(home: Path) -> None:
    found = bundle(home)
    assert len(found.contents) == 2, "the same content is sent once"
    for content, mount in found.contents.items():
        assert mount.target == f"~/.rayctl/demo/scaler/mounts/{content}/content"
        assert mount.digest.partition(":")[2].startswith(content)
    targets = yaml.safe_load(found.files()["cluster.yaml"])["file_mounts"]
    assert list(targets) == ["~/app", "data/x.txt", "/same"], "a file that goes into a folder keeps its name"


def test_numbers_that_come_from_a_playbook_can_be_written(home: Path) -> None:
    class Tagged(int):
        pass

    assert read(bundle(home, max_workers=Tagged(3)), home).max_workers == 3


# ---- host keys
def pinned(home: Path, *lines: str) -> None:
    folder = home / "home" / "clusters" / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "known_hosts").write_text("".join(f"{line}\n" for line in lines))


def test_what_was_pinned_and_what_the_user_knows_goes_along_and_nothing_about_others(home: Path) -> None:
    pinned(home, "10.0.0.2 ssh-ed25519 TWO", "10.0.0.77 ssh-ed25519 OTHER")
    (home / ".ssh").mkdir()
    (home / ".ssh" / "known_hosts").write_text("boss,10.0.0.1 ssh-rsa ONE me\n10.0.0.4 ssh-rsa FOUR\n")
    met = {"10.0.0.4": Met("ray", 22)}
    assert bundle(home, met=met).known_hosts == ("10.0.0.1 ssh-rsa ONE", "10.0.0.2 ssh-ed25519 TWO", "10.0.0.4 ssh-rsa FOUR")


def test_a_named_known_hosts_file_goes_along_and_stays_the_only_one(home: Path) -> None:
    pinned(home, "10.0.0.2 ssh-ed25519 PINNED")
    (home / "trusted").write_text("10.0.0.2 ssh-ed25519 TRUSTED\n@cert-authority 10.0.0.* ssh-rsa CA\n")
    found = bundle(home, FILE.replace("become: true", "known_hosts: ./trusted"))
    assert set(found.known_hosts) == {"@cert-authority 10.0.0.* ssh-rsa CA", "10.0.0.2 ssh-ed25519 TRUSTED"}
    assert not any("PINNED" in line for line in found.known_hosts)
    assert read(found, home).auth.known_hosts == "~/.rayctl/demo/scaler/current/known_hosts"


def hashed(name: str) -> str:
    salt = b"salt" * 5
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


@pytest.mark.parametrize(("names", "host", "told"), [
    ("h1", "h1", True),
    ("other,h1", "h1", True),
    ("H1", "h1", True),
    ("h1", "h11", False),
    ("h*", "h1", True),
    ("h?", "h12", False),
    ("h*,!h1", "h1", False),
    ("[h1]:22", "h1", False),
    ("[h1]:2200", "[h1]:2200", True),
    ("[*]:2200", "[h1]:2200", True),
    ("h.1", "hx1", False),
    (hashed("h1"), "h1", True),
    (hashed("h2"), "h1", False),
    ("|1|broken", "h1", False),
])  # fmt: skip
def test_lines_are_found_as_ssh_finds_them(names: str, host: str, told: bool) -> None:
    assert list(known.about(host, [f"{names} ssh-rsa KEY me"], "called")) == (["called ssh-rsa KEY"] if told else [])


def test_remarks_and_broken_lines_are_no_keys() -> None:
    assert list(known.about("h1", ["# h1 ssh-rsa KEY", "", "h1", "h1 ssh-rsa"], "h1")) == []


# ---- what hosts tell of themselves
def glance(user: str, port: int) -> Glance:
    return Glance("m", "b", 1.0, 1000, user, "h", port=port)


def test_a_host_that_is_silent_today_is_reached_as_it_was_met(tmp_path: Path) -> None:
    folder = tmp_path / "met"
    facts.learnt(folder, {"h1": glance("ray", 22), "h2": glance("ray", 2200)})
    found = facts.learnt(folder, {"h1": Unreachable("gone"), "h2": glance("anna", 22)}, keep=False)
    assert found == {"h1": Met("ray", 22), "h2": Met("anna", 22)}
    assert facts.recalled(folder)["h2"] == Met("ray", 2200), "a check keeps nothing"
