# SPDX-License-Identifier: Apache-2.0
"""The private half of a claim, `claim.json` in the node's own folder: the launch token, and what the node was launched with.

It also remembers the public half but for its times, for the case that a cleaner takes that away.
"""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Mapping, Optional

from . import state
from .claims import Claim

FILE = "claim.json"
WORDS = ("cluster", "cluster_id", "node", "node_kind", "type", "owner", "token", "launch_digest")
TABLES = ("resources", "labels", "tags")


def read(folder: str, cluster_id: str = "") -> Optional[Dict[str, Any]]:
    """The private half in this folder, of this cluster if one is named; None when there is none."""
    private = parse(state.read(os.path.join(folder, FILE)))
    return private if private and cluster_id in ("", private["cluster_id"]) else None


def parse(data: Optional[Dict[str, Any]]) -> Optional[Dict[str, Any]]:
    """What a file says, if it is a private half."""
    if data is None or data.get("kind") != "claim-token":
        return None
    complete = (
        all(isinstance(data.get(key), str) for key in WORDS)
        and all(isinstance(data.get(key), dict) for key in TABLES)
        and type(data.get("launched_at")) in (int, float)
        and type(data.get("generation")) is int
    )
    return data if complete else None


def write(folder: str, facts: Mapping[str, Any]) -> None:
    """Store what of these facts belongs into it. `launched_at`, in seconds since the epoch, is now unless it is among them."""
    kept = {key: facts[key] for key in (*WORDS, *TABLES, "generation")}
    header = {"version": state.VERSION, "kind": "claim-token", "launched_at": facts.get("launched_at", time.time())}
    state.write(os.path.join(folder, FILE), dict(header, **kept), durable=True)


def published(private: Mapping[str, Any], uid: int) -> Claim:
    """The public half as the private one remembers it: without a boot, it holds by processes alone."""
    words = {key: private[key] for key in ("cluster", "cluster_id", "node", "node_kind", "type", "owner")}
    return Claim(
        uid=uid, since=private["launched_at"], generation=private["generation"], boot_id="", expires=0.0, processes=(), **words
    )
