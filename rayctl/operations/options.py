# SPDX-License-Identifier: Apache-2.0
"""What operations are asked for and what comes of them, as data. Importing it costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rayctl.errors import UsageError
from rayctl.events import Sink
from rayctl.operations.windows import Window
from rayctl.transport.base import OWN_ENDS, Ends
from rayctl.transport.ports import Forward

if TYPE_CHECKING:
    from rayctl.operations.proposal import Proposal

RESTARTS = ("auto", "always", "never")
Command = tuple[str, str]
"""A command line for a person's shell, and what it is good for."""


@dataclass(frozen=True)
class Listeners:
    """Who hears an operation's events, beside its log. `text` is what was asked for, in words.

    `eager`: they also hear of a file that cannot be read. People are told of that by the error alone. `logged`: a log of the
    run is kept. `failure` is the exit code of rayctl's own failures, where it is not the error's.
    """

    sinks: Sequence[Sink] = ()
    eager: bool = False
    text: str = ""
    logged: bool = True
    failure: int | None = None


@dataclass(frozen=True)
class Overrides:
    """What is wanted instead of what the file says."""

    cluster_name: str | None = None
    min_workers: int | None = None
    max_workers: int | None = None


@dataclass(frozen=True)
class UpOptions:
    """The flags of `up`. `rerun_from` counts set-up steps from 1; `timeout_s` bounds the play.

    `restart` is auto, always or never. `become_password` is what sudo on the nodes is given. `agreed` is the fingerprint of
    the only proposal to be carried out.
    """

    restart: str = "auto"
    restart_only: bool = False
    rerun_from: int | None = None
    check: bool = False
    diff: bool = False
    limit: str | None = None
    lock_timeout_s: float = 60.0
    timeout_s: float | None = None
    accept_other: bool = False
    agreed: str = ""
    become_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        """Raise `UsageError` for what cannot be."""
        if self.restart not in RESTARTS:
            raise UsageError(f"restart is one of {', '.join(RESTARTS)}, and not {self.restart!r}")
        if self.restart == "never" and self.restart_only:
            raise UsageError("to restart Ray only, and never to restart it, contradict each other")

    def words(self) -> list[str]:
        """The flags that an `up` which goes on from here needs too."""
        words = ["--no-restart"] if self.restart == "never" else []
        words += ["--ask-become-pass"] if self.become_password else []
        return words + (["--limit", self.limit] if self.limit else [])


@dataclass(frozen=True)
class UpResult:
    """What came of it. `joined` counts nodes that Ray knows, of `expected`; `proposal` is what was to be done.

    `diffs` are names of nodes and steps or files before and after; `next` is what one may want to do now. `scaler_changed`:
    something was done about the scaler on the head.
    """

    cluster: str
    changed: tuple[str, ...]
    launched: tuple[str, ...]
    expected: int
    joined: int
    seconds: float
    address: str = ""
    proposal: Proposal | None = None
    diffs: tuple[tuple[str, str], ...] = ()
    next: tuple[tuple[Command, ...], ...] = ()
    scaler_changed: bool = False


@dataclass(frozen=True)
class DownOptions:
    """The flags of `down`."""

    workers_only: bool = False
    keep_min_workers: bool = False
    lock_timeout_s: float = 60.0
    accept_other: bool = False


@dataclass(frozen=True)
class DownResult:
    """Names of the nodes that were ended and of those that stay."""

    cluster: str
    ended: tuple[str, ...]
    kept: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class RunOptions:
    """How something is run. `window`: in a tmux or screen of the node, which is not waited for.

    `ends_cluster`: what runs in the window ends the cluster when it is over, which takes a scaler.
    `run_env` is auto, host or docker. `ends`: where stdin, stdout and stderr lead to, if not to ours.
    """

    forwards: tuple[Forward, ...] = ()
    window: Window | None = None
    ends_cluster: bool = False
    screen_options: tuple[str, ...] = ()
    run_env: str = "auto"
    ends: Ends = OWN_ENDS
