# SPDX-License-Identifier: Apache-2.0
"""`plan`: what `up` would do, for people and for programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from rayctl.cli.cluster import OVERRIDES, wanted
from rayctl.cli.common import operation
from rayctl.cli.report import block
from rayctl.operations import planfile
from rayctl.operations.proposal import NodeProposal, Proposal
from rayctl.operations.up import propose

CHANGES = 2
INTERRUPTED = {
    "none": "No job is interrupted.",
    "some": "Jobs with work on a node whose Ray is restarted or that is ended are interrupted there.",
    "all": "All jobs of the cluster are interrupted, since its head is.",
}


def show(cluster_file: Path, flags: dict[str, Any], out: Path | None, *, form: str, detailed: bool) -> int:
    """Print it, and keep it in `out`. The exit code is 1 where a node did not answer."""
    overrides = {key: flags[key] for key in OVERRIDES}
    with operation("plan", cluster_file, overrides, quiet=True) as session:
        found = propose(session, wanted(flags))
    if out:
        planfile.store(out, found, flags)
    click.echo(json.dumps(found.to_dict(), indent=2) if form == "json" else "\n".join(_text(found)))
    for failure in found.unreachable:
        click.echo(block(failure), err=True)
    return 1 if found.unreachable else CHANGES if detailed and found.changes else 0


def _text(found: Proposal) -> list[str]:
    width = max((len(node.node) for node in found.nodes), default=0)
    lines = [f"{found.cluster}: {found.summary()}"]
    for node in found.nodes:
        lines += [f"  {node.node or '+':<{width}}  {node.what}", *(f"  {'':<{width}}    {detail}" for detail in _details(node))]
    return [*lines, INTERRUPTED[found.interrupts]] if found.changes else lines


def _details(node: NodeProposal) -> list[str]:
    """The step that is the reason; the others only follow it."""
    if not node.steps:
        return []
    first, more = node.steps[0], len(node.steps) - 1
    follow = f", and {more} more after it" if more else ""
    return [f"step {first.index} {first.name}: {first.why}{follow}"]
