# SPDX-License-Identifier: Apache-2.0
"""What a scaler costs while nothing happens, beside Ray's own monitors, which only look on: all at work at the same time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.lab import lab
from bench.pairs import RunFailed
from bench.report import table
from bench.scaling.heads import Head, ray_head
from bench.scaling.sides import scaler

CLUSTER = """\
cluster_name: bench
provider: {type: embedded}
max_workers: 3
available_node_types:
  head: {resources: {CPU: 1, object_store_memory: 80000000}}
  worker: {resources: {CPU: 1, object_store_memory: 80000000}}
head_node_type: head
scaler: {metrics_port: 0}
"""
SETTLE_S, WINDOW_S = 20.0, 60.0
OLD, NEW = "autoscaler/_private/monitor.py", "autoscaler/v2/monitor.py"


@dataclass(frozen=True)
class Used:
    """What one process took in a window: a share of one CPU, and MB of memory at its end."""

    cpu: float
    rss_mb: float
    pss_mb: float


def scaler_idle(windows: int) -> str:
    """So many windows of a minute, each of all three."""
    used: dict[str, list[Used]] = {}
    with _all() as pids:
        time.sleep(SETTLE_S)
        for number in range(windows):
            for name, one in _window(pids).items():
                used.setdefault(name, []).append(one)
                print(
                    f"{number + 1}/{windows}  {name}: {one.cpu:.2%} of a CPU, {one.rss_mb:.0f} MB", file=sys.stderr, flush=True
                )
    head = ["", "CPU, of one core", "least and most", "resident memory", "of it its own share"]
    return table(head, [_row(name, found) for name, found in used.items()])


@contextmanager
def _all() -> Iterator[Mapping[str, int]]:
    """The process ids of all sides, by their names."""
    with ExitStack() as stack:
        place = stack.enter_context(lab(CLUSTER))
        place.up()
        ours = stack.enter_context(scaler(place.rayctl("scaler"), place.file.with_suffix(".jsonl")))
        old = stack.enter_context(ray_head(modern=False, address="127.0.0.251"))
        new = stack.enter_context(ray_head(modern=True, address="127.0.0.252"))
        yield {
            "`rayctl scaler`, two turns a second": ours,
            "Ray's monitor, every five seconds": _monitor(old, OLD),
            "Ray's monitor v2, every five seconds": _monitor(new, NEW),
        }  # fmt: skip


def _monitor(head: Head, program: str) -> int:
    """The process that runs this program of Ray's. Raises `RunFailed`."""
    for process in head.processes():
        if program.encode() in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            return process.pid
    raise RunFailed(f"this head has no {program}")


def _window(pids: Mapping[str, int]) -> dict[str, Used]:
    began, before = time.monotonic(), {name: _cpu_s(pid) for name, pid in pids.items()}
    time.sleep(WINDOW_S)
    passed, after = time.monotonic() - began, {name: _cpu_s(pid) for name, pid in pids.items()}
    return {name: Used((after[name] - before[name]) / passed, _mb(pid, "Rss"), _mb(pid, "Pss")) for name, pid in pids.items()}


def _cpu_s(pid: int) -> float:
    """Seconds of CPU of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _mb(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) * 1024 / 1e6


def _row(name: str, found: Sequence[Used]) -> list[str]:
    shares = [one.cpu for one in found]
    rss, pss = (median(getattr(one, what) for one in found) for what in ("rss_mb", "pss_mb"))
    return [name, f"{median(shares):.2%}", f"{min(shares):.2%} to {max(shares):.2%}", f"{rss:.0f} MB", f"{pss:.0f} MB"]
