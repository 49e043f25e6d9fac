# SPDX-License-Identifier: Apache-2.0
"""How long something that failed is left alone: longer each time, up to half an hour (pure)."""

from __future__ import annotations

from dataclasses import dataclass

from rayctl.errors import Category

LONGEST_S = 1800.0
FIRST_S = {
    Category.CAPACITY: 60.0, Category.QUOTA: 60.0, Category.THROTTLED: 5.0, Category.TRANSIENT: 2.0,
    Category.AUTH: 600.0, Category.INVALID: 600.0,
}  # fmt: skip
SET_UP_S = 60.0  # after machines of a type that could not be set up
HOST_S = 30.0  # for a declared host that failed


@dataclass(frozen=True)
class Backoff:
    """Something that failed `times` in a row, at last at `at` for `reason`: not to be tried before `until`."""

    reason: str
    at: float
    until: float
    times: int = 1

    def left(self, now: float) -> float:
        """So many seconds more."""
        return max(0.0, self.until - now)


def after(before: Backoff | None, reason: str, now: float, first_s: float, longest_s: float = LONGEST_S) -> Backoff:
    """The back-off after one more failure: `first_s`, then twice as long each time.

    A failure within the wait of the one before is the same one told again: of ten launches side by side all may fail.
    """
    if before is None:
        return Backoff(reason, now, now + first_s)
    if now < before.until:
        return Backoff(reason, before.at, before.until, before.times)
    times = before.times + 1
    return Backoff(reason, now, now + min(longest_s, first_s * 2 ** (times - 1)), times)
