# SPDX-License-Identifier: Apache-2.0
"""Takes the lease, keeps it alive while an operation runs, and says so when it is lost.

A renewal counts from before it was asked for, so that this side never believes longer in the lease than the head does.
The clock goes on while a laptop sleeps: after it woke, `check` refuses before the first renewal could tell.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rayctl.errors import Busy
from rayctl.state.holder import Holder, same_process, surely_dead, uptime, wait_for
from rayctl.state.lease import TTL_S, Held, Lease, LeaseStore, LeaseToken, acquire, release, renew

RENEW_S = 20.0
RETRY_S = 5.0
POLL_S = 1.0


@dataclass(frozen=True)
class Taken:
    """A lease that was got, and the controller's own time (of `uptime`) before it was asked for."""

    lease: Lease
    asked: float


def take(
    store: LeaseStore,
    owner: Holder,
    token: LeaseToken,
    *,
    timeout_s: float,
    on_wait: Callable[[Holder], object] = lambda _: None,
    ttl_s: float = TTL_S,
    dead: Callable[[Holder], bool] = surely_dead,
    clock: Callable[[], float] = uptime,
    sleep: Callable[[float], object] = time.sleep,
) -> Taken:
    """Get the lease for `owner`, waiting up to `timeout_s` seconds. Raises `Busy`, naming the holder, after that."""

    def attempt() -> Taken | Holder:
        while True:
            asked, seen = clock(), store.read()
            outcome = acquire(seen.lease, owner, seen.now, seen.boot_id, ttl_s, token=token, dead=dead)
            if isinstance(outcome, Held):
                return outcome.lease.owner
            if store.compare_and_set(seen.generation, outcome):
                return Taken(outcome, asked)

    return wait_for(attempt, timeout_s=timeout_s, on_wait=on_wait, every_s=POLL_S, clock=clock, sleep=sleep)


class LeaseKeeper:
    """Renews a lease from a thread of its own between `start` and `stop`.

    `lost` is set, and `on_lost` called once with the reason (from that thread), when another took the lease or when it
    could not be renewed for `ttl_s` seconds. Whoever changes something calls `check` before.
    """

    def __init__(
        self,
        store: LeaseStore,
        taken: Taken,
        *,
        on_lost: Callable[[str], object] = lambda _: None,
        ttl_s: float = TTL_S,
        every_s: float = RENEW_S,
        clock: Callable[[], float] = uptime,
    ) -> None:
        self.lease = taken.lease
        self.lost = threading.Event()
        self._store = store
        self._on_lost = on_lost
        self._ttl_s = ttl_s
        self._every_s = every_s
        self._clock = clock
        self._valid_until = taken.asked + ttl_s
        self._why = ""
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rayctl-lease", daemon=True)

    def start(self) -> None:
        """Begin to renew."""
        self._thread.start()

    def stop(self) -> None:
        """End the renewals; the lease stays as it is."""
        self._stopped.set()
        self._thread.join()

    def give_back(self) -> None:
        """Free the lease for the next writer. When that fails the lease ends by itself."""
        with suppress(Exception):
            seen = self._store.read()
            if freed := release(seen.lease, self.lease):
                self._store.compare_and_set(seen.generation, freed)

    def check(self) -> None:
        """Raise `Busy` unless the lease is surely still ours."""
        if self.lost.is_set():
            raise _lost(self._why)
        if self._clock() >= self._valid_until:
            raise _lost(f"it was not renewed for {self._ttl_s:g} s")

    def turn(self) -> float:
        """Renew once. Returns the seconds until the next turn."""
        asked = self._clock()
        try:
            renewed, holder = self._renew()
        # whatever keeps a renewal from happening, it did not happen
        except Exception as problem:
            return self._failed(problem)
        if renewed is None:
            return self._lose(f"{holder} has it now" if holder else "it is gone from the head")
        self.lease, self._valid_until = renewed, asked + self._ttl_s
        return self._every_s

    def _renew(self) -> tuple[Lease | None, Holder | None]:
        """The lease renewed; or None and who has it instead, if anybody."""
        seen = self._store.read()
        renewed = renew(seen.lease, self.lease, seen.now, seen.boot_id, self._ttl_s)
        if renewed and self._store.compare_and_set(seen.generation, renewed):
            return renewed, None
        current = seen.lease if renewed is None else self._store.read().lease
        return None, current.owner if current else None

    def _failed(self, problem: Exception) -> float:
        left = self._valid_until - self._clock()
        if left <= 0:
            return self._lose(f"it could not be renewed for {self._ttl_s:g} s: {problem}")
        return min(RETRY_S, left)

    def _lose(self, why: str) -> float:
        if not self.lost.is_set():
            self._why = why
            self.lost.set()
            self._on_lost(why)
        return self._every_s

    def _run(self) -> None:
        pause = self._every_s
        while not self._stopped.wait(pause) and not self.lost.is_set():
            pause = self.turn()


@contextmanager
def keep(
    store: LeaseStore,
    owner: Holder,
    token: LeaseToken,
    *,
    timeout_s: float,
    on_wait: Callable[[Holder], object] = lambda _: None,
    on_lost: Callable[[str], object] = lambda _: None,
) -> Iterator[LeaseKeeper]:
    """Hold the lease while the block runs: take it, renew it, give it back.

    A play under its operation's token renews it too, so that it outlives a lost wrapper, and leaves giving back to it.
    """
    taken = take(store, owner, token, timeout_s=timeout_s, on_wait=on_wait)
    keeper = LeaseKeeper(store, taken, on_lost=on_lost)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.stop()
        if same_process(taken.lease.owner, owner):
            keeper.give_back()


def _lost(why: str) -> Busy:
    return Busy(
        f"the right to change this cluster was lost: {why}. Nothing more was changed.",
        hint="Run the command again: what is done stays done, and it goes on from there.",
    )
