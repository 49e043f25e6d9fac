# SPDX-License-Identifier: Apache-2.0
"""Queued work counts when it has been seen for a second (pure).

Ray's head hears of load and of usage about once a second, and not of both at the same time: a task that has just been given to
a node may still be told as waiting, while the node is told as busy with it. What `request_resources()` and placement
groups ask for, and minimums, are not subject to that and count at once.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from rayctl.gcs.view import Demand

WINDOW_S = 1.0

_Key = tuple[object, ...]


class Debounce:
    """What was queued of late. `window_s`: for how long something must have been seen."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._seen: deque[tuple[float, dict[_Key, int]]] = deque()

    def steady(self, pending: tuple[Demand, ...], now: float) -> tuple[Demand, ...]:
        """Of each queued shape the least count of the last window; nothing of what has not been seen for so long."""
        if self._seen and now < self._seen[-1][0]:
            self.forget()  # somebody set the clock
        self._seen.append((now, {_key(demand): demand.count for demand in pending}))
        # the youngest look that is old enough stays: it covers the beginning of the window
        while len(self._seen) > 1 and self._seen[1][0] <= now - self._window_s:
            self._seen.popleft()
        if self._seen[0][0] > now - self._window_s:
            return ()
        counts = [(demand, min(seen.get(_key(demand), 0) for _, seen in self._seen)) for demand in pending]
        return tuple(replace(demand, count=count) for demand, count in counts if count > 0)

    def ripe_in(self, now: float) -> float | None:
        """In how many seconds something that waits now will have been seen for long enough; None where nothing waits."""
        newest = self._seen[-1][1] if self._seen else {}
        moments = [self._since(key) + self._window_s - now for key in newest]
        return min((moment for moment in moments if moment > 0), default=None)

    def forget(self) -> None:
        """Begin anew: the head is another one."""
        self._seen.clear()

    def _since(self, key: _Key) -> float:
        since = self._seen[-1][0]
        for moment, seen in reversed(self._seen):
            if key not in seen:
                break
            since = moment
        return since


def _key(demand: Demand) -> _Key:
    return tuple(sorted(demand.shape.items())), demand.selectors
