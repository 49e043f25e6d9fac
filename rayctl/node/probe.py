# SPDX-License-Identifier: Apache-2.0
"""What a node remembers and whether its Ray lives, in one answer. Read-only, and takes no lock."""

from __future__ import annotations

from typing import Any, Dict

from . import control, processes, ray, state
from .look import watch_s


def look(state_dir: str, mark: str) -> Dict[str, Any]:
    """What `seen` says, {runner} and {uptime}, as this node has them; `mark` is `<cluster_id>/<node>`.

    `runner` is the status of a run under way, or None.
    """
    folder = state.folder_of(state_dir)
    known = state.NodeState(folder, *mark.split("/", 1)).load()
    return dict(seen(known), runner=control.living_runner(folder), uptime=processes.uptime())


def seen(known: state.NodeState) -> Dict[str, Any]:
    """What `look.py` compares with a plan."""
    watched_s = watch_s(known.watch, processes.boot_id(), processes.alive)
    return dict(known.seen(), broken=ray.broken(known.ray), watch_s=watched_s)
