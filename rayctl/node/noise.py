# SPDX-License-Identifier: Apache-2.0
"""The lines that an interactive bash without a terminal always says: never the user's concern, and left out everywhere."""

from __future__ import annotations

import re

STARTS = (b"bash: cannot set terminal process group (", b"bash: no job control in this shell", b"bash: [")
LINES = re.compile(
    rb"^bash: (?:cannot set terminal process group \(-?\d+\): Inappropriate ioctl for device|"
    rb"no job control in this shell|\[\d+: \d+ \(-?\d+\)\] tcsetattr: Inappropriate ioctl for device)\r?(?:\n|\Z)",
    re.M,
)
LONGEST = 120


class Quiet:
    """A stream of output without these lines. The beginning of a line that may become one is held until that is known."""

    def __init__(self) -> None:
        self._held = b""
        self._line_begun = False  # whether what was shown last is not the end of a line

    def feed(self, data: bytes) -> bytes:
        """What may be shown now that `data` has come."""
        data = self._held + data
        end_of_begun = data.find(b"\n") + 1 or len(data) if self._line_begun else 0
        begun, data = data[:end_of_begun], data[end_of_begun:]
        last = data[data.rfind(b"\n") + 1 :]
        self._held = last if _may_become_one(last) else b""
        shown = begun + LINES.sub(b"", data[: len(data) - len(self._held)])
        if shown:
            self._line_begun = not shown.endswith(b"\n")
        return shown

    def rest(self) -> bytes:
        """What was held, at the end of the stream."""
        held, self._held = self._held, b""
        return LINES.sub(b"", held)


def _may_become_one(line: bytes) -> bool:
    return 0 < len(line) < LONGEST and any(line.startswith(start) or start.startswith(line) for start in STARTS)
