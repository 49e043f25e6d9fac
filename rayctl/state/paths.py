# SPDX-License-Identifier: Apache-2.0
"""Where rayctl keeps things on the controller.

    <home>/                         $RAYCTL_HOME, else $XDG_STATE_HOME/rayctl, else ~/.local/state/rayctl
        controller.json             this controller's identity
        clusters/<name>/            cluster.json, lock, token
        runs/<name>/<operation>/    the events of the last runs, a file each
        ansible/                    the folders of playbook runs under way
        settled/                    which cluster files have been brought about as they are
        embedded/<name>/            nodes that live on this machine

Pure: no function here touches the disk. `private.private_dir` makes a folder when something is to be put into it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from rayctl.errors import UsageError

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def home(environ: Mapping[str, str]) -> Path:
    """The folder of everything that rayctl stores here. Raises `UsageError` where no home folder can be found."""
    if given := environ.get("RAYCTL_HOME"):
        return _expanded(given).absolute()
    # by the XDG specification a relative value is to be ignored
    if (xdg := environ.get("XDG_STATE_HOME", "")).startswith("/"):
        return Path(xdg) / "rayctl"
    return _expanded("~/.local/state") / "rayctl"


def controller_file(root: Path) -> Path:
    """This controller's identity, under the home `root`."""
    return root / "controller.json"


def cluster_dir(root: Path, cluster: str) -> Path:
    """The folder of what this controller remembers of a cluster."""
    return root / "clusters" / _safe(cluster)


def record_file(root: Path, cluster: str) -> Path:
    """The cluster's `ClusterRecord`."""
    return cluster_dir(root, cluster) / "cluster.json"


def lock_file(root: Path, cluster: str) -> Path:
    """What `lock.hold` locks: one writer of the cluster on this controller."""
    return cluster_dir(root, cluster) / "lock"


def scaler_journal(root: Path, cluster: str) -> Path:
    """What a scaler must not forget."""
    return cluster_dir(root, cluster) / "scaler-journal.json"


def scaler_wanted(root: Path, cluster: str) -> Path:
    """What `up` has handed to a scaler last."""
    return cluster_dir(root, cluster) / "scaler-wanted.json"


def scaler_awaits(root: Path, cluster: str) -> Path:
    """What tells a scaler that a command ends its cluster."""
    return cluster_dir(root, cluster) / "ends-when-over.json"


def scaler_status(root: Path, cluster: str) -> Path:
    """What a scaler tells of itself."""
    return cluster_dir(root, cluster) / "status.json"


def of_scaler(root: Path, cluster: str) -> tuple[Path, ...]:
    """All of these: nothing of it means anything to another cluster of the name."""
    return tuple(path(root, cluster) for path in (scaler_journal, scaler_wanted, scaler_awaits, scaler_status))


def token_file(root: Path, cluster: str) -> Path:
    """The cluster's Ray token; fit for `RAY_AUTH_TOKEN_PATH`."""
    return cluster_dir(root, cluster) / "token"


def runs_dir(root: Path, cluster: str, operation: str) -> Path:
    """The folder of one operation's run logs."""
    return root / "runs" / _safe(cluster) / _safe(operation)


def run_log(root: Path, cluster: str, operation: str, *, started: float, pid: int) -> Path:
    """The log of one run. Names sort by time; `started` is seconds since the epoch, `pid` tells two of one second apart."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(started))
    return runs_dir(root, cluster, operation) / f"{stamp}-{pid}.jsonl"


def embedded_dir(root: Path, cluster: str) -> Path:
    """The folder of a cluster whose nodes live on this machine."""
    return root / "embedded" / _safe(cluster)


def _safe(name: str) -> str:
    """The name, if it is one folder's name and nothing else."""
    if not SAFE_NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be used as a name: it would have to be a folder's name too",
            hint="Use letters, digits, '.', '_' and '-', a letter or digit first, 128 characters at most.",
        )
    return name


def _expanded(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError as problem:
        raise UsageError(
            f"no home folder found for {path}, so there is no place to keep state",
            hint="Set RAYCTL_HOME to a folder of your own.",
        ) from problem
