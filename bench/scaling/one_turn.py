# SPDX-License-Identifier: Apache-2.0
"""One turn of the scaler, from nothing, over the files of `town`: `python -m bench.scaling.one_turn FOLDER`.

Prints a line of JSON: seconds of CPU by what they went to, the peak of memory in MB, and how much the scaler wanted done of
what. With `--profile`, a table of Python's profiler instead.
"""

from __future__ import annotations

import time

BEGAN = time.process_time()

import cProfile  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
from collections import defaultdict  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from pathlib import Path  # noqa: E402

import rayctl.operations.scaling.daemon  # noqa: E402, F401  all that the scaler's own process loads
from bench.scaling.papers import Papers  # noqa: E402
from bench.scaling.town import CLUSTER_ID  # noqa: E402
from rayctl.reconcile.debounce import Debounce  # noqa: E402
from rayctl.reconcile.seam import seam  # noqa: E402
from rayctl.scaler import Scaler  # noqa: E402

CALLS = {
    "machines": "the listing", "ray": "Ray's reply", "publish": "writing for people", "remember": "the journal",
    "recall": "the journal", "report": "messages to Ray", "drain": "messages to Ray", "describe": "messages to Ray",
}  # fmt: skip


class Clock:
    """Seconds of CPU by what they went to; what is within something else counts there alone."""

    def __init__(self) -> None:
        self.spent: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def around(self, call: str) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.spent[CALLS.get(call, "other calls")] += time.process_time() - began


def main() -> None:
    """Make the turn."""
    clock, loaded = Clock(), time.process_time()
    papers = Papers(Path(sys.argv[1]))
    ready = time.process_time()
    scaler = Scaler(seam(papers, clock.around), CLUSTER_ID)
    scaler.debounce = Debounce(0.0)  # what waits counts in the first turn, so that there is something to plan
    if "--profile" in sys.argv:
        cProfile.runctx("scaler.turn()", {"scaler": scaler}, {}, sort="cumulative")
        return
    scaler.turn()
    rest = time.process_time() - ready - sum(clock.spent.values())
    spent = {
        "Python and its imports": loaded,
        "the cluster file": ready - loaded,
        **clock.spent,
        "the planner and the rest": rest,
    }
    status = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    print(json.dumps({"cpu_s": spent, "peak_mb": peak * 1024 / 1e6, "done": papers.done}))


if __name__ == "__main__":
    main()
