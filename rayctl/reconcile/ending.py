# SPDX-License-Identifier: Apache-2.0
"""Ending machines: Ray is asked first, and a refusal is respected; what never joined is ended at once.

That a machine is being drained or ended is written down before; so a scaler that was killed in between goes on with it, and
does not mistake a Ray that it ended itself for one that died.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from rayctl.events import EventKind
from rayctl.gcs.autoscaler import DrainReason
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import RayNode, RayState
from rayctl.planner.model import How, Removal, Why
from rayctl.reconcile.books import Books
from rayctl.reconcile.journal import Drain, Ending
from rayctl.reconcile.lives import GONE, Life, Lives, Stage
from rayctl.reconcile.seam import Listing, Outside

AGAIN_S = 30.0  # beyond the listing's lag: a machine that is still there is ended again
HEEDED_S = 15.0  # so long after Ray agreed to a drain its head must tell of it
FORGET_S = 600.0
AT_ONCE = 100  # drains in a turn, each of which Ray takes some milliseconds for
DRAINED = "drained"  # why a node goes that somebody else has drained
# Ray's words, which its users' tools look for
WORDS = {
    Why.IDLE: "idle", Why.OUTDATED: "outdated", Why.MAXIMUM: "max number of worker nodes reached",
    Why.TYPE_MAXIMUM: "max number of worker nodes per type reached", Why.TYPE_REMOVED: "not in available_node_types",
}  # fmt: skip


class Ender:
    """Drains and ends machines."""

    def __init__(self, world: Outside, books: Books) -> None:
        self._world, self._books = world, books
        self._warned: set[str] = set()  # Ray's nodes without a machine that were drained

    # ---- what is known by now
    def settle(self, lives: Lives, listing: Listing, living: Iterable[RayNode], now: float) -> None:
        """Forget drains that came to nothing, and terminations that have happened."""
        self._settle_drains(lives, now)
        listed = {machine.id for machine in listing.machines if machine.state not in GONE}
        known = {node.instance_id for node in living}
        over = {
            id for id, ending in self._books.journal.ending.items()
            if listing.at > ending.at + listing.lag_s and id not in listed
            and (id not in known or now > ending.at + FORGET_S)
        }  # fmt: skip
        self._books.drop("ending", over)
        self._forget_asked(over)

    def _settle_drains(self, lives: Lives, now: float) -> None:
        draining = self._books.journal.draining
        nothing = [id for id, drain in draining.items() if id not in lives or self._came_to_nothing(drain, lives[id].ray, now)]
        self._books.drop("draining", nothing)
        others = [
            id for id, life in lives.items()
            if id not in draining and life.worker and life.stage is Stage.DRAINING
        ]  # fmt: skip
        self._books.put_all("draining", {id: Drain(now, DRAINED, "Ray drains it", accepted=True) for id in others})

    def _forget_asked(self, over: Collection[str]) -> None:
        for asked in self._books.journal.asked.values():
            if tokens := [token for token, id in asked.ids.items() if id in over]:
                self._books.keep(asked.key, asked.without(tokens))

    @staticmethod
    def _came_to_nothing(drain: Drain, ray: RayNode | None, now: float) -> bool:
        """Whether the node works on as if nobody had asked: it was not asked, or was started anew."""
        if ray is None or ray.state is RayState.DRAINING:
            return False
        return not drain.accepted or now > drain.at + HEEDED_S

    # ---- doing it
    def remove(self, removals: Sequence[Removal], lives: Lives, now: float) -> None:
        """Carry out what the planner wants gone."""
        known = [(removal, lives[removal.node]) for removal in removals if removal.node in lives and lives[removal.node].worker]
        self.end([(life, removal.why.value) for removal, life in known if removal.how is How.TERMINATE], now)
        drained = [(removal, life) for removal, life in known if removal.how is not How.TERMINATE and life.ray is not None]
        if drained:
            self._drain(drained[:AT_ONCE], now)

    def _drain(self, wanted: Sequence[tuple[Removal, Life]], now: float) -> None:
        drains = {life.machine.id: Drain(now, removal.why.value, removal.reason) for removal, life in wanted}
        with self._books.promised():
            self._books.put_all("draining", drains)
        refusals = {life.machine.id: self._refusal(removal, life) for removal, life in wanted}
        self._books.drop("draining", [id for id, refusal in refusals.items() if refusal])
        accepted = [(removal, life) for removal, life in wanted if refusals[life.machine.id] == ""]
        heard = [life.machine.id for _, life in accepted]
        self._books.put_all("draining", {id: replace(drains[id], accepted=True) for id in heard})
        gone = Counter((removal.type, WORDS[removal.why]) for removal, _ in accepted)
        if gone:
            lines = [f"Removing {n} nodes of type {node_type} ({why})." for (node_type, why), n in gone.items()]
            self._world.tell_drivers(lines)

    def _refusal(self, removal: Removal, life: Life) -> str | None:
        """Why Ray refuses to drain a node, "" where it accepts; None where what it tells next will show whether it heard."""
        assert life.ray is not None
        reason = DrainReason.IDLE if removal.how is How.DRAIN_IDLE else DrainReason.PREEMPTION
        try:
            refusal = self._world.drain(life.ray, reason, f"{removal.why.value}: {removal.reason}")
        except GcsError:
            return None
        words = f"stays, Ray refuses to drain it: {refusal}" if refusal else f"drained: {removal.reason}"
        self._world.tell(EventKind.NOTICE, life.machine.name, text=words)
        return refusal

    def finish(self, lives: Lives, now: float) -> None:
        """End the machines whose Ray is gone after it was drained."""
        draining = self._books.journal.draining
        left = [(lives[id], drain.why) for id, drain in draining.items() if id in lives and lives[id].ray is None]
        self.end(left, now)

    def end(self, machines: Sequence[tuple[Life, str]], now: float) -> None:
        """End machines without asking Ray, each for a reason; not those that are ended already, or not known yet."""
        ending = self._books.journal.ending
        fresh = [(life, why) for life, why in machines if life.worker and life.known and life.machine.id not in ending]
        if not fresh:
            return
        with self._books.promised():
            self._books.drop("draining", [life.machine.id for life, _ in fresh])
            self._books.drop("troubles", [life.machine.id for life, _ in fresh])
            self._books.put_all("ending", {life.machine.id: Ending(now, why, now) for life, why in fresh})
        self._world.terminate([life.machine for life, _ in fresh])
        for life, why in fresh:
            self._world.tell(EventKind.NODE_TERMINATED, life.machine.name, type=life.machine.type, id=life.machine.id, text=why)

    def insist(self, lives: Lives, listing: Listing, now: float) -> None:
        """End again what is still there long after it was ended; but what has joined meanwhile may have work and stays."""
        ending = self._books.journal.ending
        late = [id for id in ending if id in lives and now > ending[id].last + listing.lag_s + AGAIN_S]
        again = [id for id in late if lives[id].ray is None]
        with self._books.promised():
            self._books.drop("ending", set(late) - set(again))
            self._books.put_all("ending", {id: replace(ending[id], last=now) for id in again})
        if again:
            self._world.terminate([lives[id].machine for id in again])

    def drain_ghosts(self, ghosts: Iterable[RayNode]) -> None:
        """Let Ray give no more work to nodes of ours whose machine is gone."""
        for node in ghosts:
            if node.node_id not in self._warned and node.state is not RayState.DRAINING:
                try:
                    refusal = self._world.drain(node, DrainReason.PREEMPTION, "its machine is gone")
                except GcsError:
                    return  # it is asked again
                self._warned.add(node.node_id)
                text = f"Ray knows a node {node.instance_id} whose machine is gone; it is drained {refusal}".rstrip()
                self._world.tell(EventKind.WARNING, text=text)
