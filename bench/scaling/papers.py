# SPDX-License-Identifier: Apache-2.0
"""The scaler's outside, made of files that another process wrote: what it asks is read, what it does is written down.

Ray's head is the real client with files in the place of a connection, so that every message is made and read as always.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rayctl.config.load import load
from rayctl.config.model import ClusterConfig
from rayctl.gcs.autoscaler import AutoscalerClient, DrainReason, NodeGroup, Report
from rayctl.gcs.messages import MESSAGES
from rayctl.gcs.view import Demand, RayNode
from rayctl.providers.base import Addresses, Kind, LaunchRequest, Node, NodeState
from rayctl.providers.registry import provider_for
from rayctl.reconcile import journal as journals
from rayctl.reconcile import told
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.seam import Listing, Played, Reply, Sight
from rayctl.reconcile.told import ScalerStatus


class PaperHead(AutoscalerClient):
    """A head that tells what lies in a file, and agrees to everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__("nowhere:1")
        self._folder = folder

    def _call(self, method: str, request: bytes = b"", *, timeout_s: float | None = None) -> Any:
        del request, timeout_s
        name = method.rpartition("/")[2]
        reply = (self._folder / "state.bin").read_bytes() if name == "GetClusterResourceState" else b""
        if name == "DrainNode":
            reply = MESSAGES["DrainNodeReply"](is_accepted=True).SerializeToString()
        return MESSAGES[f"{name}Reply"].FromString(reply)


class Papers:
    """See `rayctl.reconcile.seam.Outside`. `done` counts what the scaler wanted done, by kind."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._head = PaperHead(folder)
        self._config = load(folder / "cluster.yaml").config
        self._provider = provider_for(self._config, folder)
        self._log = (folder / "log.jsonl").open("w")
        self.done: Counter[str] = Counter()

    def now(self) -> float:
        return time.time()

    def config(self) -> ClusterConfig:
        return self._config

    def hold(self) -> bool:
        return True

    def release(self) -> None:
        pass

    # ---- the provider
    def machines(self) -> Listing:
        with (self._folder / "listing.jsonl").open() as pages:
            return Listing(time.time(), tuple(_machine(row) for page in pages for row in json.loads(page)))

    def prices(self) -> Mapping[str, float]:
        return dict(self._provider.settings["prices"])

    def expect(self) -> None:
        pass

    def launch(self, request: LaunchRequest) -> None:
        self.done["launched"] += len(request.slots)

    def replies(self) -> Sequence[Reply]:
        return ()

    def terminate(self, machines: Sequence[Node]) -> None:
        self.done["ended"] += len(machines)

    def set_tags(self, ids: Sequence[str], tags: Mapping[str, str]) -> None:
        del tags
        self.done["tagged"] += len(ids)

    # ---- Ray
    def ray(self) -> Sight:
        view = self._head.cluster()
        return Sight(view.session_name, view)

    def drain(self, node: RayNode, reason: DrainReason, message: str) -> str:
        self.done["drained"] += 1
        return self._head.drain(node, reason, message)

    def report(self, report: Report) -> None:
        self._head.report(report)

    def describe(self, groups: Iterable[NodeGroup]) -> None:
        self._head.describe(groups)

    def request(self, bundles: Sequence[Demand]) -> None:
        self._head.request(bundles)

    def tell_drivers(self, lines: Sequence[str]) -> None:
        self._log.writelines(f"{line}\n" for line in lines)

    # ---- nodes
    def play(self, names: Sequence[str], restart: str) -> None:
        del restart
        self.done["set up"] += len(names)

    def played(self) -> Sequence[Played]:
        return ()

    # ---- its own
    def recall(self) -> Journal | None:
        return journals.load(self._folder / "journal.json")

    def remember(self, journal: Journal) -> None:
        journals.store(self._folder / "journal.json", journal)

    def tell(self, kind: str, node: str = "", **data: Any) -> None:
        self._log.write(json.dumps({"kind": kind, "node": node, "data": data}) + "\n")

    def publish(self, status: ScalerStatus) -> None:
        told.write(self._folder / "status.json", status)


def _machine(row: Mapping[str, Any]) -> Node:
    return Node(
        id=row["id"], name=row["name"], kind=Kind(row["kind"]), type=row["type"], state=NodeState(row["state"]),
        launch_token=row["launch_token"], addresses=Addresses(row["address"]), resources=row.get("resources", {}),
        tags=row.get("tags", {}), zone=row.get("zone", ""), launch_digest=row.get("launch_digest", ""),
        launched_at=row["launched_at"],
    )  # fmt: skip
