# SPDX-License-Identifier: Apache-2.0
"""What a host is: its names and places, its processes, and the root shell inside that needs no ssh."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .base import USER
from .box import LabError, Process, remove_tree, run

CLEAN_ENVIRONMENT = (
    "/usr/bin/env", "-i", "HOME=/root", "TERM=xterm", "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
)  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """One host of `size`. What is known of it lies in its folder, its mounts and its processes, so anyone can take it up."""

    lab_folder: Path
    network: str
    number: int
    size: int
    disk_size: str

    user = USER

    @property
    def name(self) -> str:
        """Its name in the lab: h1, h2, ..."""
        return f"h{self.number}"

    @property
    def machine(self) -> str:
        """Its name on the box, also that of its network namespace."""
        return f"rclab-{self.lab_folder.name}-{self.name}"

    @property
    def ip(self) -> str:
        """Its address."""
        return self.neighbours[self.name]

    @property
    def gateway(self) -> str:
        """The box's own address in the lab's network."""
        return f"{self.network}.1"

    @property
    def neighbours(self) -> dict[str, str]:
        """The addresses of the lab's hosts by their names."""
        return {f"h{number}": f"{self.network}.{10 + number}" for number in range(1, self.size + 1)}

    def address_of(self, peer: str) -> str:
        """The address of another host of the lab, or of the box, which is called `box`."""
        if peer == "box":
            return self.gateway
        if peer not in self.neighbours:
            raise LabError(f"there is no host {peer!r} in the lab {self.lab_folder.name}; there are h1 to h{self.size}")
        return self.neighbours[peer]

    @property
    def folder(self) -> Path:
        """What the box keeps of it."""
        return self.lab_folder / self.name

    @property
    def disk(self) -> Path:
        """Where its disk is mounted: the upper layer of its root."""
        return self.folder / "disk"

    @property
    def root(self) -> Path:
        """Its root file system as seen from the box. Follow no links in it: absolute ones lead into the box."""
        return self.folder / "root"

    @property
    def faults(self) -> list[str]:
        """What was done to it and not undone."""
        return sorted(path.name for path in (self.folder / "faults").glob("*"))

    def note_fault(self, name: str, there: bool) -> None:
        """Remember a fault, or that it is undone."""
        note = self.folder / "faults" / name
        if there:
            note.touch()
        else:
            note.unlink(missing_ok=True)

    def leader(self) -> Process | None:
        """Its PID 1 as a process of the box. It is searched, not remembered: it changes with each reboot from inside."""
        return next(self.leaders(), None)

    def leaders(self) -> Iterator[Process]:
        """All processes that are PID 1 on its disk; more than one for a moment when it is switched on again."""
        disk = f"upperdir={self.disk}/upper,"
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                is_init = re.search(r"^NSpid:.*\t1$", (entry / "status").read_text(), re.MULTILINE)
                if is_init and disk in (entry / "mountinfo").read_text().partition("\n")[0]:
                    yield from filter(None, [Process.find(int(entry.name))])

    def running(self) -> bool:
        """Whether it is powered on."""
        return self.leader() is not None

    def boot_id(self) -> str:
        """The id of its present boot, the same that it sees itself."""
        return self.exec("cat /proc/sys/kernel/random/boot_id").stdout.strip()

    def exec(
        self, script: str, *, text: str = "", check: bool = True, seconds: float = 120
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell script inside as root, by way of its namespaces: no ssh, no network and no sshd needed."""
        leader = self.leader()
        if leader is None:
            raise LabError(f"{self.name} is off")
        enter = ("nsenter", "--target", leader.pid, "--all", *CLEAN_ENVIRONMENT)
        return run(*enter, "sh", "-c", script, text=text, check=check, seconds=seconds)

    def write(self, path: str, text: str, owner: str = "root", mode: str = "0644") -> None:
        """Write a file inside, with the folders above it."""
        self.exec(f'install -D -o {owner} -g {owner} -m {mode} /dev/stdin "{path}"', text=text)

    def processes(self) -> list[str]:
        """The command lines of all that runs inside."""
        return self.exec("ps -e --no-headers -ww -o args").stdout.splitlines()

    def forget(self) -> None:
        """Remove what the box keeps of it."""
        remove_tree(self.folder)
