# SPDX-License-Identifier: Apache-2.0
"""What a scaler says of itself, for people: a document that it writes anew at each turn, and that `status` reads.

Times are seconds since the epoch. Nothing decides by this document: it may be old, and a scaler that was killed leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rayctl.state import files

KIND, VERSION = "scaler-status", 1
FRESH_S = 60.0  # turns are seconds apart, where nothing answers half a minute: what is older was left by one that stands still


@dataclass(frozen=True)
class NodeTold:
    """One machine: at which `stage` of its life since `since`, and what it is at in words, such as the step of its set-up.

    Stages are booting, waiting, setting up, joining, up, lost, restarting, draining and ending.
    """

    name: str
    id: str
    type: str
    stage: str
    since: float
    detail: str = ""


@dataclass(frozen=True)
class FailureTold:
    """A launch or a set-up that failed at `at`. `node` is "" for a machine that never was, `log` the path of what it printed.

    `retry_at` 0: it is not tried again.
    """

    type: str
    node: str
    reason: str
    at: float
    retry_at: float = 0.0
    log: str = ""


@dataclass(frozen=True)
class ScalerStatus:
    """A scaler at the end of a turn. `started` is its process's start in clock ticks since boot, beside the `pid`.

    `nodes` are all machines, also those that are asked for and not listed yet, which `launching` counts by type. `infeasible`
    is what can never be placed, `waiting` what has to wait; both in words, with the reason. `breaker` says why nothing is
    ended just now, `problem` what keeps the scaler from its work; "" where nothing does. `quarantined` are hosts that are not
    used, with the reason and until when.
    """

    at: float
    pid: int
    started: int
    turn: int
    nodes: tuple[NodeTold, ...] = ()
    launching: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[FailureTold, ...] = ()
    infeasible: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    breaker: str = ""
    quarantined: tuple[tuple[str, str, float], ...] = ()
    problem: str = ""


def dump(status: ScalerStatus) -> dict[str, Any]:
    """The status as data that JSON knows. Written at each turn, so without `asdict`, which copies every value."""
    rows = {name: list(map(vars, getattr(status, name))) for name in ("nodes", "failures")}
    return {**vars(status), "launching": dict(status.launching), **rows}


def load(data: Mapping[str, Any], source: Path) -> ScalerStatus:
    """The status in what `dump` made; `source` is named in the `StateRefused` of data that is none."""
    return files.parse(source, ScalerStatus, dict(data))


def write(path: Path, status: ScalerStatus) -> None:
    """Replace what was told before (0600)."""
    files.write(path, KIND, VERSION, dump(status))


def read(path: Path) -> ScalerStatus | None:
    """What was told last; None where nothing was. Raises `StateRefused`."""
    data = files.read(path, KIND, VERSION)
    return None if data is None else load(data, path)


def parse(content: bytes, source: str) -> ScalerStatus:
    """The status in a file of another machine. Raises `StateRefused`."""
    return load(files.decode(Path(source), content, KIND, VERSION), Path(source))
