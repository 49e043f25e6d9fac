# SPDX-License-Identifier: Apache-2.0
"""One turn of the scaler over up to 10,000 machines, from the interpreter's start to its exit."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.pairs import Child
from bench.report import Goal, table

SIZES = (10, 100, 1_000, 10_000)
SEED = 1
CPU_S, PEAK_MB = 2.0, 300.0  # goals


@dataclass(frozen=True)
class Turn:
    """What a process with one turn took. `spent` are seconds of CPU by what they went to, `done` what it wanted done."""

    seconds: float
    cpu_s: float
    peak_mb: float
    spent: Mapping[str, float]
    done: Mapping[str, int]


def scaler_scale(rounds: int) -> str:
    """All sizes in turn, so often."""
    with tempfile.TemporaryDirectory(prefix="rayctl-bench-") as made:
        turns = {size: [_turn(Path(made) / f"{number}-{size}", size) for number in range(rounds)] for size in SIZES}
    rows = [_row(size, found) for size, found in turns.items()]
    head = ["machines", "CPU", "wall", "peak memory", "launched", "drained", "set up"]
    most = turns[SIZES[-1]]
    goals = [
        Goal("a turn with 10,000 machines in under 2 s of CPU, imports included", median(t.cpu_s for t in most), CPU_S),
        Goal("in under 300 MB, at the worst", max(turn.peak_mb for turn in most), PEAK_MB),
    ]
    return "\n\n".join([table(head, rows), _where(most), *map(str, goals)])


def _turn(folder: Path, size: int) -> Turn:
    """Let one process write the files, and another make a turn over them."""
    folder.mkdir()
    subprocess.run([sys.executable, "-m", "bench.scaling.town", str(folder), str(size), str(SEED)], check=True)
    with (
        (folder / "told").open("w+b") as out,
        Child([sys.executable, "-m", "bench.scaling.one_turn", str(folder)], out=out) as child,
    ):
        sample = child.finish()
        out.seek(0)
        told = json.load(out)
    print(f"{size} machines: {sample.cpu_s:.2f} s of CPU, {told['peak_mb']:.0f} MB", file=sys.stderr, flush=True)
    return Turn(sample.seconds, sample.cpu_s, told["peak_mb"], told["cpu_s"], told["done"])


def _row(size: int, turns: Sequence[Turn]) -> list[str]:
    done = [str(turns[0].done.get(what, 0)) for what in ("launched", "drained", "set up")]
    cpu, wall, peak = (median(getattr(turn, name) for turn in turns) for name in ("cpu_s", "seconds", "peak_mb"))
    return [f"{size:,}", f"{cpu:.2f} s", f"{wall:.2f} s", f"{peak:.0f} MB", *done]


def _where(turns: Sequence[Turn]) -> str:
    """Where the CPU time of the biggest goes, the most first. What is missing of the whole is the interpreter's end."""
    middle = {name: median(turn.spent[name] for turn in turns) for name in turns[0].spent}
    rows = [[name, f"{seconds:.3f} s"] for name, seconds in sorted(middle.items(), key=lambda item: -item[1])]
    return table([f"where the CPU goes with {SIZES[-1]:,} machines", "median"], rows)
