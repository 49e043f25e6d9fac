# SPDX-License-Identifier: Apache-2.0
"""The password that sudo on the nodes asks for: typed in, or from a file that nobody else can read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rayctl.errors import Interrupted, UsageError

OTHERS = 0o077


def become_password(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a command whose steps may run as root."""
    asked = click.option("-K", "--ask-become-pass", is_flag=True, help="Ask for the password that sudo wants on the nodes.")
    in_file = click.option(
        "--become-password-file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Read it from a file of yours (mode 0600).",
    )
    return asked(in_file(command))


def given(ask: bool, file: Path | None) -> str:
    """The password; empty where neither option was given. Raises `UsageError` where there is nobody to ask."""
    if ask and file:
        raise UsageError("--ask-become-pass and --become-password-file contradict each other")
    if file:
        return _read(file)
    return _ask() if ask else ""


def _ask() -> str:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the password at", hint="Give it by --become-password-file FILE.")
    try:
        return str(click.prompt("sudo password", hide_input=True, err=True))
    except click.Abort:
        raise Interrupted("interrupted before anything was touched") from None


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            status = os.fstat(opened.fileno())
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & OTHERS:
                raise UsageError(
                    f"{file} does not belong to you alone (owner {status.st_uid}, mode {stat.S_IMODE(status.st_mode):04o}), "
                    "so no password is read from it",
                    hint="It must be a plain file of yours that nobody else can read: chmod 600.",
                )
            content = opened.read()
    except OSError as problem:
        raise UsageError(f"cannot read the password from {file}: {problem.strerror}") from None
    password = content.decode("utf-8", "surrogateescape").strip()
    if not password:
        raise UsageError(f"there is no password in {file}")
    return password
