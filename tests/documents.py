# SPDX-License-Identifier: Apache-2.0
"""The documents show what really happens.

A fenced block behind a line `<!-- tested -->` holds commands after `$ ` (`> ` goes on with one) and what they print on stdout;
behind `<!-- tested, with stderr -->`, on both. All blocks of one document are run in order, in a copy of the checkout's folders
that people are told about. Each line shown must be printed, whatever its numbers; `...` stands for lines that are left
out. To write down anew what is printed:

    RAYCTL_RECORD_DOCS=1 pytest tests -k shows_what_happens
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from rayctl.node import processes

BIN = Path(sys.executable).parent
FENCE = re.compile(r"^<!-- tested(, with stderr)? -->\n```console\n(.*?)^```$", re.M | re.S)
BUSY = re.compile(r"\b(idle|running)(?= N/N CPU)")
NUMBER = re.compile(r"\d+\.[0-9a-f]{8}\b|\d+(\.\d+)*|SHA256:\S+")


@dataclass(frozen=True)
class Place:
    """A folder in which a document's commands are run, with a home for rayctl."""

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


@dataclass
class Shown:
    """A command of a document and the lines that it shows."""

    command: str
    lines: list[str]

    def as_written(self) -> str:
        first, *more = self.command.split("\n")
        return "\n".join([f"$ {first}", *(f"> {line}".rstrip() for line in more), *self.lines])


def commands(block: str) -> list[Shown]:
    """What a tested block holds."""
    found: list[Shown] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Shown(line[2:], []))
        elif (line == ">" or line.startswith("> ")) and not found[-1].lines:
            found[-1].command += f"\n{line[2:]}"
        else:
            found[-1].lines.append(line)
    return found


def masked(line: str) -> str:
    """A line without its numbers, the width of its columns, and whether a node that has just worked is idle yet."""
    return BUSY.sub("BUSY", " ".join(NUMBER.sub("N", line).split()))


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
