# SPDX-License-Identifier: Apache-2.0
"""What this controller remembers: the clusters that it has had to do with, and the events of their last runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rayctl.errors import RayctlError, StateRefused, UsageError
from rayctl.events import Event, EventKind
from rayctl.state import cluster, paths

CLUSTERS, RUNS = "clusters", "runs"


@dataclass(frozen=True)
class LastRun:
    """The last operation that left a log here. `at` is seconds since the epoch; status is ok, failed, ... or unknown."""

    operation: str
    status: str
    at: float


@dataclass(frozen=True)
class KnownCluster:
    """A cluster that was met from here. Whether it is up, only its provider knows."""

    name: str
    file: Path
    cluster_id: str
    since: float
    last: LastRun | None


def clusters(root: Path) -> list[KnownCluster]:
    """All of them, by name; what cannot be trusted or read is passed over."""
    found = []
    for folder in sorted((root / CLUSTERS).glob("*")):
        with suppress(StateRefused, UsageError):
            record = cluster.load(paths.record_file(root, folder.name))
            if record is not None:
                last = last_run(root, record.name)
                found.append(KnownCluster(record.name, Path(record.config_path), record.cluster_id, record.created, last))
    return found


def file_of(root: Path, name: str) -> Path | None:
    """The cluster file by which a cluster of this name was met; None where there was none."""
    if not paths.SAFE_NAME.fullmatch(name):
        return None
    record = cluster.load(paths.record_file(root, name))
    return Path(record.config_path) if record else None


def require_known(path: Path) -> None:
    """Raise `UsageError` for what looks like a cluster's name, and is none that was met here."""
    if not path.exists() and paths.SAFE_NAME.fullmatch(str(path)) and not path.suffix:
        hint = "See the names by `rayctl list`, or give the path of a cluster file."
        raise UsageError(f"{path} is no file, and no cluster that this machine has met", hint=hint)


def run_logs(root: Path, name: str, operation: str | None = None) -> list[Path]:
    """The logs of a cluster's runs, the newest last."""
    folders = [paths.runs_dir(root, name, operation)] if operation else list((root / RUNS / name).glob("*"))
    return sorted((log for folder in folders for log in folder.glob("*.jsonl")), key=lambda log: log.name)


def events(log: Path) -> Iterator[Event]:
    """The events of a run, as far as they were written. Raises RayctlError where it cannot be read."""
    try:
        lines = log.read_text(encoding="utf-8").splitlines()
    except OSError as e:
        raise RayctlError(f"cannot read {log}: {e.strerror}") from None
    for line in lines:
        with suppress(ValueError):  # a line that was cut when the disk was full
            yield Event.from_json(line)


def last_run(root: Path, name: str) -> LastRun | None:
    """The newest run, told by its log."""
    logs = run_logs(root, name)
    if not logs:
        return None
    status, operation, at = "unknown", logs[-1].parent.name, 0.0
    for event in events(logs[-1]):
        at = at or event.ts
        if event.kind == EventKind.OPERATION_ENDED:
            status = str(event.data.get("status", status))
    return LastRun(operation, status, at)
