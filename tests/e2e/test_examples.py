# SPDX-License-Identifier: Apache-2.0
"""The examples do what they say, and the documents show what really happens.

A fenced block behind a line `<!-- tested -->` holds commands after `$ ` (`> ` goes on with one) and what they print on stdout;
behind `<!-- tested, with stderr -->`, on both. All blocks of one document are run in order, in a copy of the checkout's folders
that people are told about. Each line shown must be printed, whatever its numbers; `...` stands for lines that are left
out. To write down anew what is printed:

    RAYCTL_RECORD_DOCS=1 pytest tests/e2e/test_examples.py -k shows
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rayctl.node import processes
from rayctl.operations.validate import validate

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.yaml"))
STAND_IN = {"head_start_ray_commands": ["true"], "worker_start_ray_commands": ["true"]}
FENCE = re.compile(r"^<!-- tested(, with stderr)? -->\n```console\n(.*?)^```$", re.M | re.S)
DEMO = "demo:\n\t.venv/bin/python examples/demo.py\n"  # as in our Makefile, which would install before
NUMBER = re.compile(r"\d+\.[0-9a-f]{8}\b|\d+(\.\d+)*")

Checkout = Callable[[], "Place"]


@dataclass(frozen=True)
class Place:
    """A copy of what the documents name, with a home for rayctl. Ansible finds our configuration there."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        ours = ("RAYCTL_", "RAY_", "ANSIBLE_", "PYTEST_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        home = {"RAYCTL_HOME": str(self.folder / ".local/state/rayctl"), "TMPDIR": str(self.folder / "tmp")}
        return {**kept, **home, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(self.folder / "examples")}

    def shell(self, command: str, stderr: int = subprocess.STDOUT) -> subprocess.CompletedProcess[str]:
        """Run a line as a person would; both outputs in one, or stderr elsewhere."""
        return subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=stderr, text=True, timeout=180, check=False,
        )  # fmt: skip

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
@pytest.mark.parametrize("name", EXAMPLES)
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
@dataclass
class Shown:
    """A command of a document and the lines that it shows."""

    command: str
    lines: list[str]

    def as_written(self) -> str:
        first, *more = self.command.split("\n")
        return "\n".join([f"$ {first}", *(f"> {line}" for line in more), *self.lines])


def commands(block: str) -> list[Shown]:
    """What a tested block holds."""
    found: list[Shown] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Shown(line[2:], []))
        elif line.startswith("> ") and not found[-1].lines:
            found[-1].command += f"\n{line[2:]}"
        else:
            found[-1].lines.append(line)
    return found


def masked(line: str) -> str:
    """A line without its numbers and the width of its columns."""
    return " ".join(NUMBER.sub("N", line).split())


def prints_what_it_shows(place: Place, document: Path) -> None:
    """With RAYCTL_RECORD_DOCS set, the document is made to show what was printed instead."""

    def run(match: re.Match[str]) -> str:
        block = commands(match[2])
        for shown in block:
            done = place.shell(shown.command, subprocess.STDOUT if match[1] else subprocess.PIPE)
            output = anywhere(done.stdout, place)
            told = f"{document.name}: $ {shown.command}\n{output}{done.stderr or ''}"
            assert done.returncode == 0, told
            if "RAYCTL_RECORD_DOCS" in os.environ:
                shown.lines = recorded(output, shown.lines)
            printed = {masked(line) for line in [*output.splitlines(), "..."]}
            assert not [line for line in shown.lines if masked(line) not in printed], told
        return match[0].replace(match[2], "".join(f"{shown.as_written()}\n" for shown in block))

    text = FENCE.sub(run, document.read_text())
    if "RAYCTL_RECORD_DOCS" in os.environ:
        document.write_text(text)


def anywhere(output: str, place: Place) -> str:
    """An output without what only this run has: folders, machine, host and user."""
    output = output.replace(str(place.folder), "~").replace(processes.machine_id()[:16], "MACHINE")
    output = re.sub(rf"\S+@{re.escape(socket.gethostname())}\b", "you@laptop", output)
    return re.sub(rf" on {re.escape(socket.gethostname())}\b", " on laptop", output)


def recorded(output: str, before: list[str]) -> list[str]:
    """An output as a document shows it: cut where it was cut before, and without lines that only say that time passes."""
    lines = [line.rstrip() for line in output.rstrip().splitlines() if not re.search(r" running for \d| still at work", line)]
    return [*lines[: len(before) - 1], "..."] if before[-1:] == ["..."] else lines


def test_documents_have_commands_to_test() -> None:
    """Or the tests below would pass over nothing."""
    for name, count in (("README.md", 10), ("docs/exit-codes-and-errors.md", 2)):
        assert sum(len(commands(block)) for _, block in FENCE.findall((ROOT / name).read_text())) > count


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_readme_shows_what_happens(place: Place) -> None:
    prints_what_it_shows(place, ROOT / "README.md")


@pytest.mark.ansible
@pytest.mark.slow
def test_the_page_of_errors_shows_what_happens(place: Place) -> None:
    prints_what_it_shows(place, ROOT / "docs" / "exit-codes-and-errors.md")
