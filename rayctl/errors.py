# SPDX-License-Identifier: Apache-2.0
"""All errors that rayctl raises on purpose, and the exit code each one ends a command with.

    RayctlError                1   anything below; catch this to catch them all
    ├── NodesFailed            1   some nodes did not reach their wanted state
    ├── ProviderError          1   the system that gives us machines said no (its category says why)
    ├── UsageError             2   a command line that cannot be obeyed
    │   └── ConfigError        2   a cluster file with problems, all of them listed
    ├── Refused                3   not supported, or not safe: nothing was touched
    │   └── StateRefused       3   a stored file that must not be trusted, or is newer than this rayctl
    ├── Unreachable            4   nothing answered
    ├── Busy                   5   another writer holds the cluster
    └── Interrupted          130   Ctrl-C, or SIGTERM

An error's text is one paragraph for the person reading it: what happened, where, what it printed last. `hint` is what to
do next. The command line prints both; a traceback is shown only with `--debug`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RayctlError(Exception):
    """Something went wrong that the user can act on."""

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class NodeFailure:
    """Why one node did not reach its wanted state: enough for one block on the screen.

    `tail` holds the last lines that the step printed, `log` the path of its whole output on the node.
    """

    node: str
    reason: str
    step: str = ""
    exit_code: int | None = None
    tail: tuple[str, ...] = ()
    log: str = ""
    unreachable: bool = False


class NodesFailed(RayctlError):
    """Seen when a command reached its nodes, but not all of them ended as wanted."""

    def __init__(self, message: str, failures: tuple[NodeFailure, ...], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.failures = failures


class Category(StrEnum):
    """Why a provider refused: what a caller may do about it depends on nothing else."""

    CAPACITY = "capacity"  # none left just now: try another type or zone, or later
    QUOTA = "quota"  # the account's limit: others of this account must end first
    THROTTLED = "throttled"  # asked too often: ask again more slowly
    AUTH = "auth"  # credentials: no use asking again until they change
    INVALID = "invalid"  # the request itself: no use asking again until the file changes
    TRANSIENT = "transient"  # a reply was lost or a server failed: ask again with the same token


class ProviderError(RayctlError):
    """Seen when the provider's system refuses or fails; `category` tells what may help."""

    def __init__(self, category: Category, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.category = category


class UsageError(RayctlError):
    """Seen when flags or arguments contradict each other or name nothing."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a cluster file. `line` and `column` count from 1; 0 means the file as a whole."""

    path: str
    message: str
    line: int = 0
    column: int = 0
    hint: str = ""


class ConfigError(UsageError):
    """Seen when a cluster file cannot be used; carries every problem found, not only the first."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        where = f"{source}:{first.line}:{first.column}" if first.line else source
        super().__init__(f"{where}: {first.message}{more}", hint=first.hint)
        self.source = source
        self.problems = problems


class Refused(RayctlError):
    """Seen when rayctl will not do it: not supported, or not safe. Nothing was touched."""

    exit_code = 3


class StateRefused(Refused):
    """Seen when a stored file belongs to someone else, is open to others, or was written by a newer rayctl."""


class Unreachable(RayctlError):
    """Seen when no node answered."""

    exit_code = 4


class Busy(RayctlError):
    """Seen when another `up`, `down` or scaler holds the cluster and did not finish within --lock-timeout."""

    exit_code = 5


class Interrupted(RayctlError):
    """Seen after Ctrl-C or SIGTERM, once everything of ours has stopped."""

    exit_code = 130
