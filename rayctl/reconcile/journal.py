# SPDX-License-Identifier: Apache-2.0
"""What the scaler must not forget when it is killed, beside what the provider's records say.

The provider is the truth about machines. The journal bridges what it does not tell: launches that are asked for and not
listed yet, drains and terminations under way, what failed and when it may be tried again. It is written before what it speaks
of is done. One that is lost costs time, no machines: tokens are derived, so what is asked for twice is given once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rayctl.gcs.view import Demand
from rayctl.providers.base import LaunchRequest
from rayctl.reconcile.backoff import Backoff
from rayctl.state import files

KIND, VERSION = "scaler-journal", 1


@dataclass(frozen=True)
class Asked:
    """A launch. `ids` are what came of its slots, by token; `retry_at`: when to ask again.

    `at` is when it was asked for, or when it became known what came of it: listings of long after that tell of it.
    """

    request: LaunchRequest
    at: float
    ids: Mapping[str, str] = field(default_factory=dict)
    retry_at: float = 0.0
    tries: int = 1

    @property
    def key(self) -> str:
        """Under which it is kept."""
        return self.request.slots[0].token

    @property
    def answered(self) -> bool:
        """Whether it is known of each slot what came of it."""
        return all(slot.token in self.ids for slot in self.request.slots)

    def without(self, tokens: Iterable[str]) -> Asked | None:
        """The same without these slots; None when none is left."""
        gone = set(tokens)
        slots = tuple(slot for slot in self.request.slots if slot.token not in gone)
        return replace(self, request=replace(self.request, slots=slots)) if slots else None


@dataclass(frozen=True)
class Drain:
    """A machine whose Ray is being drained since `at`, and why. `accepted`: whether Ray has agreed."""

    at: float
    why: str
    reason: str
    accepted: bool = False


@dataclass(frozen=True)
class Ending:
    """A machine that is being ended since `at`, and why; `last` is when its provider was last asked to."""

    at: float
    why: str
    last: float


@dataclass(frozen=True)
class Trouble:
    """What went wrong with a machine of late: so often, at last at `at`. `retry_at`: when to try again.

    `silent`: it was only not reached, as a machine that boots is not.
    """

    times: int
    at: float
    reason: str
    retry_at: float
    silent: bool = False


@dataclass(frozen=True)
class Failure:
    """Something that people want to see: machines of a type, or one node, that failed; `log` names what it printed."""

    type: str
    reason: str
    since: float
    at: float
    node: str = ""
    count: int = 1
    log: str = ""


@dataclass(frozen=True)
class Journal:
    """See above, of the cluster `cluster_id`.

    `ray` is the identity of the Ray cluster that was seen last, `quiet_until` the end of its first minutes.
    `sequences` are the highest numbers given to machines by type, `workers` how many there were, `asked` launches by their
    first token; `ending`, `draining` and `troubles` are by machine id, `setbacks` by type, `quarantine` by host. `learnt` are
    resources of types of which the file says nothing, `requested` what `request_resources()` asked for last. Nothing is
    launched until a listing was asked for at `doubt_until` or later: before, a listing may lack machines.
    """

    ray: str = ""
    quiet_until: float = 0.0
    doubt_until: float = 0.0
    sequences: Mapping[str, int] = field(default_factory=dict)
    workers: int = 0
    asked: Mapping[str, Asked] = field(default_factory=dict)
    ending: Mapping[str, Ending] = field(default_factory=dict)
    draining: Mapping[str, Drain] = field(default_factory=dict)
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    setbacks: Mapping[str, Backoff] = field(default_factory=dict)
    quarantine: Mapping[str, Backoff] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    learnt: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    requested: tuple[Demand, ...] = ()
    cluster_id: str = ""

    def earlier(self, seconds: float) -> Journal:
        """The same, with all its times earlier."""
        tables: dict[str, Any] = {
            name: {key: _earlier(entry, seconds) for key, entry in getattr(self, name).items()}
            for name in ("asked", "ending", "draining", "troubles", "setbacks", "quarantine")
        }
        return replace(
            self, quiet_until=self.quiet_until - seconds, doubt_until=self.doubt_until - seconds,
            failures=tuple(_earlier(failure, seconds) for failure in self.failures), **tables,
        )  # fmt: skip


def _earlier(entry: Any, seconds: float) -> Any:
    """The same entry, with all its times earlier."""
    times = {name: getattr(entry, name) for name in ("since", "at", "last", "until", "retry_at") if hasattr(entry, name)}
    return replace(entry, **{name: time - seconds for name, time in times.items()})


def load(path: Path) -> Journal | None:
    """The stored journal; None when there is none. Raises `StateRefused` for a file that must not be trusted."""
    data = files.read(path, KIND, VERSION)
    return None if data is None else files.parse(path, Journal, data)


def store(path: Path, journal: Journal) -> None:
    """Store it, durably."""
    files.write(path, KIND, VERSION, asdict(journal))


def put(before: Mapping[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A mapping with one more entry; with None, without it."""
    rest = {name: known for name, known in before.items() if name != key}
    return rest if value is None else {**rest, key: value}


def without(before: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """A mapping without these entries."""
    gone = set(keys)
    return {name: known for name, known in before.items() if name not in gone}
