# SPDX-License-Identifier: Apache-2.0
"""The scaler's own RAYCTL_HOME on its host: by what lies there, the rayctl that runs there knows the cluster.

Files are as `rayctl/state/` writes them: the cluster's record, its Ray token, host keys that were pinned.
"""

from __future__ import annotations

import json
import os
from typing import Any, Dict, List, Optional

from . import handover, state

NAME, CLUSTERS = "home", "clusters"


def prepare(folder: str, state_dir: str, record: Dict[str, Any], known_hosts: str) -> str:
    """Bring it up to date; its path. `record` is the cluster's as the controller knows it, `folder` the scaler's."""
    home = os.path.join(folder, NAME)
    place = os.path.join(home, CLUSTERS, os.path.basename(record["name"]))
    for one in (home, os.path.join(home, CLUSTERS), place):
        state.make_private(one)
    _remember(os.path.join(place, "cluster.json"), record)
    _store(os.path.join(place, "token"), handover.read_token(state_dir))
    pinned = os.path.join(place, "known_hosts")
    _store(pinned, merged(state.text_of(pinned) or "", known_hosts))
    return home


def _remember(path: str, record: Dict[str, Any]) -> None:
    """The numbers that the scaler gave since are its own: of two records of one cluster, the higher ones count."""
    known = _loaded(path)
    if known is not None and known.get("cluster_id") == record["cluster_id"]:
        mine, yours = known.get("sequences", {}), record["sequences"]
        record = dict(
            record, created=known["created"], sequences={k: max(mine.get(k, 0), yours.get(k, 0)) for k in {**mine, **yours}}
        )
        if all(known.get(key) == value for key, value in record.items()):
            return
    state.store(path, json.dumps(dict({"version": 1, "kind": "cluster"}, **record), indent=2) + "\n", durable=True)


def _loaded(path: str) -> Optional[Dict[str, Any]]:
    return state.decoded(state.text_of(path) or "")


def _store(path: str, text: str) -> None:
    if text and state.text_of(path) != text:
        state.store(path, text, durable=True)


def merged(here: str, given: str) -> str:
    """Host keys: of a host that the controller knows, what it believes; of others, what was pinned here."""
    names = {line.split()[0] for line in given.splitlines() if line.split() and line[0] not in "#@"}
    kept: List[str] = [line for line in here.splitlines() if line.split() and line.split()[0] not in names]
    return "".join("%s\n" % line for line in dict.fromkeys([*given.splitlines(), *kept]))
