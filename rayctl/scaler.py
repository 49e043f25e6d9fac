# SPDX-License-Identifier: Apache-2.0
"""The scaler: a loop that observes, decides, acts and reports, and nothing else.

    observe    what the provider lists, what Ray's head tells, at which stage each machine is     lives.py
    decide     what the planner wants, and what is due to nodes that are not well                 planner, setup.py
    act        end and drain, launch, set up: each is written down before it is done              ending.py, launch.py, setup.py
    report     to Ray's head, to people                                                           telling.py, report.py

A turn begins from the provider, Ray and the journal; what is only in memory makes it better, not right. So the scaler may be
killed at any moment. Without a whole picture nothing is decided: no listing, no answer of the head, a picture without a
head, and machines stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rayctl.config.model import ClusterConfig
from rayctl.errors import ProviderError
from rayctl.events import EventKind
from rayctl.gcs.errors import GcsError
from rayctl.gcs.view import ClusterView, RayNode
from rayctl.planner import Plan, Snapshot, plan
from rayctl.planner.model import Setback
from rayctl.providers.base import Kind
from rayctl.reconcile import backoff, observe
from rayctl.reconcile.backoff import Backoff
from rayctl.reconcile.books import Books
from rayctl.reconcile.breaker import Breaker
from rayctl.reconcile.debounce import Debounce
from rayctl.reconcile.ending import Ender
from rayctl.reconcile.launch import Launcher, room
from rayctl.reconcile.lives import Lives, Moment, advance, earlier, strangers
from rayctl.reconcile.seam import Listing, Outside
from rayctl.reconcile.setup import LOST_S, Due, Installer
from rayctl.reconcile.telling import Teller

INTERVAL_S = 0.5
SHARE = 5  # seeing and deciding take at most this part of the time
LONGEST_WAIT_S = 15.0  # between questions to a head that does not answer
BACK_S = 30.0  # so long a node may take to find back to a head that was away
QUIET_S = 120.0  # after Ray began anew: workers come back, and none is ended
STALE_S = 60.0  # a listing that is older decides nothing
REVIVE_S = 30.0  # so long a head must be silent before its Ray is started anew where it is broken, and longer the next times
DOUBTED = 0.8  # of the workers there were: a first listing with fewer is not believed at once


@dataclass(frozen=True)
class Picture:
    """All that a turn sees."""

    now: float
    config: ClusterConfig
    listing: Listing
    view: ClusterView
    lives: Lives


@dataclass(frozen=True)
class Decision:
    """What a turn wants done. `ghosts` are nodes of Ray's whose machine is gone."""

    snapshot: Snapshot
    plan: Plan
    due: Due
    ghosts: tuple[RayNode, ...] = ()


class Blind(Exception):
    """Nothing can be decided, for this reason."""


class Headless(Blind):
    """Ray tells of no head."""


def _no_head(listing: Listing) -> str:
    """Why there is none."""
    silent = [host.name for host in listing.hosts or () if host.kind is Kind.HEAD and host.name in listing.silent]
    return f"the head {silent[0]} does not answer: {listing.silent[silent[0]]}" if silent else "the provider lists no head"


