# SPDX-License-Identifier: Apache-2.0
"""What `up` would do on nodes that exist, found out without Ansible: each node is asked, and compared with its plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rayctl.node.look import Wanted, anything, look
from rayctl.operations.session import Session
from rayctl.providers.base import Kind, Node
from rayctl.provision.digests import digests_of
from rayctl.provision.nodeplan import Options, plan_of


@dataclass(frozen=True)
class Work:
    """One node: its plan, what of it is to be done, and whether an earlier run is still at it."""

    node: Node
    plan: Mapping[str, Any]
    wanted: Wanted
    busy: bool

    @property
    def needed(self) -> bool:
        """Whether the node takes part in the play."""
        return self.busy or anything(dict(self.plan), self.wanted)

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

    def reasons(self) -> list[str]:
        """What would be done, in lines for people."""
        steps = len(self.plan["steps"]) - self.wanted.first_step
        lines = [f"copy {mount['target']}" for mount in self.wanted.mounts]
        if steps:
            lines.append(f"run set-up from step {self.wanted.first_step + 1} of {len(self.plan['steps'])}")
        if self.wanted.ray:
            lines.append(f"start Ray, because {self.wanted.ray}")
        return lines or (["follow the run that is under way"] if self.busy else [])


def survey(session: Session, options: Options, nodes: Sequence[Node], *, head_restarts: bool = False) -> list[Work]:
    """Ask these nodes, the head first: a head that is going to be started anew starts its workers anew too.

    `head_restarts` says so of a head that is not among them, such as one that is yet to be launched.
    """
    mount_digests = digests_of(session.deployment.mounts) if nodes else {}
    works = []
    head: str | None = None
    for node in sorted(nodes, key=lambda node: node.kind is not Kind.HEAD):
        seen = session.transport(node).probe(session.mark(node))
        plan = plan_of(session.deployment, node, mount_digests, options)
        wanted = look(plan, seen, head)
        if node.kind is Kind.HEAD:
            head, head_restarts = (seen["ray"] or {}).get("head"), wanted.ray is not None
        elif head_restarts and wanted.ray is None and "start" in options.phases:
            wanted = wanted._replace(ray="the head will be restarted")
        works.append(Work(node, plan, wanted, busy=seen["runner"] is not None))
    return works
