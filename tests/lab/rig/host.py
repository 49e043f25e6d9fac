# SPDX-License-Identifier: Apache-2.0
"""One host of a lab: made, destroyed, made anew, and reached over real ssh."""

from __future__ import annotations

import subprocess

from .box import run
from .groups import Group
from .power import Power


class Host(Power):
    """A machine of a lab, with all that can be done to it."""

    def create(self) -> None:
        """Make its disk and network from nothing, and switch it on."""
        self.make_disk()
        self.make_network()
        self.seed()
        self.boot()

    def destroy(self) -> None:
        """Remove it, also when it is half made or half removed."""
        self.kill()
        self.remove_network()
        self.remove_disk()
        Group(self.machine).remove()
        self.forget()

    def recreate(self) -> None:
        """Put another machine in its place: same name and address, empty disk, another host key, no faults."""
        self.destroy()
        self.create()

    def ssh(
        self, *command: str, user: str = "", text: str = "", check: bool = True, seconds: float = 60
    ) -> subprocess.CompletedProcess[str]:
        """Run a command over ssh from the box, as the lab's user or another, with the lab's settings and nobody else's."""
        login = f"{user or self.user}@{self.name}"
        config = self.lab_folder / "ssh_config"
        return run("ssh", "-F", config, login, *command, text=text, check=check, seconds=seconds)
