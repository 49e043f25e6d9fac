# SPDX-License-Identifier: Apache-2.0
"""What people read, word by word. Each text of a whole session is kept in `golden/` (see tests/golden.py)."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import golden
import pytest
from golden import at_work_sorted

RAYCTL = str(Path(sys.executable).parent / "rayctl")
FILE = """\
cluster_name: demo
provider: {type: embedded}
available_node_types:
  head: {}
  worker: {min_workers: 1}
setup_commands: [echo one]
head_start_ray_commands: [sleep 0.1]
worker_start_ray_commands: [sleep 0.1]
"""


LONG = re.compile(r"^\S+ demo-\S+ .* (running for|done after) .*\n", re.MULTILINE)  # what is told of a node's step after 2 s


class Talk:
    """A session with rayctl, written down."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        steering = ("RAYCTL_", "RAY_", "ANSIBLE_", "NO_COLOR")
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(steering)}
        self.env |= {"RAYCTL_HOME": str(folder / "home"), "COLUMNS": "80"}
        self.text = ""

    def say(self, *words: str) -> None:
        """Run rayctl in its file's folder; keep its words. Lines of nodes at work come in any order, so they are sorted."""
        done = subprocess.run(
            [RAYCTL, *words],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        self.text += f"$ rayctl {' '.join(words)}\n{done.stdout}"
        self.text += "".join(f"2> {line}\n" for line in at_work_sorted(LONG.sub("", done.stderr)).splitlines())
        self.text += f"[{done.returncode}]\n\n"


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made = Talk(tmp_path)
    (tmp_path / "c.yaml").write_text(FILE)
    yield made
    subprocess.run([RAYCTL, "down", "-y", "c.yaml"], cwd=tmp_path, env=made.env, capture_output=True, check=False)


def compare(talk: Talk, name: str) -> None:
    golden.compare(name, golden.levelled(talk.text.replace(str(talk.folder), "DIR")))


def test_help(talk: Talk) -> None:
    for words in (["--help"], ["up", "--help"], ["down", "--help"], ["exec", "--help"], ["submit", "--help"], ["status", "-h"]):
        talk.say(*words)
    compare(talk, "help")


def test_mistakes(talk: Talk) -> None:
    talk.say("up", "gone.yaml")
    talk.say("up", "c.yaml")
    talk.say("up", "c.yaml", "--no-restart", "--restart")
    talk.say("up", "c.yaml", "-q", "-v")
    talk.say("up", "-y", "c.yaml", "--limit", "demo-worker-9")
    talk.say("exec", "c.yaml", "true")
    talk.say("submit", "c.yaml", "gone.py")
    talk.say("get-head-ip", "c.yaml")
    talk.say("frobnicate")
    (talk.folder / "bad.yaml").write_text(FILE.replace("min_workers", "min_worker") + "max_workers: many\n")
    talk.say("validate", "bad.yaml")
    talk.say("up", "-y", "bad.yaml")
    (talk.folder / "docker.yaml").write_text(FILE + "docker: {image: 'rayproject/ray:latest'}\n")
    talk.say("up", "-y", "docker.yaml")
    (talk.folder / "aws.yaml").write_text("cluster_name: demo\nprovider: {type: aws, region: us-west-2}\n")
    talk.say("up", "-y", "aws.yaml")
    compare(talk, "mistakes")


@pytest.mark.ansible
@pytest.mark.slow
def test_a_clusters_life(talk: Talk) -> None:
    talk.say("up", "--check", "c.yaml")
    talk.say("up", "-y", "c.yaml")
    talk.say("up", "c.yaml")
    talk.say("status", "--probe", "c.yaml")
    (talk.folder / "c.yaml").write_text(FILE.replace("[echo one]", "[echo one, 'echo no more disk; exit 3']"))
    talk.say("up", "--check", "--diff", "c.yaml")
    talk.say("up", "-y", "c.yaml")
    (talk.folder / "c.yaml").write_text(FILE.replace("[echo one]", "[echo two]"))
    talk.say("plan", "c.yaml")
    talk.say("up", "-y", "--quiet", "c.yaml")
    talk.say("down", "-y", "c.yaml")
    talk.say("down", "-y", "c.yaml")
    compare(talk, "life")
