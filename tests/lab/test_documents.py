# SPDX-License-Identifier: Apache-2.0
"""The page about hosts of your own shows what really happens on such hosts."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import documents
import pytest

from .rig import Lab

ROOT = Path(__file__).resolve().parents[2]
ADDRESSES = {"h1": "10.0.0.11", "h2": "10.0.0.12", "h3": "10.0.0.13"}


@dataclass(frozen=True)
class Place(documents.Place):
    """A person's home. `addresses` are those on the page for those of the lab."""

    addresses: Mapping[str, str]

    def shell(self, command: str, stderr: int = subprocess.STDOUT) -> subprocess.CompletedProcess[str]:
        done = super().shell(command, stderr)
        for ours, theirs in self.addresses.items():
            done.stdout = done.stdout.replace(ours, theirs)
        return done

    @property
    def env(self) -> dict[str, str]:
        return {**super().env, "HOME": str(self.folder)}


@pytest.fixture
def place(hosts: Lab, tmp_path: Path) -> Iterator[Place]:
    """The examples, with hosts of the lab in the place of those on the page."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("playbooks", "collections", "ansible.cfg"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "tmp").mkdir()
    file = tmp_path / "examples" / "hosts.yaml"
    text = file.read_text().replace("ssh_user: ray", f"ssh_user: ray\n  ssh_private_key: {hosts.key}")
    for name, address in ADDRESSES.items():
        text = text.replace(address, hosts[name].ip)
    file.write_text(text)
    made = Place(tmp_path, {hosts[name].ip: address for name, address in ADDRESSES.items()})
    yield made
    made.shell("rayctl down -y examples/hosts.yaml")


@pytest.mark.ray
@pytest.mark.timeout(300)
def test_the_page_about_hosts_shows_what_happens(place: documents.Place) -> None:
    documents.prints_what_it_shows(place, ROOT / "docs" / "hosts.md")
