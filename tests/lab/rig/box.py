# SPDX-License-Identifier: Apache-2.0
"""What the lab does on the box, the machine that carries it: commands, processes, mounts."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


class LabError(RuntimeError):
    """The lab could not do what it was asked to."""


def run(
    *argv: object,
    check: bool = True,
    text: str = "",
    seconds: float = 120,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command with `text` as its input; a LabError tells how it failed and the last of what it said."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=text, capture_output=True, text=True, errors="replace", timeout=seconds, env=env, check=False
        )
    except subprocess.TimeoutExpired as late:
        raise LabError(f"{shlex.join(words)} did not end in {seconds:g} s") from late
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-800:]
        raise LabError(f"{shlex.join(words)} ended with {done.returncode}: {said}")
    return done


def wait_for(true: Callable[[], object], seconds: float, what: str) -> None:
    """Ask until it is true; a LabError says what did not become so."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise LabError(f"after {seconds:g} s still not so: {what}")
        time.sleep(0.02)


@dataclass(frozen=True)
class Process:
    """A process of the box. Pids are given again, so one counts only together with its start (ticks since boot)."""

    pid: int
    start: int

    @classmethod
    def find(cls, pid: int) -> Process | None:
        """The process that has this pid now; one that ended and was not yet reaped is none."""
        with suppress(OSError):
            after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if after_name[0] == "Z" else cls(pid, int(after_name[19]))
        return None

    @classmethod
    def with_argument(cls, argument: str) -> list[Process]:
        """All processes that have this among the words they were started with. Nothing need be noted to find one again."""
        word = f"\0{argument}\0".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if word in (entry / "cmdline").read_bytes():
                    found.append(cls.find(int(entry.name)))
        return [process for process in found if process]

    def alive(self) -> bool:
        """Whether it still runs."""
        return Process.find(self.pid) == self

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal it, if it still runs."""
        with suppress(ProcessLookupError):
            if self.alive():
                os.kill(self.pid, number)


def spawn(log: Path, *argv: object) -> None:
    """Start a command that outlives this process, in a session of its own."""
    # the shell ends at once, so what it started belongs to the box's init and leaves no zombie with us
    run("sh", "-c", 'setsid "$@" </dev/null >>"$0" 2>&1 &', log, *argv)


def mounts() -> list[Path]:
    """Where something is mounted."""
    return [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def unmount(path: Path) -> None:
    """Unmount all that lies at and below this path, also what is in use."""
    while path in mounts():
        if run("umount", "--recursive", path, check=False).returncode:
            run("umount", "--recursive", "--lazy", path)


def remove_tree(folder: Path) -> None:
    """Remove a folder, but never what is mounted in it: that may be the box's own /dev/shm. A LabError says what is mounted."""
    folder = folder.resolve()
    if there := [str(path) for path in mounts() if path.is_relative_to(folder)]:
        raise LabError(f"{folder} is not removed, because something is mounted in it: see to {', '.join(there)}")
    run("rm", "-rf", "--one-file-system", folder)
