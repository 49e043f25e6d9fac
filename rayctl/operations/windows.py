# SPDX-License-Identifier: Apache-2.0
"""Commands that go on in a tmux or screen of the node when nobody is logged in, as text for the node's shell.

Each cluster has a tmux server of its own and a name of its own for screens, so that a person's own sessions on the same
machine are neither listed nor attached to. The server of a tmux keeps the environment that it was started with, hence the
variables are given to each command anew.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from enum import StrEnum

STAY = "\nexec bash"


class Window(StrEnum):
    """What keeps a command's terminal."""

    TMUX = "tmux"
    SCREEN = "screen"


def detached(
    window: Window, cluster: str, command: str, variables: Iterable[str], options: Sequence[str] = (), *, stays: bool = True
) -> str:
    """Start a command in a window of its own and come back. If it `stays`, a shell is left in it, as with Ray's launcher.

    `variables` are names of what the shell here has for the command; `options` are further ones of screen.
    """
    environment = " ".join(f'{name}="${name}"' for name in ["PATH", *variables])
    started = f"env {environment} bash -c {shlex.quote(command + STAY if stays else command)}"
    if window is Window.TMUX:
        return f"{_require(window)}exec {_tmux(cluster)} new-session -d {started}"
    return f"{_require(window)}exec screen -S {_name(cluster)} -L {shlex.join(options)} -d -m {started}"


def attached(window: Window, cluster: str, *, new: bool) -> str:
    """Go to the newest window, or to a new one where there is none or `new` says so."""
    if window is Window.SCREEN:
        return f"{_require(window)}exec screen -S {_name(cluster)} -L{'' if new else ' -xRR'}"
    if new:
        return f"{_require(window)}exec {_tmux(cluster)} new-session"
    return f"{_require(window)}{_tmux(cluster)} attach-session 2>/dev/null || exec {_tmux(cluster)} new-session"


def _require(window: Window) -> str:
    missing = f"rayctl: {window} is not installed on this node; install it there, such as by a set-up command"
    return f"command -v {window} >/dev/null || {{ echo {shlex.quote(missing)} >&2; exit 127; }}; "


def _tmux(cluster: str) -> str:
    return f"tmux -L {_name(cluster)}"


def _name(cluster: str) -> str:
    return shlex.quote(f"rayctl-{cluster}")
