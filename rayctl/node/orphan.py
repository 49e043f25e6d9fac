# SPDX-License-Identifier: Apache-2.0
"""The watch over a worker's head: a small process of its own, which gives up the node when the head has been away for long.

Nobody needs to reach the node for that. `watch.py` starts it; it looks every ten seconds whether the head's GCS takes
connections. Once it has taken none for the plan's time, the node's Ray is stopped, and a declared host is released as by
`leaving.py`. It acts under the node's lock, so never beside a runner. What stands in the way is tried again each minute.
"""

from __future__ import annotations

import os
import time
from typing import List, NamedTuple, Optional

from . import claims, leaving, processes, ray, state
from .claims import Claim

LOOK_S, CONNECT_S, RETRY_S = 10.0, 2.0, 60.0


class Order(NamedTuple):
    """What is watched, and for whom. `state_dir` is absolute; `claimed`: the host is to be released too."""

    cluster_id: str
    node: str
    state_dir: str
    claimed: bool
    address: str
    port: int
    timeout_s: float


class Absence:
    """For how long the head has been away. One that was never there is not missed.

    Between two looks at most `longest_s` count: no clock that jumps, and no stop of this process, makes a head go away.
    """

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._last: Optional[float] = None
        self._seconds = 0.0

    def look(self, answers: bool, now: float) -> float:
        """The seconds after a look at time `now`; 0 while it answers."""
        if answers:
            self._last, self._seconds = now, 0.0
        elif self._last is not None:
            self._seconds += min(now - self._last, self._longest_s)
            self._last = now
        return self._seconds

    def forget(self) -> None:
        """Count anew from the last look on."""
        self._seconds = 0.0


class Watch:
    """Looks after one node. `place` is the folder with the claims on this host."""

    def __init__(self, order: Order, place: str) -> None:
        self.order, self.board = order, claims.Board(place)
        self.pause_s = min(LOOK_S, order.timeout_s / 5)
        self._absence = Absence(self.pause_s + CONNECT_S)
        self._claim = self._published()
        self._not_before = 0.0
        self._hindrance = ""

    def run(self) -> None:
        """Look until the node is no more."""
        while not self.turn():
            time.sleep(self.pause_s)

    def turn(self) -> bool:
        """Look once, and give up when it is time. Whether the node is no more, also by another cluster of its user's."""
        away_s = self._absence.look(ray.answers(self.order.address, self.order.port, CONNECT_S), time.monotonic())
        published = self._published()
        if published != self._claim:  # somebody reached the host and renewed it: they get as long again
            self._claim = published
            self._absence.forget()
            return self.order.claimed and published is not None and published.cluster_id != self.order.cluster_id
        return away_s >= self.order.timeout_s and time.monotonic() >= self._not_before and self._give_up(away_s)

    def _published(self) -> Optional[Claim]:
        try:
            return self.board.mine()
        except state.NodeError:
            return None

    def _give_up(self, away_s: float) -> bool:
        why = "the head took no connection at %s:%d for %.0f s" % (self.order.address, self.order.port, away_s)
        try:
            left = self._leave()
        except state.Locked:
            return False
        except (state.NodeError, OSError) as e:
            left = [str(e)]
        hindrance, self._hindrance = self._hindrance, ", ".join(left)
        if left:
            self._not_before = time.monotonic() + min(RETRY_S, self.order.timeout_s)
            if hindrance != self._hindrance:
                self._note("%s, but the node cannot be given up: %s" % (why, self._hindrance))
            return False
        self._note("%s: its Ray was stopped%s" % (why, " and the host released" if self.order.claimed else ""))
        return True

    def _leave(self) -> List[str]:
        """Stop the node's Ray and release its host; what does not end. Raises `Locked` while a runner is at work."""
        order, folder = self.order, state.folder_of(self.order.state_dir)
        if not os.path.lexists(folder):
            state.make_private(folder)
        lock = state.take_lock(folder)
        try:
            left = processes.stop("%s/%s" % (order.cluster_id, order.node))
            if left or not order.claimed:
                return ["%s (pid %d) does not end" % (process.name, process.pid) for process in left]
            return leaving.release(order.state_dir, order.cluster_id, self.board.place, self._claim) or []
        finally:
            os.close(lock)

    def _note(self, text: str) -> None:
        leaving.note(self.order.state_dir, time.strftime("%Y-%m-%dT%H:%M:%SZ ", time.gmtime()) + text)


def main(order: List[object]) -> None:
    """The process: it keeps nothing of the line's that started it, and ends with the node."""
    null = os.open(os.devnull, os.O_RDWR)
    watch = Watch(Order(*order), claims.PLACE)  # type: ignore[arg-type]
    watch.turn()  # a head that is there now will be missed
    for fd in (0, 1, 2):  # whoever started it takes this for its word that it works
        os.dup2(null, fd)
    os.close(null)
    watch.run()
