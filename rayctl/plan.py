# SPDX-License-Identifier: Apache-2.0
"""What `up` and `down` would do about machines, decided purely: wanted (the cluster file) against listed (the provider).

`up` brings the head and each type's minimum, and takes away only what is above a maximum. What it would do *on* a node is
decided by the rules in `node/look.py`, which the node itself follows too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rayctl.config.model import ClusterConfig
from rayctl.providers.base import Kind, Node

Rank = Callable[[Node], tuple[float, ...]]
"""What is lower stays when not all can."""


@dataclass(frozen=True)
class Launch:
    """So many machines of one type are missing."""

    kind: Kind
    type: str
    count: int


@dataclass(frozen=True)
class Ending:
    """One machine is too many, and why. `becomes` is the type as which it comes back, where it does."""

    node: Node
    reason: str
    becomes: str = ""


@dataclass(frozen=True)
class Machines:
    """What must be launched and ended for the wanted number of machines; the head comes first."""

    launches: tuple[Launch, ...] = ()
    endings: tuple[Ending, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.launches or self.endings)


def machines(config: ClusterConfig, nodes: Iterable[Node], declared: Sequence[Node] = ()) -> Machines:
    """What `up` launches and ends. Nodes on their way out count as gone.

    `declared` are the hosts that the file names, in its order and as it wants them: one that was made for another type is
    made anew, and of too many the last ones go.
    """
    alive = [node for node in nodes if node.state.alive]
    head = [node for node in alive if node.kind is Kind.HEAD]
    workers = [node for node in alive if node.kind is Kind.WORKER]
    endings = _changed(workers, declared)
    changed = {ending.node.id for ending in endings}
    endings += _surplus(config, [node for node in workers if node.id not in changed], _rank(declared))
    gone = {ending.node.id for ending in endings}
    counts = dict.fromkeys(config.worker_types, 0)
    for node in workers:
        if node.id not in gone:
            counts[node.type] += 1
    wanted = _wanted(config, counts, first_time=not alive)
    launches = [] if head else [Launch(Kind.HEAD, config.head_type, 1)]
    launches += [Launch(Kind.WORKER, name, wanted[name] - counts[name]) for name in counts if wanted[name] > counts[name]]
    return Machines(tuple(launches), tuple(endings))


def _wanted(config: ClusterConfig, counts: Mapping[str, int], *, first_time: bool) -> dict[str, int]:
    """How many workers of each type there should be; `initial_workers` counts only when the cluster is first brought up."""
    wanted = {name: max(count, config.min_workers_of(name)) for name, count in counts.items()}
    missing = (config.scaler.initial_workers if first_time else 0) - sum(wanted.values())
    for name, count in wanted.items():
        extra = max(0, min(missing, config.max_workers_of(name) - count))
        wanted[name] = count + extra
        missing -= extra
    # minimums fit under the cluster's maximum by the file's rules; machines that are there already may leave less room
    room = config.max_workers - sum(counts.values())
    for name, count in wanted.items():
        granted = min(count - counts[name], max(0, room))
        wanted[name] = counts[name] + granted
        room -= granted
    return wanted


def _changed(workers: Sequence[Node], declared: Sequence[Node]) -> list[Ending]:
    types = {host.name: host.type for host in declared}
    changed = ((node, types.get(node.name, node.type)) for node in workers)
    return [Ending(node, f"it is of the type {now} now", now) for node, now in changed if now != node.type]


def _surplus(config: ClusterConfig, workers: Sequence[Node], rank: Rank) -> list[Ending]:
    """Workers above a maximum: those of removed types, then the last of each type, then the last of all."""
    endings, kept = [], []
    for name in dict.fromkeys(node.type for node in workers):
        ours = sorted((node for node in workers if node.type == name), key=rank)
        limit = config.max_workers_of(name) if name in config.worker_types else 0
        kept += ours[:limit]
        why = f"{name} has at most {limit}" if name in config.worker_types else f"the type {name} is no longer in the file"
        endings += [Ending(node, why) for node in ours[limit:]]
    kept.sort(key=lambda node: (not _needed(config, kept, node, rank), rank(node)))
    endings += [Ending(node, f"max_workers is {config.max_workers}") for node in kept[config.max_workers :]]
    return endings


def _needed(config: ClusterConfig, workers: Sequence[Node], node: Node, rank: Rank) -> bool:
    before = sum(other.type == node.type and rank(other) < rank(node) for other in workers)
    return before < config.min_workers_of(node.type)


def _rank(declared: Sequence[Node]) -> Rank:
    """Declared hosts as in the file, then the oldest; names are numbered, and of one launch the lower number is the older."""
    places = {host.name: place for place, host in enumerate(declared)}
    return lambda node: (places.get(node.name, len(places)), node.launched_at, len(node.name), *map(ord, node.name))


def teardown(
    config: ClusterConfig, nodes: Iterable[Node], declared: Sequence[Node] = (), *, workers_only: bool, keep_min_workers: bool
) -> list[Node]:
    """What `down` ends, workers first. `keep_min_workers` keeps the head and the first workers of each type's minimum.

    `declared`: as for `machines`.
    """
    alive, rank = [node for node in nodes if node.state.alive], _rank(declared)
    workers = sorted((node for node in alive if node.kind is Kind.WORKER), key=rank)
    if keep_min_workers:
        return [node for node in workers if node.type not in config.worker_types or not _needed(config, workers, node, rank)]
    return workers if workers_only else workers + [node for node in alive if node.kind is Kind.HEAD]
