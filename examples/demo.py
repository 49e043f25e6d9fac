# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: T201
"""The demo: a Ray cluster of four nodes on this machine, a job on it, and its end.

It runs the commands that a person would type, and shows them. Whatever happens in between, a failure or Ctrl-C, the cluster
is ended. Everything it stores lies in a temporary folder, so it meets none of your own clusters.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parent.parent
FILE = "examples/demo.yaml"
STEPS = (
    ("validate", FILE),
    ("up", "-y", FILE),
    ("up", "-y", FILE),  # nothing is left to do, and nobody is interrupted
    ("submit", FILE, "examples/demo_job.py"),
    ("status", FILE),
)
END = ("down", "-y", FILE)
INTERRUPTED = 130


class Demo:
    """Runs commands one after the other until one fails or a signal comes."""

    def __init__(self, home: Path) -> None:
        self.env = {**os.environ, "RAYCTL_HOME": str(home)}
        self.child: subprocess.Popen[bytes] | None = None
        self.interrupted = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, _: FrameType | None) -> None:
        """Let the command end in its own way. A Ctrl-C at the terminal reached it already."""
        self.interrupted = True
        if number == signal.SIGTERM and self.child is not None:
            self.child.terminate()

    def run(self) -> int:
        """The exit code of the first command that failed, 130 after a signal, else 0. The cluster is gone afterwards."""
        code = 0
        for step in STEPS:
            code = self._rayctl(step)
            if code or self.interrupted:
                break
        if STEPS.index(step) > 0:
            code = self._end() or code
        return INTERRUPTED if self.interrupted else code

    def _end(self) -> int:
        interrupted, self.interrupted = self.interrupted, False
        code = self._rayctl(END, undisturbed=True)
        self.interrupted = self.interrupted or interrupted
        return code

    def _rayctl(self, argv: tuple[str, ...], *, undisturbed: bool = False) -> int:
        """Show the command and run it; `undisturbed` keeps the terminal's Ctrl-C away from it."""
        print(f"+ {shlex.join(('rayctl', *argv))}", flush=True)
        command = [sys.executable, "-m", "rayctl.cli.main", *argv]
        self.child = subprocess.Popen(command, cwd=ROOT, env=self.env, start_new_session=undisturbed)
        try:
            return self.child.wait()
        finally:
            self.child = None
            print(flush=True)


def main() -> int:
    """Run the demo in a home of its own, which is kept only when the cluster could not be ended."""
    home = Path(tempfile.mkdtemp(prefix="rayctl-demo-"))
    code = Demo(home).run()
    left = any((home / "embedded").glob("*/nodes/*"))
    if left:
        print(f"Not all of the cluster ended. To try again:\n  RAYCTL_HOME={home} rayctl {shlex.join(END)}", file=sys.stderr)
        return code or 1
    shutil.rmtree(home, ignore_errors=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
