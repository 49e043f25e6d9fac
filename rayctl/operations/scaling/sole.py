# SPDX-License-Identifier: Apache-2.0
"""One scaler per cluster, wherever it runs: its name stands in the head's key-value store, and is renewed there.

Two that start at the same moment may both believe to be first; the one whose name is not there at its next renewal ends.
Nothing is lost meanwhile: each change is made under the cluster's lease. The clocks of two controllers are not compared:
another's name counts as long as it is renewed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict

from rayctl.errors import Busy
from rayctl.gcs.errors import GcsError
from rayctl.operations.scaling.head import Head
from rayctl.state.holder import Holder, surely_dead

NAMESPACE, KEY = b"rayctl", b"scaler"
RENEW_S = 5.0
SILENT_S = 20.0  # another's name that is not renewed for so long is that of a scaler that is gone


class Sole:
    """This scaler's claim to be the only one."""

    def __init__(
        self,
        head: Head,
        me: Holder,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.me = me
        self._head, self._clock, self._sleep = head, clock, sleep
        self._renewed_at = float("-inf")
        self._beat = 0

    def begin(self) -> None:
        """Be the only one from now on. Raises `Busy` where another one lives, after watching it for a while."""
        seen, since = self._read(), self._clock()
        while seen is not None and not self._is_free(seen):
            if self._clock() - since > SILENT_S:
                break
            self._sleep(1.0)
            now = self._read(seen)
            if now is not None and now != seen:
                raise Busy(f"another scaler has this cluster: {self._holder(now)}", hint="There is one per cluster.")
            seen = now
        self.renew()

    def renew(self) -> None:
        """Say that we live, from time to time. Raises `Busy` where another one has taken our place."""
        if self._clock() - self._renewed_at < RENEW_S:
            return
        try:
            seen = self._asked() if self._beat else None
            if seen is not None and not self._is_free(seen):
                raise Busy(f"another scaler has taken this cluster: {self._holder(seen)}")
            self._beat += 1
            value = json.dumps({"v": 1, "holder": asdict(self.me), "beat": self._beat}).encode()
            self._head.ask(lambda client: client.put(KEY, value, namespace=NAMESPACE))
        except GcsError:
            return  # a head that is gone has no scaler either
        self._renewed_at = self._clock()

    def end(self) -> None:
        """Make room for another one."""
        try:
            seen = self._read()
            if seen is not None and self._holder(seen) == self.me:
                self._head.ask(lambda client: client.delete(KEY, namespace=NAMESPACE))
        except GcsError:
            return

    def _read(self, otherwise: bytes | None = None) -> bytes | None:
        """What stands there; a head that does not answer tells nothing new."""
        try:
            return self._asked()
        except GcsError:
            return otherwise

    def _asked(self) -> bytes | None:
        return self._head.ask(lambda client: client.get(KEY, namespace=NAMESPACE)) or None

    def _is_free(self, value: bytes) -> bool:
        holder = self._holder(value)
        return holder in (None, self.me) or (
            holder is not None and holder.controller == self.me.controller and surely_dead(holder)
        )

    @staticmethod
    def _holder(value: bytes) -> Holder | None:
        """Whose name it is; None where it is no name."""
        try:
            return Holder(**json.loads(value)["holder"])
        except (ValueError, TypeError, KeyError):
            return None
