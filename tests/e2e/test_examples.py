# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say, and the documents (`documents.py`) show what really happens."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents
import pytest
import yaml

from rayctl.node import processes
from rayctl.operations.validate import validate

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.yaml"))
ELSEWHERE = ("hosts.yaml", "simulated.yaml")  # tests/lab/test_documents.py; tests/unit/simulation
STAND_IN = {"head_start_ray_commands": ["true"], "worker_start_ray_commands": ["true"]}
DEMO = "demo:\n\t.venv/bin/python examples/demo.py\n"  # as in our Makefile, which would install before


@dataclass(frozen=True)
class Place(documents.Place):
    """A copy of what the documents name, with a home for rayctl. Ansible finds our configuration there."""

    def without_ray(self, name: str, **changes: Any) -> None:
        """Put stand-ins for Ray into an example, and its files below our own folder."""
        path = self.folder / "examples" / name
        text = path.read_text().replace("/tmp/rayctl-example", str(self.folder / "nodes"))
        path.write_text(yaml.safe_dump({**yaml.safe_load(text), **STAND_IN, **changes}, sort_keys=False))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """A place of one's own; whatever came up there goes down afterwards."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("playbooks", "collections", "ansible.cfg"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "Makefile").write_text(DEMO)
    for name in ("tmp", "nodes"):
        (tmp_path / name).mkdir()
    made = Place(tmp_path)
    yield made
    for home in (tmp_path / ".local/state/rayctl", *(tmp_path / "tmp").glob("rayctl-demo-*")):
        for cluster in home.glob("embedded/[!.]*"):
            file = tmp_path / f"{cluster.name}.down.yaml"
            file.write_text(f"cluster_name: {cluster.name}\nprovider: {{type: embedded}}\n")
            made.shell(f"RAYCTL_HOME={home} rayctl down -y {file}")


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_has_no_mistakes(name: str) -> None:
    report = validate(ROOT / "examples" / name)
    assert report.problems == ()
    old_words = name == "ray-up.yaml"
    assert bool(report.warnings) is old_words, "only the file in Ray's old words is told the new ones"


@pytest.mark.ansible
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in ELSEWHERE])
def test_an_example_comes_up_once_and_goes_down(name: str, place: Place) -> None:
    place.without_ray(name)
    first = place.shell(f"rayctl up -y examples/{name}")
    assert first.returncode == 0, first.stdout
    assert "nothing changed" not in first.stdout
    second = place.shell(f"rayctl up examples/{name}")
    assert second.returncode == 0, second.stdout
    assert "nothing changed" in second.stdout
    down = place.shell(f"rayctl down -y examples/{name}")
    assert down.returncode == 0, down.stdout
    assert re.search(r"\d nodes? ended", down.stdout)


@pytest.mark.ansible
@pytest.mark.slow
def test_a_play_of_ones_own_uses_the_roles_and_the_pointer_file(place: Place) -> None:
    place.without_ray("demo.yaml")
    play = "ansible-playbook -i examples/team.rayctl.yml examples/own_play.yml"
    first = place.shell(play)
    assert first.returncode == 0, first.stdout
    assert re.findall(r"^(demo-\S+) .*changed=1 ", first.stdout, re.M) == [
        "demo-head-1", "demo-worker-1", "demo-worker-2", "demo-worker-3",
    ]  # fmt: skip
    assert "changed=1" not in place.shell(play).stdout
    graph = place.shell("ansible-inventory -i examples/team.rayctl.yml --graph kind_worker").stdout
    assert graph.count("demo-worker-") == 3


# ---- the demo, with stand-ins for Ray
def demo_process(place: Place) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "examples/demo.py"], cwd=place.folder, env=place.env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def left_by_demo(place: Place) -> list[str]:
    """Processes of the demo's steps, and its folders."""
    folders = [str(path) for path in (place.folder / "tmp").glob("rayctl-demo-*")]
    return folders + [process.name for process in processes.marked(str(place.folder), ("DEMO",))]


@pytest.mark.ansible
@pytest.mark.slow
@pytest.mark.parametrize(("number", "to_group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_an_interrupted_demo_ends_what_it_started(place: Place, number: int, to_group: bool) -> None:
    begun = place.folder / "begun"
    step = {"command": f"touch {begun}; sleep 300", "env": {"DEMO": str(place.folder)}}
    place.without_ray("demo.yaml", setup_commands=[step])
    demo = demo_process(place)
    end = time.monotonic() + 60
    while not begun.exists() and demo.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    (os.killpg if to_group else os.kill)(demo.pid, number)
    out, _ = demo.communicate(timeout=60)
    assert demo.returncode == 130, out
    assert "4 nodes ended" in out
    assert left_by_demo(place) == []


@pytest.mark.ansible
@pytest.mark.slow
def test_a_demo_that_fails_says_so_and_ends_what_it_started(place: Place) -> None:
    place.without_ray("demo.yaml", setup_commands=["echo so it goes; exit 3"])
    demo = demo_process(place)
    out, _ = demo.communicate(timeout=60)
    assert demo.returncode == 1, out
    assert "so it goes" in out
    assert "rayctl submit examples/demo.yaml examples/demo_job.py" not in out
    assert "4 nodes ended" in out
    assert left_by_demo(place) == []


# ---- the documents
QUICK = {
    "deciding": 0,
    "exit-codes-and-errors": 2,
    "from-ansible": 8,
    "limits": 2,
    "simulate": 0,
}  # pages, and more commands than this are on each
WITH_RAY = {"quick-start": 10}


def test_documents_have_commands_to_test() -> None:
    """Or the tests below would pass over nothing."""
    for name, count in (("README.md", 0), *((f"docs/{page}.md", count) for page, count in {**QUICK, **WITH_RAY}.items())):
        assert sum(len(documents.commands(block)) for _, block in documents.FENCE.findall((ROOT / name).read_text())) > count


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_readme_shows_what_happens(place: Place) -> None:
    documents.prints_what_it_shows(place, ROOT / "README.md")


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", WITH_RAY)
def test_a_page_with_ray_shows_what_happens(page: str, place: Place) -> None:
    documents.prints_what_it_shows(place, ROOT / "docs" / f"{page}.md")


@pytest.mark.ansible
@pytest.mark.slow
@pytest.mark.parametrize("page", QUICK)
def test_a_page_shows_what_happens(page: str, place: Place) -> None:
    documents.prints_what_it_shows(place, ROOT / "docs" / f"{page}.md")