class Scaler:
    """One cluster's scaler. `process` is its pid and start time, for those who look at what it publishes."""

    def __init__(self, world: Outside, cluster_id: str, *, process: tuple[int, int] = (0, 0)) -> None:
        self.world = world
        self.books = Books(world, cluster_id)
        self.launcher = Launcher(world, self.books, cluster_id)
        self.ender = Ender(world, self.books)
        self.installer = Installer(world, self.books)
        self.teller = Teller(world, self.books, process)
        self.debounce = Debounce()
        self.breaker = Breaker()
        self.lives: Lives = {}
        self._config: ClusterConfig | None = None
        self._gone: set[str] = set()  # ids of machines that were here once
        self._saw_all = False  # since it was started
        self._others_hold = False  # the right to change the cluster
        self._silent_hosts: set[str] = set()
        self._head = ""  # its name
        self._silent_since: float | None = None  # the head
        self._revived: Backoff | None = None  # since it fell silent
        self._back_until = 0.0  # so long nodes may find back to a head that was away
        self._wait_s = INTERVAL_S
        self._began = 0.0  # of the last turn

    def turn(self) -> float:
        """Observe, decide, act, report. Returns the seconds until the next turn."""
        began = self.world.now()
        if began < self._began:
            self._set_back(self._began - began)
        self._began = began
        self.teller.turns += 1
        try:
            seen = self._observe(began)
            decided = self._decide(seen)
        except (Blind, ProviderError, GcsError) as problem:
            self._blind(problem, began)
            return self._pause(0.0)  # who has waited for an answer need not wait for that too
        if self.debounce.ripe_in(began) is not None:
            self.world.expect()
        thought_s = self.world.now() - began
        self._act(seen, decided)
        self.teller.report(seen.lives, decided.snapshot, decided.plan, self.breaker, now=began)
        self._wait_s = INTERVAL_S
        return self._pause(thought_s)

    def _set_back(self, seconds: float) -> None:
        """Somebody has set the clock back: what was to be waited for is not to be waited for so much longer."""
        self.books.set_back(seconds)
        self.lives = earlier(self.lives, seconds)
        self.installer.set_back(seconds)
        self.teller.forget()
        self._silent_since = self._revived = None
        self._back_until -= seconds

    def _pause(self, thought_s: float) -> float:
        """How long to wait. To act may take long, to reach a head over ssh for one; that is no reason to look later."""
        now = self.world.now()
        wait = max(self._wait_s, min(LONGEST_WAIT_S, SHARE * thought_s))  # the clock may have been set meanwhile
        ripe = self.debounce.ripe_in(now)
        return wait if ripe is None else min(wait, ripe + 0.01)

    # ---- observe
    def _observe(self, now: float) -> Picture:
        self.installer.collect(self.lives, now)
        config, listing = self._read_config(), self.world.machines()
        heads = [machine.name for machine in listing.machines if machine.kind is Kind.HEAD and machine.state.alive]
        if not heads:
            raise Blind(_no_head(listing))
        self._head = heads[0]
        if now - listing.at > STALE_S + listing.lag_s:
            raise Blind(f"the provider has not answered for {now - listing.at:.0f} s")
        self.launcher.collect(listing, now)
        self.launcher.settle(listing)
        known = self.books.journal.ray
        view = self._ask_ray(config, listing, now)
        before, self.lives = self.lives, self._advanced(listing, view, now, anew=self.books.journal.ray != known)
        self._gone = (self._gone | before.keys()) - self.lives.keys()
        self.ender.settle(self.lives, listing, (node for node in view.nodes if node.state.alive), now)
        self.installer.note_joined(before, self.lives, now)
        self._learn(config, view)
        self._release_hosts(listing, now)
        return Picture(now, config, listing, view, self.lives)

    def _read_config(self) -> ClusterConfig:
        config = self.world.config()
        if self._config is not None and config != self._config:
            self.world.tell(EventKind.NOTICE, text="the cluster file has changed")
            self.books.write(setbacks={})  # what was refused may be allowed now
            self.teller.forget()
        self._config = config
        return config

    def _ask_ray(self, config: ClusterConfig, listing: Listing, now: float) -> ClusterView:
        sight = self.world.ray()
        if not any(node.is_head and node.state.alive for node in sight.view.nodes):
            raise Headless("Ray's head tells of no head")
        journal, was_silent = self.books.journal, self._silent_since is not None
        self._silent_since = self._revived = None
        if sight.identity != journal.ray:
            # where nobody knows for how long Ray is this one, it may have begun just now
            quiet = now + QUIET_S if journal.ray or any(m.kind is Kind.WORKER for m in listing.machines) else 0.0
            self.books.write(ray=sight.identity, quiet_until=quiet, draining={}, troubles={}, requested=sight.view.requested)
            self.debounce.forget()
            self.teller.forget()
            if journal.ray:
                self.world.tell(EventKind.WARNING, text="Ray's head began anew: the workers are brought back to it")
        elif was_silent:
            self._back_until = now + QUIET_S
            self.books.write(quiet_until=now + QUIET_S)
            self.teller.forget()
            if journal.requested and not sight.view.requested:  # which a head forgets when it is restarted
                self.world.request(journal.requested)
                return replace(sight.view, requested=journal.requested)
        self.books.write(requested=sight.view.requested)
        self.teller.describe(config)
        return sight.view

    def _advanced(self, listing: Listing, view: ClusterView, now: float, *, anew: bool) -> Lives:
        listed = {machine.id for machine in listing.machines}
        there = [life for id, life in self.lives.items() if life.worker and id not in self.books.journal.ending]
        missing = sum(life.machine.id not in listed and life.known for life in there)
        many = Breaker().after(missing, len(there)).suspicious
        moment = Moment(
            now, listing, view, self.books.journal, frozenset(self.installer.playing), self.installer.take_ready(), many, anew
        )
        lives = advance(self.lives, moment)
        workers = [life for life in lives.values() if life.worker]
        ill = sum(not life.stage.healthy or life.missed(listing) for life in workers)
        self._break(self.breaker.after(ill, len(workers)), ill, len(workers))
        self._doubt(listing, len(workers), now)
        return lives

    def _break(self, breaker: Breaker, ill: int, workers: int) -> None:
        if breaker.open != self.breaker.open:
            opened = f"{ill} of {workers} workers are not well: none is ended for its health until they are fewer"
            text = opened if breaker.open else "most workers are well again"
            self.world.tell(EventKind.WARNING if breaker.open else EventKind.NOTICE, text=text)
        self.breaker = breaker

    def _doubt(self, listing: Listing, workers: int, now: float) -> None:
        """The first listing after a start may lack what there is; then nothing is launched until it must be true."""
        known = self.books.journal.workers
        if not self._saw_all and self.books.was_lost:
            self.books.doubt(now + listing.lag_s)
        elif not self._saw_all and workers < DOUBTED * known - 1:
            self.books.doubt(now + listing.lag_s + QUIET_S)
            self.world.tell(EventKind.WARNING, text=f"the provider lists {workers} workers, there were {known}")
        self._saw_all = True
        if listing.at >= self.books.journal.doubt_until:
            self.books.write(workers=workers)

    def _learn(self, config: ClusterConfig, view: ClusterView) -> None:
        """What nodes have of whose type the file says nothing, for when there is none of them."""
        for node in view.nodes:
            own = config.available_node_types.get(node.node_type)
            if (
                own
                and not own.resources
                and not node.is_head
                and node.total
                and node.node_type not in self.books.journal.learnt
            ):
                self.books.put("learnt", node.node_type, dict(node.total))

    def _release_hosts(self, listing: Listing, now: float) -> None:
        """Hosts that do not answer are left alone; when they answer again, so are those no more."""
        barred = self.books.barred(now)
        for host, why in listing.silent.items():
            if host not in self._silent_hosts:
                self.world.tell(EventKind.WARNING, host, text=f"does not answer: {why}")
            if host not in barred:
                self.books.quarantine(host, why, now)
        self.books.drop("quarantine", self._silent_hosts - listing.silent.keys())
        self._silent_hosts = set(listing.silent)
        held = self.books.journal.quarantine
        self.books.drop("quarantine", [host for host in held if now >= held[host].until + backoff.LONGEST_S])

    # ---- decide
    def _decide(self, seen: Picture) -> Decision:
        pending = self.debounce.steady(seen.view.pending, seen.now)
        journal = self.books.journal
        known = observe.Knowledge(
            prices=self.world.prices(),
            setbacks={name: Setback(held.reason, held.left(seen.now)) for name, held in journal.setbacks.items()},
            learnt=journal.learnt,
            room=room(seen.listing, seen.lives, self.books.barred(seen.now)),
            gone=frozenset(self._gone | journal.ending.keys()),
        )
        snapshot = observe.of_lives(seen.config, seen.lives, seen.view, known, pending=pending, now=seen.now)
        may_end = seen.now >= journal.quiet_until and not self.breaker.suspicious
        # nodes find back to a head that was only away by themselves, with their work; from one that began anew they do not
        lost_s = BACK_S if seen.now < self._back_until else LOST_S
        due = self.installer.due(seen.lives, seen.config.scaler, seen.now, may_end=may_end, lost_s=lost_s)
        ghosts = [node for node in strangers(seen.lives, seen.view) if node.instance_id in self._gone and not node.is_head]
        return Decision(snapshot, plan(snapshot), due, tuple(ghosts))

    # ---- act
    def _act(self, seen: Picture, decided: Decision) -> None:
        now, quiet = seen.now, seen.now < self.books.journal.quiet_until
        launches = decided.plan.launches if seen.listing.at >= self.books.journal.doubt_until else ()
        removals = () if quiet else decided.plan.removals
        due = decided.due if self.installer.may_begin(now) else Due(replace=decided.due.replace)
        if not (launches or removals or due or decided.ghosts or self._unfinished()):
            self._rest()
        elif self._hold(seen.listing):
            if not quiet:
                self.ender.finish(seen.lives, now)
            self.ender.insist(seen.lives, seen.listing, now)
            self.ender.drain_ghosts(decided.ghosts)
            with self.books.promised():
                self.installer.replaced(due, now, hosts=seen.listing.hosts is not None)
                self.ender.end(due.replace, now)
            self.ender.remove(removals, seen.lives, now)
            self.launcher.withdraw({removal.node for removal in decided.plan.removals}, seen.listing, now)
            self.launcher.replay(now)
            self.launcher.launch(seen.config, launches, seen.lives, seen.listing, now)
            self.installer.begin(due.without(self.books.journal.ending), now)
        self.books.commit()

    def _hold(self, listing: Listing) -> bool:
        """Whether the right to act is ours. Where others had it, what was seen is void, and listings may lack machines."""
        others, self._others_hold = self._others_hold, not self.world.hold()
        if others and not self._others_hold:
            self.books.doubt(self.world.now() + listing.lag_s)
        return not others and not self._others_hold

    def _unfinished(self) -> bool:
        """Whether something was begun that has to be gone on with."""
        journal = self.books.journal
        return bool(journal.ending or journal.draining or not all(asked.answered for asked in journal.asked.values()))

    def _rest(self) -> None:
        """While nothing is under way others may change the cluster."""
        if not self.installer.playing and not self.books.journal.asked:
            self.world.release()

    def _blind(self, problem: Exception, now: float) -> None:
        """Nothing is decided, and others may act. A head whose Ray is silent for long is started anew where it is broken."""
        self.books.commit()
        self.teller.trouble(str(problem), now, self.lives, self.breaker)
        # who sees to the head's Ray wants to know soon that it is there again
        self._wait_s = 2 * INTERVAL_S if self.installer.playing else min(LONGEST_WAIT_S, self._wait_s * 2)
        if not isinstance(problem, (GcsError, Headless)):
            self._rest()
            return
        self._silent_since = now if self._silent_since is None else self._silent_since
        if now - self._silent_since > REVIVE_S and (self._revived is None or now >= self._revived.until):
            self._revive(self._head, now)
        else:
            self._rest()

    def _revive(self, head: str, now: float) -> None:
        if head not in self.installer.playing and self.world.hold():
            self._revived = backoff.after(self._revived, "", now, REVIVE_S, QUIET_S)
            self.world.tell(EventKind.WARNING, head, text="Ray does not answer; it is started anew if it is broken")
            self.world.play([head], "auto")
            self.installer.playing.add(head)
