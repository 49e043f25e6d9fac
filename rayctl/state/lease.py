# SPDX-License-Identifier: Apache-2.0
"""The second level of "one writer": a lease that lies on the cluster's head, decided by pure functions.

A lease names its holder and when it ends, in seconds of the head's own uptime: no other clock matters, and a reboot,
which changes the boot id, frees it. Its generation grows with each new holder, so that a holder who was overtaken is
recognised by any later write. Stores do nothing but `read` and `compare_and_set`; whoever's write fails reads again.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

from rayctl.state import files, private
from rayctl.state.holder import Holder, boot_id, surely_dead, uptime

KIND, VERSION = "lease", 1
TTL_S = 60.0
TOKEN_VARIABLE = "RAYCTL_LEASE"  # noqa: S105  the name of a variable; its value is no secret either


@dataclass(frozen=True)
class LeaseToken:
    """What tells an operation from all others, handed down to its plays in the environment. Not secret."""

    value: str

    @classmethod
    def new(cls) -> LeaseToken:
        """The token of a new operation."""
        return cls(secrets.token_hex(16))

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> LeaseToken | None:
        """The token of the operation under which this process runs; None when it runs under none."""
        return cls(value) if (value := environ.get(TOKEN_VARIABLE)) else None

    def to_env(self) -> dict[str, str]:
        """What a play's environment needs, so that the play works under its operation's lock and lease."""
        return {TOKEN_VARIABLE: self.value}


@dataclass(frozen=True)
class Lease:
    """The right to change a cluster, until `expires` seconds of the head's uptime within the boot `boot_id`."""

    owner: Holder
    generation: int
    expires: float
    boot_id: str
    token: str


@dataclass(frozen=True)
class Held:
    """The answer to a second writer: the lease that stands, and how many seconds it has left if nobody renews it."""

    lease: Lease
    remaining_s: float


@dataclass(frozen=True)
class Reading:
    """What lies on the head, and the head's own time at which it was read."""

    lease: Lease | None
    now: float
    boot_id: str

    @property
    def generation(self) -> int:
        """What `compare_and_set` must find for nobody to have come between."""
        return self.lease.generation if self.lease else 0


class LeaseStore(Protocol):
    """Where a lease lies. Each call ends within seconds, with an answer or an error."""

    def read(self) -> Reading:
        """The lease as it is now, and the head's time."""

    def compare_and_set(self, expected_generation: int, lease: Lease) -> bool:
        """Store `lease` if the stored one still has this generation (0: there is none); whether it did."""


def acquire(
    current: Lease | None,
    owner: Holder,
    now: float,
    boot_id: str,
    ttl: float = TTL_S,
    *,
    token: LeaseToken,
    dead: Callable[[Holder], bool] = surely_dead,
) -> Lease | Held:
    """The lease to store for `owner`, or the one that stands in its way.

    The bearer of the current token goes on with the same generation and owner: it is the holder itself or its play.
    `dead` is asked only about holders of the same controller, and only what it is sure of counts.
    """
    if current is None:
        return Lease(owner, 1, now + ttl, boot_id, token.value)
    if current.token == token.value:
        return replace(current, expires=now + ttl, boot_id=boot_id)
    orphaned = current.owner.controller == owner.controller and dead(current.owner)
    if _stands(current, now, boot_id) and not orphaned:
        return Held(current, current.expires - now)
    return Lease(owner, current.generation + 1, now + ttl, boot_id, token.value)


def renew(current: Lease | None, mine: Lease, now: float, boot_id: str, ttl: float = TTL_S) -> Lease | None:
    """The lease to store so that `mine` goes on; None when somebody else had it since, or it was wiped from the head.

    A lease that ran out, or outlived a reboot of the head, goes on if nobody took it: nothing was changed behind it.
    """
    if not _is_mine(current, mine):
        return None
    return replace(mine, expires=now + ttl, boot_id=boot_id)


def release(current: Lease | None, mine: Lease) -> Lease | None:
    """The lease to store so that others need not wait; None when it is no longer ours to give back."""
    return replace(mine, expires=0.0) if _is_mine(current, mine) else None


class FileLeaseStore:
    """A lease in a file, for a head on this machine. `clock` and `boot` tell the head's uptime and boot."""

    def __init__(self, path: Path, *, clock: Callable[[], float] = uptime, boot: Callable[[], str] = boot_id) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot

    def read(self) -> Reading:
        """The lease as it is now, and this machine's time. Raises `StateRefused` for a file that cannot be trusted."""
        return Reading(self._load(), self._clock(), self._boot())

    def compare_and_set(self, expected_generation: int, lease: Lease) -> bool:
        """Store `lease` if the stored one still has this generation (0: there is none); whether it did."""
        with private.locked(self._path.with_name(f"{self._path.name}.lock")):
            current = self._load()
            if (current.generation if current else 0) != expected_generation:
                return False
            files.write(self._path, KIND, VERSION, asdict(lease))
            return True

    def _load(self) -> Lease | None:
        data = files.read(self._path, KIND, VERSION)
        return None if data is None else files.parse(self._path, Lease, data)


def stands(reading: Reading) -> bool:
    """Whether somebody has the right to write at the moment of a reading."""
    return reading.lease is not None and _stands(reading.lease, reading.now, reading.boot_id)


def _stands(lease: Lease, now: float, boot_id: str) -> bool:
    return lease.boot_id == boot_id and now < lease.expires


def _is_mine(current: Lease | None, mine: Lease) -> bool:
    return current is not None and (current.generation, current.token) == (mine.generation, mine.token)
