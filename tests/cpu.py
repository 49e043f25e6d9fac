# SPDX-License-Identifier: Apache-2.0
"""What something costs, as far as a machine with other work to do can tell."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable


def cpu_s(act: Callable[[], object]) -> float:
    """The CPU seconds of the cheapest of three runs; what other tests have left is not looked through at their cost."""
    gc.collect()
    gc.freeze()
    try:
        return min(_once(act) for _ in range(3))
    finally:
        gc.unfreeze()


def _once(act: Callable[[], object]) -> float:
    began = time.process_time()
    act()
    return time.process_time() - began
