# SPDX-License-Identifier: Apache-2.0
"""What `up` would do on nodes that exist, found out without Ansible: each node is asked, and compared with its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayctl.errors import RayctlError
from rayctl.node.look import Wanted, anything, look
from rayctl.node.synced import KEY
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts, Kind, Node
from rayctl.provision.digests import digests_of
from rayctl.provision.nodeplan import Options, plan_of
from rayctl.provision.remote import Remote
from rayctl.provision.synced import stamp
from rayctl.transport.local import caller_environment


@dataclass(frozen=True)
class Work:
    """One node: its plan, what of it is to be done, and whether an earlier run is still at it.

    `behind`: the head's synced files are not there as they are on the head. `works`: its Ray runs and is sound, so jobs may
    be on it. `why_steps`: why the first of the steps runs that do.
    """

    node: Node
    plan: Mapping[str, Any]
    wanted: Wanted
    busy: bool
    behind: bool = False
    works: bool = False
    why_steps: str = ""

    @property
    def needed(self) -> bool:
        """Whether the node takes part in the play."""
        return self.busy or self.behind or anything(dict(self.plan), self.wanted)

    @property
    def steps(self) -> tuple[int, int]:
        """How many set-up steps are to run, of how many."""
        total = len(self.plan["steps"])
        return total - self.wanted.first_step, total

    @property
    def expects_ray(self) -> bool:
        """Whether Ray must know this node once the work is done."""
        ray = self.plan["ray"]
        return bool(ray and ray["processes"] and "start" in self.plan["phases"])


def survey(session: Session, options: Options, nodes: Sequence[Node], *, head_restarts: bool = False) -> list[Work]:
    """Ask these nodes, the head first: a head that is going to be started anew starts its workers anew too.

    `head_restarts` says so of a head that is not among them, such as one that is yet to be launched.
    """
    mount_digests = digests_of(session.deployment.mounts) if nodes else {}
    works = []
    head: str | None = None
    synced = _synced_stamp(session) if nodes else ""
    for node in sorted(nodes, key=lambda node: node.kind is not Kind.HEAD):
        seen = session.transport(node).probe(session.mark(node))
        plan = plan_of(session.deployment, node, mount_digests, options)
        wanted = look(plan, seen, head)
        if node.kind is Kind.HEAD:
            head, head_restarts = (seen["ray"] or {}).get("head"), wanted.ray is not None
        elif head_restarts and wanted.ray is None and "start" in options.phases:
            wanted = wanted._replace(ray="the head will be restarted")
        behind = bool(synced and plan.get("synced") and seen["mounts"].get(KEY) != synced)
        sound = seen["ray"] is not None and not seen["broken"]
        busy = seen["runner"] is not None
        works.append(Work(node, plan, wanted, busy, behind, works=sound, why_steps=_why_steps(plan, seen, wanted)))
    return works


def _why_steps(plan: Mapping[str, Any], seen: Mapping[str, Any], wanted: Wanted) -> str:
    """Why the first of the steps runs that do; empty where none does."""
    first = wanted.first_step
    if first == len(plan["steps"]):
        return ""
    if wanted.mounts:
        return "a file mount changed"
    if first >= len(seen["steps"]):
        return "it has not been run yet"
    if plan["rerun_from"] == first and seen["steps"][first] == plan["steps"][first]["digest"]:
        return "it was asked for"
    return "it changed, or what it depends on"


def _synced_stamp(session: Session) -> str:
    """How the files that workers get from the head look there now; empty where there are none (yet)."""
    paths, head = session.config.cluster_synced_files, session.deployment.head
    if not paths or head is None or not isinstance(session.provider, DeclaresHosts):
        return ""
    try:
        return stamp(paths, Remote(tuple(session.transport(head).rsh()), caller_environment()))
    except RayctlError:
        return ""  # the head makes them when it is set up; what keeps them away then is told by the run
