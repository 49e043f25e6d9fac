# SPDX-License-Identifier: Apache-2.0
"""`rayctl simulate`: a trace and a cluster file are read, the trace is replayed, and snapshots are kept where wanted."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from rayctl.config.load import load
from rayctl.errors import UsageError
from rayctl.operations.history import file_of, require_known
from rayctl.planner import snapshot
from rayctl.simulation import engine, trace
from rayctl.simulation.report import Result
from rayctl.simulation.scaler import Turn
from rayctl.simulation.scene import Options, scene
from rayctl.state.paths import home


def simulate(trace_file: Path, cluster_file: Path, options: Options, snapshots: Path | None = None) -> Result:
    """Replay a trace on the cluster of a file, or of this name. `snapshots`: a folder for those of turns that did something."""
    file = None if cluster_file.exists() else file_of(home(os.environ), str(cluster_file))
    if file is None:
        require_known(cluster_file)
    read = trace.read(trace_file)
    stage = scene(load(file or cluster_file).config, options)
    return engine.simulate(stage, read, _keeper(snapshots, stage.cluster) if snapshots else lambda _: None)


def _keeper(folder: Path, cluster: str) -> Callable[[Turn], None]:
    """What writes snapshots, as `turn-000123.json`. The simulated clock begins at the epoch."""

    def keep(turn: Turn) -> None:
        if turn.plan:
            moment = datetime.fromtimestamp(turn.at, UTC).isoformat()
            _write(folder / f"turn-{turn.number:06d}.json", snapshot.dump(turn.snapshot, cluster, moment))

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return keep


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written: {error.strerror}", hint="Name a folder that you may write to.")
