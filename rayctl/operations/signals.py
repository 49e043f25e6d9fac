# SPDX-License-Identifier: Apache-2.0
"""SIGTERM, as `timeout` and service managers send it, ends what is done as Ctrl-C does. Imported by every command."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from rayctl.errors import Interrupted


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """While it lasts, SIGTERM ends an operation as Ctrl-C does: in order, with exit code 130."""

    def interrupt(*_: object) -> None:
        raise Interrupted("interrupted by SIGTERM")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
