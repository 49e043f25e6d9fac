# SPDX-License-Identifier: Apache-2.0
"""How `sudo` is called, without a terminal and with at most one try, and what it means by what it says."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import subprocess
from typing import Optional

ASKS = re.compile("(password|authentication) is required")
# What sudo and sudo-rs say in the C locale, and what it means; the first that is found counts.
MEANINGS = (
    (
        re.compile("not in the sudoers|may not run sudo|not allowed to (execute|run)|afraid I can't do that"),
        "sudo does not let %s run commands as root on this host: allow it in the host's sudoers, or remove auth.become",
    ),
    (
        re.compile("must have a tty"),
        "sudo wants a terminal on this host: add `Defaults:%s !requiretty` to the host's sudoers",
    ),
    (
        re.compile("try again|incorrect (password|authentication)"),
        "sudo did not take the password for %s on this host",
    ),
    (
        ASKS,
        "sudo asks for a password on this host: give it with --ask-become-pass, or allow %s to sudo without one",
    ),
)  # fmt: skip
NO_SUDO = "there is no sudo on this host: install it, or log in as root"


class Sudo:
    """How the steps of one run become root's. The password stays in this process, and goes to sudo only where it asks."""

    def __init__(self, password: Optional[str] = None) -> None:
        self._password = password
        self._asks = False

    def call(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start a command as root, in a session of its own; stderr is a pipe. Raises FileNotFoundError without a sudo."""
        # -k: the password is asked for although one may have been given just now, and none is remembered
        how = ["-S", "-k", "-p", ""] if self._asks else ["-n"]
        child = subprocess.Popen(
            ["sudo", *how, "-H", "--", *argv], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env=dict(os.environ, LC_ALL="C"), start_new_session=True,
        )  # fmt: skip
        assert child.stdin is not None
        # closed at once: where the password is wrong, a second question finds no answer
        with contextlib.suppress(BrokenPipeError), child.stdin:
            if self._asks:
                child.stdin.write(("%s\n" % self._password).encode("utf-8", "surrogateescape"))
        return child

    def learned(self, said: str) -> bool:
        """Whether to call again where a call ended with these words: it asked, and from now on gets the password."""
        if self._asks or self._password is None or not ASKS.search(said):
            return False
        self._asks = True
        return True


def needed() -> bool:
    """Whether it takes a sudo to be root."""
    return os.geteuid() != 0


def meaning(said: str, rc: int) -> str:
    """One sentence for what sudo said before it ended with this exit code."""
    for pattern, sentence in MEANINGS:
        if pattern.search(said):
            return sentence % _user()
    return "sudo ended with exit code %d: %s" % (rc, last_line(said))


def last_line(said: str) -> str:
    """The last line in which something was said."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return "user id %d" % os.geteuid()
