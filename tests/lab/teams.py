# SPDX-License-Identifier: Apache-2.0
"""A team's own repository, with Ansible as such teams use it, over a cluster file of ours that lies elsewhere."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .clusters import Cluster

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = f"[defaults]\ncollections_path = {ROOT}/collections\nnocows = True\nlocalhost_warning = False\n"


@dataclass(frozen=True)
class Played:
    """What came of a playbook: its exit code, what it printed, the counts of its recap by host."""

    code: int
    output: str
    recap: dict[str, dict[str, int]] = field(default_factory=dict)

    def changed(self) -> set[str]:
        """The hosts on which something changed."""
        return {name for name, counts in self.recap.items() if counts["changed"]}


class Team:
    """`lab.rayctl.yml` is all that tells Ansible of the cluster; our inventory plugin is enabled nowhere."""

    inventory = "lab.rayctl.yml"

    def __init__(self, cluster: Cluster) -> None:
        self.cluster, self.folder = cluster, cluster.folder / "team"
        self.write(self.inventory, {"plugin": "rayctl.ray.rayctl", "cluster": "../cluster.yaml"})
        self.configure()

    def configure(self, *lines: str) -> None:
        """Their ansible.cfg, with these lines of [defaults]."""
        (self.folder / "ansible.cfg").write_text("\n".join([CONFIGURATION, *lines, ""]))

    def write(self, path: str, content: Any) -> None:
        """A YAML file of theirs, such as group_vars/all.yml."""
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(content))

    def play(
        self, *flags: str, book: str = "rayctl.ray.up", code: int | None = 0, env: Mapping[str, str] | None = None
    ) -> Played:
        """Run a playbook, which must end with this code."""
        done = self.run("ansible-playbook", "-i", self.inventory, book, *flags, code=code, env=env)
        output = done.stdout + done.stderr
        return Played(done.returncode, output, dict(_recap(output)))

    def run(self, *words: str, code: int | None = 0, env: Mapping[str, str] | None = None) -> Any:
        """A program in their folder, which must end with this code."""
        return self.cluster.run(*words, cwd=self.folder, code=code, env=env)

    def start(self, *flags: str) -> subprocess.Popen[str]:
        """The playbook beside the test."""
        words = ["ansible-playbook", "-i", str(self.folder / self.inventory), "rayctl.ray.up", *flags]
        return self.cluster.start("env", f"--chdir={self.folder}", *words)


def _recap(output: str) -> Iterator[tuple[str, dict[str, int]]]:
    for line in output.partition("PLAY RECAP")[2].splitlines():
        name, colon, counts = line.partition(" : ")
        if colon:
            yield name.strip(), {key: int(value) for key, value in (item.split("=") for item in counts.split())}
