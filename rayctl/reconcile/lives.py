# SPDX-License-Identifier: Apache-2.0
"""At which stage of its life each machine is, from what its provider, Ray and the journal say (pure).

    booting > waiting > setting up > joining > up > draining > ending
                 ^           lost < ----------+
                 +-- restarting

A listing may lag, lie or lack a part: a machine that it lacks is believed gone only when it has been missing for some time,
longer where Ray still knows it alive. What we ended ourselves is gone at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from enum import StrEnum

from rayctl.gcs.view import ClusterView, RayNode, RayState
from rayctl.providers.base import Kind, NodeState
from rayctl.providers.base import Node as Machine
from rayctl.reconcile.journal import Journal
from rayctl.reconcile.requests import STATUS_TAG, UP_TO_DATE
from rayctl.reconcile.seam import Listing

GONE = (NodeState.TERMINATED, NodeState.STOPPED)
GONE_S = 10.0  # beyond the listing's lag: a machine that neither the listing nor Ray knows
MISSED_S = 120.0  # the same for one that Ray still knows alive, and for many at once


class Stage(StrEnum):
    """What a machine is at, as people are told."""

    BOOTING = "booting"
    WAITING = "waiting"
    SETTING_UP = "setting up"
    JOINING = "joining"
    UP = "up"
    LOST = "lost"
    RESTARTING = "restarting"
    DRAINING = "draining"
    ENDING = "ending"

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; what is on its way in or out is healthy."""
        return self not in (Stage.LOST, Stage.RESTARTING)


@dataclass(frozen=True, slots=True)
class Life:
    """One machine: at `stage` since `since`. `ray` is its node in Ray while that is alive.

    `joined_at` is when Ray was first seen to know it, `ready_at` when its set-up was done, None before; `missing_since` is
    since when listings lack it.
    """

    machine: Machine
    stage: Stage
    since: float
    ray: RayNode | None = None
    joined_at: float | None = None
    ready_at: float | None = None
    missing_since: float | None = None

    @property
    def worker(self) -> bool:
        """Whether it is a machine that the scaler may end."""
        return self.machine.kind is Kind.WORKER

    def missed(self, listing: Listing) -> bool:
        """Whether it is missing from listings for longer than by their lag."""
        return self.missing_since is not None and listing.at - self.missing_since > listing.lag_s

    @property
    def known(self) -> bool:
        """Whether it is there. What was asked for, and nobody knows what came of it, has its token for an id."""
        return self.machine.id != self.machine.launch_token


Lives = Mapping[str, Life]
"""All machines by their id; those that are asked for and not known yet, by their launch token."""


@dataclass(frozen=True)
class Moment:
    """What is known now. `playing` are the names of nodes in playbook runs, `ready` those whose run has just ended well.

    `many_missing`: whether so many are missing that the listing is doubted; `anew`: whether Ray's head is another one now.
    """

    now: float
    listing: Listing
    view: ClusterView
    journal: Journal
    playing: Set[str] = frozenset()
    ready: Set[str] = frozenset()
    many_missing: bool = False
    anew: bool = False


def advance(before: Lives, moment: Moment) -> dict[str, Life]:
    """All lives as of now."""
    known = _known_to_ray(moment.view)
    found: dict[str, Life] = {}
    gone: set[str] = set()
    for machine in moment.listing.machines:
        if machine.state in GONE:
            gone.add(machine.id)
        else:
            found[machine.id] = _lived(before.get(machine.id), machine, _ray_of(machine, known), moment)
    for id, life in before.items():
        if id not in found and id not in gone and (kept := _missing(life, known, moment)) is not None:
            found[id] = kept
    tokens = {life.machine.launch_token for life in found.values()}
    for machine in _expected(moment.journal):
        if machine.launch_token not in tokens and machine.id not in found and machine.id not in gone:
            found[machine.id] = _lived(before.get(machine.id), machine, _ray_of(machine, known), moment)
    return found


