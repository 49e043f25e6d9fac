# SPDX-License-Identifier: Apache-2.0
"""Nodes on the page of `status`, one by one: all of them, or those that need attention, the worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from rayctl.cli.columns import Cell, annotated
from rayctl.cli.common import ago
from rayctl.events.redact import ESCAPES
from rayctl.operations import census

if TYPE_CHECKING:
    from rayctl.operations.census import TypeCount
    from rayctl.operations.status import NodeStatus

FRESH_S = 5.0  # what is younger was asked just now
WORST_FIRST = (census.FAILED, census.LOST, census.DRAINING, census.PENDING)
STYLES = {census.FAILED: "red", census.LOST: "red", census.DRAINING: "yellow", census.PENDING: "yellow"}
GIB = 2**30
SPECIAL = {"CPU", "GPU", "memory", "object_store_memory"}


@dataclass(frozen=True)
class NodeList:
    """How nodes looked at the moment `at`, in lines of `width` columns where they fit. `probe`: they were asked themselves."""

    at: float
    width: int
    probe: bool = False

    def all(self, nodes: Sequence[NodeStatus]) -> list[Text]:
        """A row for each; in narrow terminals some lines for each, so that nothing is cut."""
        return self._table(nodes) or [line for node in nodes for line in self._block(node)]

    def _table(self, nodes: Sequence[NodeStatus]) -> list[Text] | None:
        heading = ["NODE", "TYPE", "ADDRESS", "MACHINE", "RAY", "USED", *(["STEPS", "PROBLEM"] if self.probe else [])]
        rows: list[list[Cell]] = []
        for node in nodes:
            probed = [_or_dash(node.steps_done), _problem(node).replace("no problem", "-")] if self.probe else []
            used = used_of(node) or "-"
            rows.append([node.name, node.type, node.address or "-", self._machine(node), node.ray, used, *probed])
        staged = [self._stage(node) if _stage_matters(node) else "" for node in nodes]
        return annotated(heading, rows, "SCALER", staged, self.width)

    def _block(self, node: NodeStatus) -> Iterator[Text]:
        """For narrow terminals: nothing is cut."""
        yield Text(f"{node.name} ({node.type}, {node.address or '-'})")
        yield Text(f"  machine {self._machine(node)}, Ray {node.ray}, used {used_of(node) or '-'}")
        if self.probe:
            yield Text(f"  steps {_or_dash(node.steps_done)}, {_problem(node)}")
        if _stage_matters(node):
            yield Text(f"  {self._stage(node)}")

    def troubled(self, nodes: Sequence[NodeStatus]) -> list[Text]:
        """What each of them is at and for how long. There must be some."""
        rows: list[list[Cell]] = []
        for node in nodes:
            state = Text(node.counts_as or node.state, style=STYLES.get(node.counts_as, ""))
            rows.append([node.name, node.type, node.address or "-", state])
        what = [self._what(node) for node in nodes]
        found = annotated(["NODE", "TYPE", "ADDRESS", "STATE"], rows, "WHAT", what, self.width)
        return found or [Text(f"{row[0]} ({row[1]}, {row[2]}): {row[3]}, {why}") for row, why in zip(rows, what, strict=True)]

    def _what(self, node: NodeStatus) -> str:
        if node.stage:
            return self._stage(node)
        return _problem(node) if node.problem else f"machine {self._machine(node)}"

    def _machine(self, node: NodeStatus) -> str:
        """The machine's state, with who has it and since when that is known."""
        whose = f" by {node.claim['cluster']} ({node.claim['owner']})" if node.state == "taken" and node.claim else ""
        age = self._since(node.asked_at) if node.asked_at else 0.0
        return f"{node.state}{whose}" + (f", {ago(age)} ago" if age > FRESH_S else "")

    def _stage(self, node: NodeStatus) -> str:
        since = f" for {ago(self._since(node.since))}" if node.since else ""
        return f"{node.stage}{since}{f': {clean(node.detail)}' if node.detail else ''}"

    def _since(self, at: float) -> float:
        return self.at - at


def needs_attention(node: NodeStatus) -> bool:
    """Whether somebody may want to know of this node among many."""
    return node.counts_as in WORST_FIRST or bool(node.problem)


def severity(node: NodeStatus) -> tuple[int, float]:
    """The worst first, of these what lasts the longest."""
    rank = WORST_FIRST.index(node.counts_as) if node.counts_as in WORST_FIRST else len(WORST_FIRST)
    return rank, node.since or 0.0


def _stage_matters(node: NodeStatus) -> bool:
    return bool(node.stage and (node.stage != "up" or node.detail))


def _problem(node: NodeStatus) -> str:
    return "an earlier run is at work" if node.busy else clean(node.problem or "no problem")


def _or_dash(value: object) -> str:
    return "-" if value is None else str(value)


def used_of(row: NodeStatus | TypeCount) -> str:
    """What is used of what there is: CPUs and GPUs, memory, then what else tasks ask for by name."""
    parts = [f"{_amount(row.used, name)}/{_amount(row.resources, name)} {name}" for name in _plain_names(row.resources)]
    if "memory" in row.resources:
        memory = f"{row.used['memory'] / GIB:.1f}/{row.resources['memory'] / GIB:.1f} GiB"
        parts.insert(sum(name in row.resources for name in ("CPU", "GPU")), memory)
    return ", ".join(parts)


def _plain_names(resources: Mapping[str, float]) -> list[str]:
    others = (name for name in resources if not name.startswith("accelerator_type:"))
    return [*(name for name in ("CPU", "GPU") if name in resources), *sorted(set(others) - SPECIAL)]


def _amount(amounts: Mapping[str, float], name: str) -> str:
    return f"{round(amounts.get(name, 0.0), 4):.15g}"


def clean(text: str) -> str:
    """Words from elsewhere, as one line that does nothing to a terminal."""
    return ESCAPES.sub("", " ".join(text.split()))
