# SPDX-License-Identifier: Apache-2.0
"""What a plan would do on a node, decided purely from what the node told: the same rules on the node and on the controller.

`seen` is what a node remembers and runs: {mounts {target: digest}, steps [digest], ray {...} or None, ray_stale, broken,
watch_s}. `broken` says in words why Ray does not work there, or is None. `watch_s` is after how many seconds without its
head the node gives up; 0 while nothing there looks after the head.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Optional

Seen = Dict[str, Any]


class Wanted(NamedTuple):
    """What a run has to do: mounts to copy, the first step to run (the number of steps when none), why Ray is started.

    `watch`: whether what looks after the head is to be started, ended, or made anew with another time.
    """

    mounts: List[Dict[str, str]]
    first_step: int
    ray: Optional[str]
    watch: bool = False


def look(plan: Dict[str, Any], seen: Seen, head: Optional[str] = None) -> Wanted:
    """Compare a plan with a node. `head` is the incarnation of the head's GCS, where it is known."""
    phases, planned = plan["phases"], plan["steps"]
    mounts = [m for m in plan["mounts"] if seen["mounts"].get(m["target"]) != m["digest"]] if "mounts" in phases else []
    first = len(planned)
    if "setup" in phases:
        first = 0 if mounts else _first_stale(planned, seen["steps"])
        if plan["rerun_from"] is not None:
            first = min(first, plan["rerun_from"])
    why, watch = None, False
    if "start" in phases and plan["ray"]:
        watch = plan.get("orphan_timeout_s", 0.0) != seen["watch_s"]
        why = reason_to_start(plan["ray"], seen, head)
        if why is None and first < len(planned) and plan["ray"]["policy"] != "never":
            why = "a set-up step runs before"
    return Wanted(mounts, first, why, watch)


def anything(plan: Dict[str, Any], wanted: Wanted) -> bool:
    """Whether the node would change."""
    return bool(wanted.mounts or wanted.ray or wanted.watch or wanted.first_step < len(plan["steps"]))


def watch_s(known: Optional[Dict[str, Any]], boot_id: str, alive: Callable[[int, int], bool]) -> float:
    """See `seen`, where the node's state knows this of its watch (`state.py`)."""
    lives = known is not None and known["boot_id"] == boot_id and alive(known["pid"], known["started"])
    return known["timeout_s"] if known and lives else 0.0


def _first_stale(planned: List[Dict[str, Any]], done: List[str]) -> int:
    for i, step in enumerate(planned):
        if i >= len(done) or done[i] != step["digest"]:
            return i
    return len(planned)


def reason_to_start(wanted: Dict[str, Any], seen: Seen, head: Optional[str]) -> Optional[str]:
    """Why Ray must be (re)started, in words that follow "Ray is started, because"; None to leave it alone.

    `wanted["policy"]` is "auto", "always", or "never", which spares a Ray that works.
    """
    known = seen["ray"]
    if seen["broken"] or known is None:
        return seen["broken"] or "it was not started yet"
    if head and known.get("head") and known["head"] != head:
        return "the head was restarted"
    if wanted["policy"] == "never":
        return None
    reasons = (
        (wanted["policy"] == "always", "a restart was asked for"),
        (known["digest"] != wanted["digest"], "its start commands changed"),
        (not _right_version(known, wanted), "the file wants Ray %s" % wanted["want_ray"]),
        (seen["ray_stale"], "a set-up step ran since it was started"),
    )
    return next((why for applies, why in reasons if applies), None)


def _right_version(known: Dict[str, Any], wanted: Dict[str, Any]) -> bool:
    """Whether what was started has the wanted version; `versions` is Ray's and Python's, or empty where nobody looked."""
    found = (known.get("versions") or "").partition(" ")[0]
    return not wanted["want_ray"] or not found or found == wanted["want_ray"]
