# SPDX-License-Identifier: Apache-2.0
"""What a node remembers and whether its Ray lives, in one answer. Read-only, and takes no lock."""

from __future__ import annotations

from typing import Any, Dict

from . import control, processes, ray, state


def look(state_dir: str, mark: str) -> Dict[str, Any]:
    """{mounts, steps, ray, ray_stale, broken, runner} as this node has them; `mark` is `<cluster_id>/<node>`.

    `broken` says in words why Ray does not work, None when it does; `runner` is the status of a run under way, or None.
    """
    folder = state.folder_of(state_dir)
    known = state.NodeState(folder, *mark.split("/", 1)).load()
    return dict(
        known.seen(), broken=ray.broken(known.ray), runner=control.living_runner(folder), uptime=processes.uptime(),
    )  # fmt: skip
