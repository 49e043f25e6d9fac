# SPDX-License-Identifier: Apache-2.0
"""A control group per host, so that all of a host can be stopped at once, and no two hosts' systemds share one."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from .box import wait_for

CGROUPS = Path("/sys/fs/cgroup")
FIRST_VERSION = ("freezer", "systemd", "unified")


@dataclass(frozen=True)
class Group:
    """The groups of one host: one where the box has cgroup v2 alone, else one in each hierarchy that matters."""

    name: str

    def _folders(self) -> list[Path]:
        if (CGROUPS / "cgroup.controllers").exists():
            return [CGROUPS / self.name]
        return [CGROUPS / hierarchy / self.name for hierarchy in FIRST_VERSION if (CGROUPS / hierarchy).is_dir()]

    def make(self) -> str:
        """Make them; their folders in one line."""
        for folder in self._folders():
            folder.mkdir(exist_ok=True)
        return " ".join(map(str, self._folders()))

    def freeze(self, there: bool) -> None:
        """Stop everything in them, or let it go on. Without such a group there is nothing to stop."""
        words = {"freezer.state": ("THAWED", "FROZEN"), "cgroup.freeze": ("0", "1")}
        for switch in (folder / name for folder in self._folders() for name in words):
            if switch.exists():
                switch.write_text(words[switch.name][there])

    def remove(self) -> None:
        """Remove them with those that the host's systemd made below. Its processes are killed, but may not yet be gone."""
        wait_for(self._removed, 20, f"the control groups of {self.name} are empty")

    def _removed(self) -> bool:
        for top in self._folders():
            for folder in sorted(top.glob("**/"), reverse=True):
                with suppress(OSError):
                    folder.rmdir()
        return not any(folder.exists() for folder in self._folders())
