# SPDX-License-Identifier: Apache-2.0
"""What a controller remembers of a cluster. A cache: the provider's records are the truth, and decide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from rayctl.errors import Refused
from rayctl.state import files

KIND, VERSION = "cluster", 1


@dataclass(frozen=True)
class ClusterRecord:
    """One cluster as this controller knows it.

    `sequences` holds per node type the highest number ever given to a node; a number is never given twice, so a name
    means one node for life. `created` is when this controller first met the cluster, in seconds since the epoch.
    """

    name: str
    cluster_id: str
    config_path: str
    created: float
    sequences: Mapping[str, int] = field(default_factory=dict)

    def next_sequence(self, node_type: str, seen: Iterable[int]) -> tuple[int, ClusterRecord]:
        """The number of the next node of a type, and the record that remembers it.

        `seen` are the numbers that the provider's nodes bear: a record that was lost or is old does not repeat them.
        """
        number = max(self.sequences.get(node_type, 0), *seen, 0) + 1
        return number, replace(self, sequences={**self.sequences, node_type: number})


def load(path: Path) -> ClusterRecord | None:
    """The record at `paths.record_file`; None when this controller never met the cluster. Raises `StateRefused`."""
    data = files.read(path, KIND, VERSION)
    return None if data is None else files.parse(path, ClusterRecord, data)


def save(path: Path, record: ClusterRecord) -> None:
    """Store the record; the caller holds the cluster's lock."""
    files.write(path, KIND, VERSION, asdict(record))


def recognise(cached: ClusterRecord | None, provider_says: ClusterRecord, *, accept_other: bool = False) -> ClusterRecord:
    """The record to go on with, after the provider told the cluster's identity.

    Raises `Refused` when it is another cluster than the one remembered, unless `accept_other`: then the old one is forgotten.
    """
    if cached is None:
        return provider_says
    if cached.cluster_id == provider_says.cluster_id:
        return replace(cached, config_path=provider_says.config_path)
    if accept_other:
        return provider_says
    raise Refused(
        f"this is another cluster of the same name: the provider's {cached.name!r} has the identity "
        f"{provider_says.cluster_id}, the one known here has {cached.cluster_id} (from {cached.config_path})",
        hint="Give one of them another cluster_name. If the old one is gone for good, say --accept-other-cluster.",
    )
