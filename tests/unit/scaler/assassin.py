# SPDX-License-Identifier: Apache-2.0
"""Ends a scaler at a call through the seam: before it, or after it has done all it does."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager


class Killed(BaseException):
    """The scaler's process is no more. No handler of errors may catch it."""


class Assassin:
    """Passed as `around`. `calls` are the calls so far; at number `at` (from 0) the scaler is killed, `after` it or before.

    `moments` are, by what `outside` said that everything outside was like, the first moment at which it was like that: what
    becomes of a scaler that is killed depends on nothing else.
    """

    def __init__(self, at: int | None = None, after: bool = False, *, outside: Callable[[], Hashable] | None = None) -> None:
        self.calls: list[str] = []
        self.moments: dict[Hashable, tuple[int, bool]] = {}
        self._at, self._after, self._outside = at, after, outside

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        number = len(self.calls)
        self.calls.append(name)
        self._note(number, after=False)
        if number == self._at and not self._after:
            raise Killed
        yield
        self._note(number, after=True)
        if number == self._at:
            raise Killed

    def _note(self, number: int, *, after: bool) -> None:
        if self._outside is not None:
            self.moments.setdefault(self._outside(), (number, after))
