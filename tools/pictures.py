# SPDX-License-Identifier: Apache-2.0
"""Take the pictures of docs/pictures: real runs of rayctl at a terminal, as SVG. `make pictures`."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs" / "pictures"
BIN = Path(sys.executable).parent
COLUMNS, LINES = 100, 50
FONTS = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)  # no picture fetches anything from anywhere
DEMO = """\
cluster_name: demo
provider: {type: embedded}
max_workers: 3
available_node_types:
  head: {resources: {CPU: 1}}
  worker: {resources: {CPU: 1}, min_workers: 3}
setup_commands:
  - {name: look at Python, command: python --version}
  - {name: find Ray, command: command -v ray > /dev/null}
"""
BROKEN = """\
cluster_name: train
provider: {type: embedded}
max_workers: 2
available_node_types: {head: {}, worker: {min_workers: 2}}
setup_commands:
  - {name: look at Python, command: python --version}
worker_setup_commands:
  - name: fetch the model
    command: echo "looking for model.bin ..."; echo "no such file in the bucket (model.bin)"; exit 4
head_start_ray_commands: ["true"]
worker_start_ray_commands: ["true"]
"""


class Terminal:
    """A terminal on which commands run one after the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.screen = pyte.Screen(COLUMNS, LINES)
        self._stream = pyte.ByteStream(self.screen)

    def run(self, *words: str, answer: str = "", until: Callable[[str], bool] = lambda _: False) -> None:
        """Show a command and what it prints; with `until`, only as far as the first picture for which that is so."""
        self._feed(f"\x1b[1;32m$\x1b[0m {' '.join(words)}\n".encode())
        child, terminal = pty.fork()
        if child == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
            os.chdir(self.folder)
            kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY", "NO_COLOR", "COLUMNS"))}
            home = {"RAYCTL_HOME": str(self.folder / "home"), "TERM": "xterm-256color", "PATH": f"{BIN}:{kept['PATH']}"}
            os.execvpe(words[0], list(words), {**kept, **home})  # noqa: S606  no shell is wanted
        seen = False
        while block := _read(terminal):
            if not seen:
                self._feed(block)
                seen = until(self.text)
            if answer and self.text.rstrip().endswith("[y/N]:"):
                os.write(terminal, f"{answer}\n".encode())
                answer = ""
        os.waitpid(child, 0)
        os.close(terminal)

    def _feed(self, data: bytes) -> None:
        self._stream.feed(data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))

    @property
    def text(self) -> str:
        """What stands on it."""
        return "\n".join(self.screen.display)

    def picture(self, name: str, title: str) -> None:
        """Keep it as it is now."""
        last = max(number for number, line in enumerate(self.screen.display) if line.strip())
        console = Console(record=True, width=COLUMNS, file=io.StringIO())
        for number in range(last + 1):
            console.print(self._line(number), no_wrap=True, overflow="ignore", crop=False)
        svg = FONTS.sub("", console.export_svg(title=title, theme=MONOKAI, unique_id=name))
        svg = svg.replace("<svg ", '<svg xml:space="preserve" ', 1)  # spaces at the beginning of words are columns here
        (PICTURES / f"{name}.svg").write_text("\n".join(line.rstrip() for line in svg.splitlines()) + "\n")
        self.screen.reset()

    def _line(self, number: int) -> Text:
        cells = [self.screen.buffer[number][column] for column in range(COLUMNS)]
        line = Text()
        for style, alike in groupby(cells, _style):
            line.append("".join(cell.data for cell in alike), style)
        line.rstrip()
        return line


def _style(cell: pyte.screens.Char) -> Style:
    color = cell.fg if cell.fg.isalpha() else f"#{cell.fg}"
    return Style(color={"default": None, "brown": "yellow"}.get(color, color), bold=cell.bold)


def _read(terminal: int) -> bytes:
    select.select([terminal], [], [])
    try:
        return os.read(terminal, 4096)
    except OSError:  # the command has ended
        return b""


def main() -> None:
    """Take all of them."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "demo.yaml").write_text(DEMO)
        (folder / "train.yaml").write_text(BROKEN)
        terminal = Terminal(folder)
        try:
            terminal.run("rayctl", "up", "demo.yaml", answer="y", until=lambda text: "ready" in text and "starting Ray" in text)
            terminal.picture("up-under-way", "rayctl up, under way")
            terminal.run("rayctl", "up", "demo.yaml")
            terminal.run("rayctl", "plan", "demo.yaml")
            terminal.picture("up-again", "rayctl up, again")
            terminal.run("rayctl", "status", "demo.yaml")
            terminal.picture("status", "rayctl status")
            terminal.run("rayctl", "up", "-y", "train.yaml")
            terminal.picture("failure", "rayctl up")
        finally:
            for name in ("demo", "train"):
                terminal.run("rayctl", "down", "-y", "-q", f"{name}.yaml")


if __name__ == "__main__":
    main()
