# SPDX-License-Identifier: Apache-2.0
"""A host's disk and what can be wrong with it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from . import base
from .box import run, unmount
from .machine import Machine

PROGRAMS = ("usr/bin", "usr/sbin", "usr/local/bin")
TAKEN_AWAY = ".rclab-off"


class Disk(Machine):
    """A host as its programs see it from inside."""

    def make_disk(self) -> None:
        """An empty disk over the shared tree."""
        for folder in (self.disk, self.root, self.folder / "faults"):
            folder.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "-o", f"size={self.disk_size},mode=755", "rclab", self.disk)
        upper, work = self.disk / "upper", self.disk / "work"
        upper.mkdir()
        work.mkdir()
        layers = f"upperdir={upper},workdir={work},lowerdir={base.tree()}"
        run("mount", "-t", "overlay", "-o", layers, "overlay", self.root)

    def remove_disk(self) -> None:
        """Take it away with all that is on it."""
        unmount(self.root)
        unmount(self.disk)

    def fill_disk(self, there: bool = True) -> None:
        """No space left: its size becomes what is used."""
        now = os.statvfs(self.disk)
        used = f"{(now.f_blocks - now.f_bfree) * now.f_frsize // 1024}k"
        run("mount", "-o", f"remount,size={used if there else self.disk_size}", self.disk)
        self.note_fault("disk-full", there)

    def readonly_home(self, there: bool = True) -> None:
        """/home read-only, until undone or the next boot."""
        self.exec("mount --bind /home /home && mount -o remount,bind,ro /home" if there else "umount /home")
        self.note_fault("home-readonly", there)

    def noexec_tmp(self, there: bool = True) -> None:
        """Nothing in /tmp can be run, until undone or the next boot."""
        self.exec(f"mount -o remount,{'noexec' if there else 'exec'} /tmp")
        self.note_fault("tmp-noexec", there)

    def without(self, *commands: str, there: bool = True) -> None:
        """Take commands away (python3, rsync, ...), or give them back."""
        for command in commands:
            for program in self._programs(command):
                plain = program.name.removesuffix(TAKEN_AWAY)
                program.rename(program.with_name(plain + TAKEN_AWAY if there else plain))
            self.note_fault(f"without-{command}", there)

    def _programs(self, command: str) -> list[Path]:
        """The command under all its names, such as python3 and python3.11, there or taken away."""
        named = re.compile(rf"{re.escape(command)}(\.\d+)?({re.escape(TAKEN_AWAY)})?")
        found = [path for folder in PROGRAMS for path in (self.root / folder).glob(f"{command}*")]
        return [path for path in found if named.fullmatch(path.name)]
