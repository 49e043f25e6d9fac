# SPDX-License-Identifier: Apache-2.0
"""A worker's copies of files that lie on the head (`cluster_synced_files`): asked for before Ray is started.

The controller knows how they look on the head by a stamp; the one of the last copies is kept among the mounts.
"""

from __future__ import annotations

from typing import List

from .state import NodeError
from .work import Work

KEY = ":cluster_synced_files"


def bring(work: Work) -> List[str]:
    """Have them copied where the head's have changed; the paths that were."""
    paths: List[str] = work.plan.get("synced") or []
    if not paths:
        return []
    answer = work.talk.ask("synced", known=work.state.mounts.get(KEY, ""))
    if not answer.get("ok"):
        raise NodeError("the files of the head could not be copied here: %s" % answer.get("message", ""))
    if not answer["copied"]:
        return []
    work.state.mounts[KEY] = answer["stamp"]
    work.state.save()
    return paths