def _known_to_ray(view: ClusterView) -> dict[str, RayNode]:
    """Ray's living nodes by instance id, and by address where Ray keeps no ids (2.5 and before)."""
    return {node.instance_id or f"address {node.address}": node for node in view.nodes if node.state.alive}


def _ray_of(machine: Machine, known: Mapping[str, RayNode]) -> RayNode | None:
    address = f"address {machine.addresses.internal}" if machine.addresses else ""
    return known.get(machine.id) or known.get(address)


def _lived(before: Life | None, machine: Machine, ray: RayNode | None, moment: Moment) -> Life:
    if before is None:  # one that Ray knows already joined before we looked
        before = Life(machine, Stage.BOOTING, moment.now, joined_at=0.0 if ray else None)
    ready_at = None if machine.name in moment.playing or moment.anew else before.ready_at
    ready_at = moment.now if machine.name in moment.ready else ready_at
    joined_at = before.joined_at if before.joined_at is not None or ray is None else moment.now
    stage = _stage(replace(before, ready_at=ready_at), machine, ray, moment)
    since = before.since if stage is before.stage else moment.now
    return Life(machine, stage, since, ray, joined_at, ready_at)


def _stage(before: Life, machine: Machine, ray: RayNode | None, moment: Moment) -> Stage:
    journal = moment.journal
    if machine.id in journal.ending or not machine.state.alive:
        return Stage.ENDING
    if machine.id in journal.draining or (ray is not None and ray.state is RayState.DRAINING):
        return Stage.DRAINING
    return _without_ray(before, machine, moment) if ray is None else Stage.UP


def _without_ray(before: Life, machine: Machine, moment: Moment) -> Stage:
    """The stage of a machine that Ray does not know: on its way in, or it fell out."""
    was_up = before.joined_at is not None or machine.tags.get(STATUS_TAG) == UP_TO_DATE
    if machine.name in moment.playing:
        return Stage.RESTARTING if was_up else Stage.SETTING_UP
    if machine.state is NodeState.PENDING:
        return Stage.BOOTING
    if before.ready_at is not None and before.stage in (Stage.SETTING_UP, Stage.RESTARTING, Stage.JOINING):
        return Stage.JOINING
    return Stage.LOST if was_up else Stage.WAITING


def _missing(life: Life, known: Mapping[str, RayNode], moment: Moment) -> Life | None:
    """A machine that the listing lacks; None when it is gone."""
    if not life.known or life.machine.id in moment.journal.ending:
        return None  # of what is asked for the journal tells
    since = moment.listing.at if life.missing_since is None else life.missing_since
    ray = _ray_of(life.machine, known)
    patience = MISSED_S if ray is not None or moment.many_missing else GONE_S
    if moment.listing.at - since > moment.listing.lag_s + patience:
        return None
    kept = _lived(life, life.machine, ray, moment)
    return replace(kept, missing_since=since)


def _expected(journal: Journal) -> Iterable[Machine]:
    """The machines that are asked for, as far as they are known; also while they are ended before they were ever listed."""
    for asked in journal.asked.values():
        request = asked.request
        for slot in request.slots:
            yield Machine(
                id=asked.ids.get(slot.token, slot.token), name=slot.name, kind=request.kind, type=request.type,
                state=NodeState.PENDING, launch_token=slot.token, resources=request.resources, labels=request.labels,
                tags=request.tags, launch_digest=request.launch_digest, launched_at=asked.at,
            )  # fmt: skip


def earlier(lives: Lives, seconds: float) -> Lives:
    """The same, with all their times earlier."""

    def moved(time: float | None) -> float | None:
        return time - seconds if time else time

    return {
        id: replace(
            life, since=life.since - seconds, joined_at=moved(life.joined_at), ready_at=moved(life.ready_at),
            missing_since=moved(life.missing_since),
        )
        for id, life in lives.items()
    }  # fmt: skip


def strangers(lives: Lives, view: ClusterView) -> list[RayNode]:
    """Ray's living nodes that are none of these machines."""
    ours = {life.ray.node_id for life in lives.values() if life.ray is not None}
    return [node for node in view.nodes if node.state.alive and node.node_id not in ours]
