# SPDX-License-Identifier: Apache-2.0
"""A node that is a folder of this machine: its shell has a home there, and is reached as ssh reaches one."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from rayctl.provision.remote import Remote

# like sshd: what follows the host is joined by blanks and given to the user's shell
SHELL = """#!/bin/sh
shift
cd '{home}' || exit 255
printf '%s\\n' "$*" >> '{log}'
HOME='{home}' PATH='{path}' exec sh -c "$*"
"""


@dataclass(frozen=True)
class Node:
    """The node's home folder, and the way to its shell."""

    home: Path
    remote: Remote

    @property
    def log(self) -> Path:
        return self.home.with_suffix(".log")

    def commands(self) -> list[str]:
        """What its shell was given so far."""
        return self.log.read_text().splitlines() if self.log.exists() else []


def make_node(folder: Path, path: str = os.environ["PATH"]) -> Node:
    """A node below `folder`, which finds its programs in `path`."""
    home, shell = folder / "node home", folder / "shell"
    home.mkdir(parents=True)
    shell.write_text(SHELL.format(home=home, log=home.with_suffix(".log"), path=path))
    shell.chmod(0o755)
    return Node(home, Remote((str(shell), "host"), dict(os.environ)))


def bare_path(folder: Path, *programs: str) -> str:
    """A PATH with these programs alone."""
    folder.mkdir()
    for program in programs:
        (folder / program).symlink_to(shutil.which(program) or f"/no/{program}")
    return str(folder)
