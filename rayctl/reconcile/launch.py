# SPDX-License-Identifier: Apache-2.0
"""Launching machines so that a kill at any moment neither doubles nor loses one.

A launch is written to the journal with its tokens, then asked for. Until the provider lists what came of it, the journal
stands for it. Where nobody knows what came of it, because the scaler was killed or the reply was lost, it is asked for again
with the same tokens: the provider gives the same machines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from rayctl.config.model import ClusterConfig
from rayctl.errors import Category, ProviderError
from rayctl.events import EventKind
from rayctl.planner.model import Launch
from rayctl.providers.base import Kind, LaunchRequest, LaunchResult, Slot
from rayctl.providers.base import Node as Machine
from rayctl.reconcile import backoff
from rayctl.reconcile.books import Books
from rayctl.reconcile.journal import Asked, Failure
from rayctl.reconcile.lives import GONE, Lives
from rayctl.reconcile.requests import host_slots, numbers, request_for, slot_of
from rayctl.reconcile.seam import Listing, Outside, Reply

UNKNOWN_FATE = (Category.TRANSIENT, Category.THROTTLED)
LISTED_S = 120.0  # beyond the listing's lag: a machine that was given and never listed is gone
RETRY_S, LONGEST_RETRY_S = 2.0, 30.0
PATIENCE_S = 600.0  # for a provider that never says what came of a launch


class Launcher:
    """Asks for machines. `cluster_id` is the cluster's identity, of which tokens are derived."""

    def __init__(self, world: Outside, books: Books, cluster_id: str) -> None:
        self._world, self._books, self._cluster_id = world, books, cluster_id
        self._under_way: set[str] = set()

    # ---- what came of it
    def collect(self, listing: Listing, now: float) -> None:
        """Take note of replies."""
        for reply in self._world.replies():
            key = reply.request.slots[0].token
            self._under_way.discard(key)
            if (asked := self._books.journal.asked.get(key)) is not None:
                self._take(asked, reply, listing, now)

    def _take(self, asked: Asked, reply: Reply, listing: Listing, now: float) -> None:
        if reply.result is not None:
            self._given(asked, reply.result, now)
        elif reply.error is not None and reply.error.category in UNKNOWN_FATE and now - asked.at < PATIENCE_S:
            wait = min(LONGEST_RETRY_S, RETRY_S * 2 ** (asked.tries - 1))
            self._books.keep(asked.key, replace(asked, retry_at=now + wait))
            self._world.tell(EventKind.WARNING, text=f"launching {_count(asked.request)}: {reply.error.message}; asked again")
        elif reply.error is not None:
            if asked.tries > 1:  # an earlier try may have been heard
                self._withdraw(asked, [slot.token for slot in asked.request.slots], listing, now)
            else:
                self._books.keep(asked.key, None)
            self._refused(asked, len(asked.request.slots), reply.error, now)

    def _given(self, asked: Asked, result: LaunchResult, now: float) -> None:
        alive = {node.launch_token: node for node in result.nodes if node.state.alive}
        rest = asked.without(slot.token for slot in asked.request.slots if slot.token not in alive)
        ids = {token: node.id for token, node in alive.items()}
        self._books.keep(asked.key, rest and replace(rest, ids=ids, at=now))
        for node in alive.values():
            self._world.tell(EventKind.NODE_LAUNCHED, node.name, type=node.type, id=node.id)
        for host, error in result.errors.items():
            self._books.quarantine(host, error.message, now)
        if result.shortfall and not result.errors:
            self._refused(asked, result.shortfall, result.error or _unexplained(), now)

    def _refused(self, asked: Asked, count: int, error: ProviderError, now: float) -> None:
        node_type = asked.request.type
        self._books.setback(node_type, f"{error.message} ({error.category})", now, backoff.FIRST_S[error.category])
        self._books.failed(Failure(node_type, error.message, asked.at, now, count=count))
        why = f"Failed to launch {count} node(s) of type {node_type}. ({error.category.upper()}): {error.message}"
        self._world.tell(EventKind.ERROR, text=why)
        self._world.tell_drivers([why])

    # ---- what is listed by now
    def settle(self, listing: Listing) -> None:
        """Forget what every listing tells from now on, or would tell if it were there."""
        listed = {machine.launch_token: machine for machine in listing.machines}
        for key, asked in self._books.journal.asked.items():
            if key not in self._under_way:
                self._settle(asked, listed, listing)

    def _settle(self, asked: Asked, listed: Mapping[str, Machine], listing: Listing) -> None:
        found = {slot.token: listed[slot.token] for slot in asked.request.slots if slot.token in listed}
        if new := {token: machine.id for token, machine in found.items() if token not in asked.ids}:
            asked = replace(asked, ids={**asked.ids, **new}, at=listing.at)
        age = listing.at - asked.at - listing.lag_s
        if asked.answered and age > LISTED_S:
            left = None
        else:
            left = asked.without(token for token, machine in found.items() if age > 0 or machine.state in GONE)
        if left != self._books.journal.asked[asked.key]:
            self._books.keep(asked.key, left)

    def withdraw(self, tokens: Collection[str], listing: Listing, now: float) -> None:
        """Ask no more for machines of which nobody knows whether they are there; if they are, a listing will tell."""
        for key, asked in self._books.journal.asked.items():
            if key not in self._under_way:
                self._withdraw(asked, [slot.token for slot in asked.request.slots if slot.token in tokens], listing, now)

    def _withdraw(self, asked: Asked, tokens: Iterable[str], listing: Listing, now: float) -> None:
        if unknown := [token for token in tokens if token not in asked.ids]:
            self._books.keep(asked.key, asked.without(unknown))
            self._books.doubt(now + listing.lag_s)

    # ---- asking
    def replay(self, now: float) -> bool:
        """Ask again where nobody knows what came of it; whether anything was asked."""
        due = [
            (key, asked) for key, asked in self._books.journal.asked.items()
            if not asked.answered and key not in self._under_way and asked.retry_at <= now
        ]  # fmt: skip
        for key, asked in due:
            self._books.keep(key, replace(asked, tries=asked.tries + 1))
            self._ask(key, asked)
        return bool(due)

    def launch(self, config: ClusterConfig, launches: Iterable[Launch], lives: Lives, listing: Listing, now: float) -> None:
        """Begin to launch what the planner wants."""
        new: dict[str, Asked] = {}
        said: list[str] = []
        with self._books.promised():
            for wanted in launches:
                slots = self._slots(config, wanted, lives, listing, now)
                if slots:
                    request = request_for(config, wanted.type, Kind.WORKER, slots)
                    new[slots[0].token] = Asked(request, now)
                    said.append(f"launching {_count(request)}: {wanted.reason}")
            self._books.write(asked={**self._books.journal.asked, **new})
        for text in said:
            self._world.tell(EventKind.NOTICE, text=text)
        for key, asked in new.items():
            self._ask(key, asked)
        if new:
            adding = [f"Adding {len(a.request.slots)} node(s) of type {a.request.type}." for a in new.values()]
            self._world.tell_drivers(adding)

    def _ask(self, key: str, asked: Asked) -> None:
        self._world.launch(asked.request)
        self._under_way.add(key)  # where that could not be begun, it is asked for again

    def _slots(self, config: ClusterConfig, wanted: Launch, lives: Lives, listing: Listing, now: float) -> tuple[Slot, ...]:
        if listing.hosts is not None:
            free = free_hosts(listing, lives, self._books.barred(now))
            names = [host.name for host in free if host.type == wanted.type][: wanted.count]
            return host_slots(names, self._cluster_id)
        seen = numbers((life.machine for life in lives.values()), wanted.type)
        last = max(self._books.journal.sequences.get(wanted.type, 0), *seen, 0)
        self._books.put("sequences", wanted.type, last + wanted.count)
        new = range(last + 1, last + wanted.count + 1)
        return tuple(slot_of(config.cluster_name, self._cluster_id, wanted.type, number) for number in new)


def free_hosts(listing: Listing, lives: Lives, barred: Collection[str]) -> list[Machine]:
    """The declared workers that answer, are not ours, and are not `barred`."""
    ours = {life.machine.name for life in lives.values()}
    taken = ours | set(listing.silent) | set(barred)
    return [host for host in listing.hosts or () if host.kind is Kind.WORKER and host.name not in taken]


def room(listing: Listing, lives: Lives, barred: Collection[str]) -> Mapping[str, int]:
    """How many more machines of a type there can be, for types of declared hosts."""
    if listing.hosts is None:
        return {}
    free = Counter(host.type for host in free_hosts(listing, lives, barred))
    return {host.type: free[host.type] for host in listing.hosts if host.kind is Kind.WORKER}


def _count(request: LaunchRequest) -> str:
    count = len(request.slots)
    return f"{count} {'machine' if count == 1 else 'machines'} of type {request.type}"


def _unexplained() -> ProviderError:
    return ProviderError(Category.CAPACITY, "fewer came than were asked for")
