# SPDX-License-Identifier: Apache-2.0
"""The circuit breaker: where many nodes are unhealthy at once, the fault is hardly theirs, and none is ended for it (pure).

Rule: more than 20 % of the workers, and three at least, in two turns in a row open it; below that it closes at once.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARE, LEAST, TURNS = 0.2, 3, 2


@dataclass(frozen=True)
class Breaker:
    """`bad_turns`: in how many turns in a row too many were unhealthy."""

    bad_turns: int = 0

    @property
    def open(self) -> bool:
        """Whether no node may be ended for its health."""
        return self.bad_turns >= TURNS

    @property
    def suspicious(self) -> bool:
        """Whether it may open at the next turn: until then nothing is ended for its health either."""
        return self.bad_turns > 0

    def after(self, unhealthy: int, workers: int) -> Breaker:
        """The breaker after one more turn."""
        bad = unhealthy >= LEAST and unhealthy > SHARE * workers
        return Breaker(min(self.bad_turns + 1, TURNS) if bad else 0)
