# SPDX-License-Identifier: Apache-2.0
"""The journal in hand: changed in memory, stored before anything that it speaks of is done.

What cannot be stored, on a full disk for one, is not done and not believed to be done: the next turn decides it anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from rayctl.reconcile import backoff
from rayctl.reconcile.journal import Asked, Failure, Journal, Trouble, put, without
from rayctl.reconcile.seam import Outside

KEPT_FAILURES = 20
FAILURES_S = 3600.0  # so long a failure is shown
RETRY_S, LONGEST_RETRY_S = 2.0, 30.0


class Books:
    """The journal of one scaler. `was_lost`: there was none that told of a Ray, so a listing may lack what an earlier scaler
    launched.
    """

    def __init__(self, world: Outside, cluster_id: str = "") -> None:
        self._world = world
        found = world.recall() or Journal()
        if found.cluster_id not in ("", cluster_id):  # of a cluster of this name that is no more
            found = Journal(sequences=found.sequences)
        found = replace(found, cluster_id=cluster_id)
        self.was_lost = not found.ray
        self.journal = found
        self._stored: Journal | None = found  # None while nobody knows

    def write(self, **changes: Any) -> None:
        """Change the journal in memory."""
        self.journal = replace(self.journal, **changes)

    def put(self, table: str, key: str, value: Any) -> None:
        """Set one entry of one of its tables; None removes it."""
        self.write(**{table: put(getattr(self.journal, table), key, value)})

    def put_all(self, table: str, entries: Mapping[str, Any]) -> None:
        """Set many entries of a table."""
        if entries:
            self.write(**{table: {**getattr(self.journal, table), **entries}})

    def drop(self, table: str, keys: Iterable[str]) -> None:
        """Remove entries of a table."""
        if gone := set(keys) & getattr(self.journal, table).keys():
            self.write(**{table: without(getattr(self.journal, table), gone)})

    def commit(self) -> None:
        """Store it, if it is not as it was stored last."""
        if self.journal != self._stored:
            self._stored = None
            self._world.remember(self.journal)
            self._stored = self.journal

    @contextmanager
    def promised(self) -> Iterator[None]:
        """What is written within is stored at its end, if not before; or it is as if it had not been written."""
        before = self.journal
        try:
            yield
            self.commit()
        except Exception:
            self.journal = before
            raise

    # ---- launches
    def keep(self, key: str, asked: Asked | None) -> None:
        """Put what is left of a launch in its place; None when nothing is."""
        left = without(self.journal.asked, [key])
        self.write(asked=left if asked is None else {**left, asked.key: asked})

    def doubt(self, until: float) -> None:
        """Launch nothing until a listing of then."""
        self.write(doubt_until=max(until, self.journal.doubt_until))

    def set_back(self, seconds: float) -> None:
        """Somebody has set the clock back: what was to be waited for is not to be waited for so much longer."""
        self.journal = self.journal.earlier(seconds)

    # ---- what went wrong
    def failed(self, failure: Failure) -> None:
        """Remember a failure for people; old ones are forgotten."""
        recent = [known for known in self.journal.failures if failure.at - known.at < FAILURES_S]
        self.write(failures=(*recent, failure)[-KEPT_FAILURES:])

    def setback(self, node_type: str, reason: str, now: float, first_s: float) -> None:
        """Leave a type alone for a while."""
        self.put("setbacks", node_type, backoff.after(self.journal.setbacks.get(node_type), reason, now, first_s))

    def quarantine(self, host: str, reason: str, now: float) -> None:
        """Leave a declared host alone for a while."""
        self.put("quarantine", host, backoff.after(self.journal.quarantine.get(host), reason, now, backoff.HOST_S))

    def barred(self, now: float) -> set[str]:
        """The declared hosts that nobody may launch now: in quarantine, or not yet done with what they were before."""
        return {host for host, held in self.journal.quarantine.items() if now < held.until} | self.journal.ending.keys()

    def trouble(self, id: str, reason: str, now: float, *, silent: bool = False, counted: bool = True) -> int:
        """Something went wrong with a machine; how often it has by now. Silence and what comes after it are counted apart.

        Unless `counted`, it is only more of what was counted before.
        """
        found = self.troubled(id, reason, now, silent=silent, counted=counted)
        self.put("troubles", id, found)
        return found.times

    def troubled(self, id: str, reason: str, now: float, *, silent: bool = False, counted: bool = True) -> Trouble:
        """The trouble that a machine is in when this goes wrong; not written down yet."""
        before = self.journal.troubles.get(id)
        times = before.times + counted if before and before.silent == silent else 1
        return Trouble(times, now, reason, now + min(LONGEST_RETRY_S, RETRY_S * 2 ** (times - 1)), silent)

    def times(self, id: str) -> int:
        """How often something went wrong with a machine of late."""
        known = self.journal.troubles.get(id)
        return known.times if known else 0

    def may_try(self, id: str, now: float) -> bool:
        """Whether a machine with which something went wrong was left alone for long enough."""
        known = self.journal.troubles.get(id)
        return known is None or now >= known.retry_at
