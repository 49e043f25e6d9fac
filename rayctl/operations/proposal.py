# SPDX-License-Identifier: Apache-2.0
"""What `up` is about to do, as data: for `plan`, for `up --check`, for the question before `up`, and for `up --plan FILE`.

Pure: made from what was surveyed, and compared by content. Two proposals are the same when they would do the same to the
same cluster, whatever was typed to get them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from rayctl.config.digest import digest
from rayctl.errors import NodeFailure
from rayctl.events.wording import named
from rayctl.operations.survey import Work
from rayctl.plan import Ending, Machines
from rayctl.providers.base import Kind

VERSION = 1
StepsOf = Callable[[Kind, str], Sequence[str]]
"""The names of the set-up steps of machines of a kind and type."""


class Action(StrEnum):
    """The most that is done to a node."""

    LIVE = "live"  # it is as wanted
    SYNC = "sync"  # files are copied
    RERUN = "rerun"  # set-up steps run
    WATCH = "watch"  # what looks after the head is made anew
    START = "start"  # Ray is started
    RESTART = "restart"  # a Ray that works is stopped and started
    FOLLOW = "follow"  # an earlier run is at work, and waited for
    LAUNCH = "launch"  # a machine is added
    END = "end"  # a machine is ended
    REPLACE = "replace"  # it is ended, and comes back as another type
    UNREACHABLE = "unreachable"  # nobody knows


INTERRUPTED = {
    "none": "No job is interrupted.",
    "some": "Jobs with work on a node whose Ray is restarted or that is ended are interrupted there.",
    "all": "All jobs of the cluster are interrupted, since its head is.",
}


@dataclass(frozen=True)
class StepProposal:
    """A set-up step that runs; steps count from 1, as in `--rerun`. `why` follows "it runs, because"."""

    index: int
    name: str
    why: str


@dataclass(frozen=True)
class NodeProposal:
    """What is done to one node, or to `count` machines that have no name yet. `ray`: why Ray is started there."""

    node: str
    type: str
    kind: str
    action: Action
    mounts: tuple[str, ...] = ()
    steps: tuple[StepProposal, ...] = ()
    total_steps: int = 0
    ray: str = ""
    why: str = ""
    interrupts_jobs: bool = False
    count: int = 1
    digest: str = field(default="", repr=False)

    @property
    def what(self) -> str:
        """In words for people, such as `run set-up from step 2 of 3; restart Ray, because its start commands changed`."""
        if self.action is Action.LAUNCH:
            head = self.kind == Kind.HEAD.value
            steps = f", with {_steps(self.total_steps)}" if self.steps else ""
            return f"launch {'the head' if head else _workers(self.count)} ({self.type}){steps}"
        if self.action is Action.END:
            return f"end it: {self.why}"
        if self.action is Action.REPLACE:
            steps = f", with {_steps(self.total_steps)}" if self.steps else ""
            return f"end it and launch it anew{steps}: {self.why}"
        if self.action in (Action.LIVE, Action.UNREACHABLE):
            return f"{self.action}: {self.why}" if self.why else str(self.action)
        if self.action is Action.WATCH:
            return "put orphan_timeout into force"
        parts = ["follow the run that is under way"] if self.action is Action.FOLLOW else []
        parts += [f"copy {mount}" for mount in self.mounts]
        if self.steps:
            parts.append(f"run set-up from step {self.steps[0].index} of {self.total_steps}")
        if self.ray:
            parts.append(f"{'restart' if self.interrupts_jobs else 'start'} Ray, because {self.ray}")
        return "; ".join(parts)

    @property
    def details(self) -> tuple[str, ...]:
        """The step that is the reason for the others, which only follow it."""
        if not self.steps or self.action in (Action.LAUNCH, Action.REPLACE):
            return ()
        first, more = self.steps[0], len(self.steps) - 1
        return (f"step {first.index} {first.name}: {first.why}" + (f", and {more} more after it" if more else ""),)


@dataclass(frozen=True)
class Proposal:
    """All of it; launches and ends come first, then nodes as they are listed. `scaler` is what is done about it, in lines."""

    cluster: str
    cluster_id: str
    nodes: tuple[NodeProposal, ...]
    scaler: tuple[str, ...] = ()

    @property
    def changes(self) -> tuple[NodeProposal, ...]:
        """What is not left alone."""
        return tuple(node for node in self.nodes if node.action not in (Action.LIVE, Action.UNREACHABLE))

    @property
    def touches(self) -> bool:
        """Whether anything is done at all."""
        return bool(self.changes or self.scaler)

    @property
    def unreachable(self) -> tuple[NodeFailure, ...]:
        """The nodes that did not answer."""
        away = (node for node in self.nodes if node.action is Action.UNREACHABLE)
        return tuple(NodeFailure(node.node, node.why, unreachable=True) for node in away)

    @property
    def interrupts(self) -> str:
        """Whose jobs are interrupted: none, some (those with work on a node whose Ray restarts), all (the head's does)."""
        hit = {node.kind for node in self.nodes if node.interrupts_jobs}
        return "all" if Kind.HEAD.value in hit else "some" if hit else "none"

    @property
    def fingerprint(self) -> str:
        """Equal where the same would be done to the same cluster."""
        done = [asdict(node) for node in self.nodes if node.action is not Action.LIVE]
        return digest([self.cluster, self.cluster_id, done, *([list(self.scaler)] if self.scaler else [])])

    def lines(self) -> list[str]:
        """In words: what is done to each node and why, those alike together, and whose jobs are interrupted."""
        groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for node in self.nodes:
            groups.setdefault((node.what, node.details), []).append(node.node)
        lines = [f"{self.cluster}: {self._summary()}"]
        for (what, details), names in groups.items():
            who = named(names) if what == Action.LIVE else ", ".join(names)  # who is touched is named in full
            lines += [f"  {who}: {what}" if all(names) else f"  {what}", *(f"    {detail}" for detail in details)]
        lines += [f"  {line}" for line in self.scaler]
        return [*lines, INTERRUPTED[self.interrupts]] if self.touches else lines

    def _summary(self) -> str:
        done = Counter(node.action for node in self.changes for _ in range(node.count))
        if not done:
            return "nothing to do on the nodes" if self.scaler else "nothing to do"
        return ", ".join(f"{count} {'node' if count == 1 else 'nodes'} to {action}" for action, count in done.items())

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        nodes = [{key: value for key, value in asdict(node).items() if key != "digest"} for node in self.nodes]
        return {
            "v": VERSION, "cluster": self.cluster, "cluster_id": self.cluster_id, "changes": self.touches,
            "interrupts": self.interrupts, "fingerprint": self.fingerprint, "nodes": nodes, "scaler": list(self.scaler),
        }  # fmt: skip


def propose(
    cluster: str,
    cluster_id: str | None,
    *,
    wanted: Machines,
    works: Iterable[Work],
    silent: Sequence[NodeFailure],
    kinds: Mapping[str, tuple[str, str]],
    steps_of: StepsOf,
) -> Proposal:
    """Put together what was found out. `kinds` has the kind and type of each silent host, `steps_of` a new machine's steps.

    A machine that is to be launched may be one of the declared hosts that do not answer; then it is named as such.
    """
    missing = Counter({(launch.kind, launch.type): launch.count for launch in wanted.launches})
    endings = []
    for ending in wanted.endings:
        comes_back = missing[ending.node.kind, ending.becomes] > 0
        missing[ending.node.kind, ending.becomes] -= comes_back
        endings.append(_replacement(ending, steps_of) if comes_back else _ending(ending))
    for failure in silent:
        kind, node_type = kinds.get(failure.node, (Kind.WORKER.value, ""))
        missing[Kind(kind), node_type] -= 1
    nodes = [_launch(kind, node_type, count, steps_of) for (kind, node_type), count in missing.items() if count > 0]
    nodes += endings
    nodes += [_node(work) for work in works]
    for failure in silent:
        kind, node_type = kinds.get(failure.node, (Kind.WORKER.value, ""))
        nodes.append(NodeProposal(failure.node, node_type, kind, Action.UNREACHABLE, why=failure.reason))
    return Proposal(cluster, cluster_id or "", tuple(nodes))


def _launch(kind: Kind, node_type: str, count: int, steps_of: StepsOf) -> NodeProposal:
    steps = _new(steps_of(kind, node_type))
    return NodeProposal("", node_type, kind.value, Action.LAUNCH, (), steps, len(steps), count=count)


def _replacement(ending: Ending, steps_of: StepsOf) -> NodeProposal:
    node, steps = ending.node, _new(steps_of(ending.node.kind, ending.becomes))
    return NodeProposal(
        node.name, ending.becomes, node.kind.value, Action.REPLACE, (), steps, len(steps), why=ending.reason,
        interrupts_jobs=True,
    )  # fmt: skip


def _new(names: Sequence[str]) -> tuple[StepProposal, ...]:
    return tuple(StepProposal(i, name, "the machine is new") for i, name in enumerate(names, 1))


def _ending(ending: Ending) -> NodeProposal:
    node = ending.node
    return NodeProposal(node.name, node.type, node.kind.value, Action.END, why=ending.reason, interrupts_jobs=True)


def _node(work: Work) -> NodeProposal:
    steps, first = work.plan["steps"], work.wanted.first_step
    mounts = tuple(mount["target"] for mount in work.wanted.mounts) + (("the head's synced files",) if work.behind else ())
    running = tuple(
        StepProposal(i + 1, steps[i]["name"], work.why_steps if i == first else "a step before it runs")
        for i in range(first, len(steps))
    )
    ray, stops = work.wanted.ray or "", bool(work.wanted.ray) and work.works
    return NodeProposal(
        work.node.name, work.node.type, work.node.kind.value, _action(work, mounts, running, stops=stops), mounts, running,
        len(steps), ray, interrupts_jobs=stops, digest=digest([[m["digest"] for m in work.wanted.mounts], steps[first:], ray]),
    )  # fmt: skip


def _action(work: Work, mounts: tuple[str, ...], steps: tuple[StepProposal, ...], *, stops: bool) -> Action:
    if not work.needed:
        return Action.LIVE
    if work.busy:
        return Action.FOLLOW
    found = (
        (stops, Action.RESTART),
        (bool(steps), Action.RERUN),
        (bool(work.wanted.ray), Action.START),
        (bool(mounts), Action.SYNC),
        (work.wanted.watch, Action.WATCH),
    )
    return next((action for applies, action in found if applies), Action.FOLLOW)


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


def _steps(count: int) -> str:
    return f"{count} set-up step{'s' if count > 1 else ''}"
