# SPDX-License-Identifier: Apache-2.0
"""A town in which somebody looks on: what must never happen to machines is noted at the moment at which it does."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rayctl.errors import ProviderError
from rayctl.providers.base import DEADLINE_S, Kind, LaunchRequest, LaunchResult
from rayctl.providers.simulated import Physics
from rayctl.reconcile import journal as journals
from rayctl.reconcile.journal import Journal
from tests.unit.scaler.town import Town

QUIET_S = 120.0


class WatchedTown(Town):
    """`wrongs` are the things that must not be, in words. `launched` counts machines by type, `ended` are their ids."""

    def __init__(self, folder: Path, physics: Physics | None = None, *, text: str = "", seed: int = 0) -> None:
        super().__init__(folder, physics, text=text, seed=seed)
        self.wrongs: list[str] = []
        self.launched: Counter[str] = Counter()
        self.ended: set[str] = set()
        self.anew_at = -QUIET_S  # when Ray's head began anew
        self._launch, self._terminate = self.provider.launch, self.provider.terminate
        self.provider.launch = self._watched_launch  # type: ignore[method-assign]
        self.provider.terminate = self._watched_terminate  # type: ignore[method-assign]

    def restart_head(self, *, keeps_state: bool) -> None:
        super().restart_head(keeps_state=keeps_state)
        if not keeps_state:
            self.anew_at = self.now

    def idle_machines(self) -> list[str]:
        """The workers on which nothing runs."""
        busy = {name for name, member in self.workload.members.items() if member.busy}
        return [machine.name for machine in self.alive() if machine.id not in busy]

    def written(self) -> Journal:
        """What a scaler that begins now would read."""
        return journals.load(self.path) or Journal()

    def _watched_launch(self, request: LaunchRequest, *, deadline_s: float = DEADLINE_S) -> LaunchResult:
        known = {slot for asked in self.written().asked.values() for slot in asked.request.slots}
        if not known.issuperset(request.slots):
            self._wrong(f"{[slot.name for slot in request.slots]} were asked for, and nothing was written down of that")
        before = {machine.id for machine in self.alive()}
        try:
            return self._launch(request, deadline_s=deadline_s)
        finally:
            if new := {machine.id for machine in self.alive()} - before:
                self.launched[request.type] += len(new)
                self._check_limits(request.type)
            if request.kind is Kind.HEAD:
                self._wrong("a head was launched")

    def _check_limits(self, node_type: str) -> None:
        there = Counter(machine.type for machine in self.alive())
        self.most = max(self.most, there.total())
        config = self.config()
        if there.total() > config.max_workers:
            self._wrong(f"{there.total()} workers, there may be {config.max_workers}")
        most = config.max_workers_of(node_type) if node_type in config.available_node_types else 0
        if there[node_type] > most:
            self._wrong(f"{there[node_type]} workers of type {node_type}, there may be {most}")

    def _watched_terminate(
        self, ids: Sequence[str], *, deadline_s: float = DEADLINE_S
    ) -> Mapping[str, ProviderError | None]:  # fmt: skip
        alive = {machine.id for machine in self.alive()}
        if unknown := set(ids) - self.written().ending.keys():
            self._wrong(f"{unknown} were ended, and nothing was written down of that")
        for id in ids:
            self._check_end(id, anew=id in alive and id not in self.ended)
        self.ended |= set(ids)
        return self._terminate(ids, deadline_s=deadline_s)

    def _check_end(self, id: str, *, anew: bool) -> None:
        machine, member = self.world.machines.get(id), self.workload.members.get(id)
        if machine is None or machine.kind is Kind.HEAD:
            self._wrong(f"{id} is no worker and was ended")
        elif member is not None and member.busy:
            self._wrong(f"{machine.name} was ended with work on it")
        elif anew and self.ray_is_silent:
            self._wrong(f"{machine.name} was ended while Ray is silent")
        elif anew and self.now - self.anew_at < QUIET_S:
            self._wrong(f"{machine.name} was ended {self.now - self.anew_at:g} s after Ray began anew")

    def _wrong(self, text: str) -> None:
        self.wrongs.append(f"at {self.now - 1.8e9:.1f} s: {text}")


def settled(town: Town) -> bool:
    """Whether all work has its place and every machine that there is has joined."""
    return not town.workload.waiting and {machine.id for machine in town.workers()} == set(town.joined())


def told(town: Town, last: int = 30) -> Any:
    """The last that people were told."""
    return "\n".join(f"{kind} {node} {data.get('text', '')}" for kind, node, data in town.told[-last:])
