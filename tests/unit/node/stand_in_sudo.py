# SPDX-License-Identifier: Apache-2.0
"""A `sudo` for tests: as strict as the real one about how it is called, and it becomes nobody else."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

SCRIPT = r"""#!/bin/sh
box=%s
printf '%%s\n' "$1" >> "$box/calls"
if [ -e "$box/refuses" ]; then cat "$box/refuses" >&2; exit 1; fi
case $1 in
-n) shift
    if [ -e "$box/password" ]; then echo "sudo: a password is required" >&2; exit 1; fi ;;
-S) [ "$2 $3 $4" = "-k -p " ] || exit 90
    shift 4
    while IFS= read -r given || { echo "sudo: no password was provided" >&2; exit 1; }; do
        [ "$given" != "$(cat "$box/password")" ] || break
        echo "Sorry, try again." >&2
    done ;;
*) exit 90 ;;
esac
[ "$1 $2" = "-H --" ] || exit 90
shift 2
env -i HOME="$box/root" PATH=/usr/sbin:/usr/bin:/sbin:/bin USER=root LC_ALL="$LC_ALL" TMPDIR="$box/tmp" \
    SUDO_COMMAND="$*" SUDO_UID="$(cat "$box/uid")" "$@"
"""


class StandIn:
    """The only sudo on PATH. It asks for no password until told otherwise."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.box = folder / "sudo"
        self.root = self.box / "root"
        for made in (self.box, self.root, self.box / "tmp", self.box / "bin"):
            made.mkdir()
        self.caller(os.geteuid())
        program = self.box / "bin" / "sudo"
        program.write_text(SCRIPT % self.box)
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.defpath}")

    @property
    def calls(self) -> list[str]:
        """The first argument of each call."""
        return (self.box / "calls").read_text().split()

    @property
    def leavings(self) -> list[str]:
        """What was left in root's temporary folder."""
        return os.listdir(self.box / "tmp")

    def sweep(self) -> None:
        """Remove what a supervisor left that was killed."""
        for name in self.leavings:
            shutil.rmtree(self.box / "tmp" / name)

    def asks_for(self, password: str) -> None:
        """It lets in who gives this password."""
        (self.box / "password").write_text(password)

    def refuses(self, words: str) -> None:
        """It says this and does nothing."""
        (self.box / "refuses").write_text(words)

    def caller(self, uid: int) -> None:
        """It tells what it starts that this user called it."""
        (self.box / "uid").write_text(str(uid))
