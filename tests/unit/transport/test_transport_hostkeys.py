# SPDX-License-Identifier: Apache-2.0
"""Pinned keys: read as ssh writes them, named as people know them, verified when the user knows them too."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rayctl.transport import hostkeys
from rayctl.transport.connection import Connection, Ssh


def make_key(folder: Path, kind: str) -> tuple[str, str]:
    """A new key: its text, and its fingerprint as ssh-keygen shows it."""
    file = folder / kind
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(file)], check=True)
    shown = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout.split()
    return " ".join(file.with_suffix(".pub").read_text().split()[:2]), f"{shown[1]} {shown[-1]}"


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_fingerprint_is_the_one_that_ssh_shows(tmp_path: Path, kind: str) -> None:
    key, shown = make_key(tmp_path, kind)
    assert hostkeys.fingerprint(key) == shown


def test_a_damaged_key_has_no_fingerprint_and_harms_nobody() -> None:
    assert hostkeys.fingerprint("ssh-ed25519 A") == "a key that cannot be read"


def test_a_cluster_that_met_nobody_has_pinned_nothing(tmp_path: Path) -> None:
    assert hostkeys.pinned(tmp_path / "none") == {}


def test_pinned_keys_are_verified_once_the_user_knows_them_by_whatever_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (known, shown), (other, _) = make_key(tmp_path, "ed25519"), make_key(tmp_path, "ecdsa")
    cluster = tmp_path / "cluster"
    hostkeys.prepare(cluster, [])
    (cluster / hostkeys.PINNED).write_text(f"10.0.0.1 {known}\n[10.0.0.2]:2222 {other}\n\n# note\n@revoked * {known}\nodd\n")
    users = tmp_path / "users"
    users.write_text(f"|1|c2FsdA==|aGFzaA== {known} comment\n")
    monkeypatch.setattr(hostkeys, "USERS", (str(users), "/nonexistent"))
    found = hostkeys.pinned(cluster)
    assert {host: key.verified for host, key in found.items()} == {"10.0.0.1": True, "[10.0.0.2]:2222": False}
    assert str(found["10.0.0.1"]) == shown


def test_what_is_new_is_told_once(tmp_path: Path) -> None:
    key, _ = make_key(tmp_path, "ed25519")
    hostkeys.prepare(tmp_path, [])
    before = hostkeys.pinned(tmp_path)
    (tmp_path / hostkeys.PINNED).write_text(f"10.0.0.1 {key}\n")
    assert [pinned.host for pinned in hostkeys.new_since(before, tmp_path)] == ["10.0.0.1"]
    assert hostkeys.new_since(hostkeys.pinned(tmp_path), tmp_path) == []


@pytest.mark.parametrize(("port", "name"), [(0, "10.0.0.1"), (22, "10.0.0.1"), (2222, "[10.0.0.1]:2222")])
def test_a_host_is_named_as_ssh_names_it(port: int, name: str) -> None:
    assert hostkeys.host_name(Connection("ssh", "10.0.0.1", "~", ssh=Ssh(port=port))) == name
