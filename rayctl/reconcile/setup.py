# SPDX-License-Identifier: Apache-2.0
"""Setting nodes up and starting their Ray anew: one targeted playbook run per batch, beside the turns.

A batch is all that is due at the same time. Its nodes come up each for itself, and what is due later is in another batch, so
that a slow or dead node holds up no other. The more runs are at work, the longer the next batch gathers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from rayctl.config.model import Scaler as Keys
from rayctl.events import EventKind
from rayctl.reconcile import backoff
from rayctl.reconcile.books import Books
from rayctl.reconcile.journal import Failure
from rayctl.reconcile.lives import Life, Lives, Stage
from rayctl.reconcile.requests import FAILED, SETTING_UP, STATUS_TAG, UP_TO_DATE
from rayctl.reconcile.seam import Outside, Played

TRIES = 2  # set-ups, and restarts, of a node before it is replaced
LOST_S = 3.0  # so long Ray must have lost a node before it is started anew
SOUND_S = 600.0  # after that, what went wrong with a node before is forgotten
GATHER_S = 1.0  # per run at work


@dataclass
class Due:
    """What has to happen to machines: set up, started anew, or replaced for a reason."""

    set_up: list[Life] = field(default_factory=list)
    restart: list[Life] = field(default_factory=list)
    replace: list[tuple[Life, str]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.set_up or self.restart or self.replace)

    def without(self, ids: Collection[str]) -> Due:
        """The same, less these machines."""
        set_up, restart = ([life for life in lives if life.machine.id not in ids] for lives in (self.set_up, self.restart))
        return Due(set_up, restart, [(life, why) for life, why in self.replace if life.machine.id not in ids])


@dataclass(frozen=True)
class _Patience:
    """What time it is, and how long things may take."""

    now: float
    keys: Keys
    lost_s: float


class Installer:
    """Runs playbooks over nodes. `playing` are the names of nodes in runs."""

    def __init__(self, world: Outside, books: Books) -> None:
        self._world, self._books = world, books
        self.playing: set[str] = set()
        self._ready: set[str] = set()
        self._began_at = 0.0
        self._batches: list[set[str]] = []

    def collect(self, lives: Lives, now: float) -> None:
        """Take note of what came of nodes."""
        named = {life.machine.name: life for life in lives.values()}
        for played in self._world.played():
            self.playing.discard(played.node)
            if played.node not in named or named[played.node].stage in (Stage.DRAINING, Stage.ENDING):
                continue
            if played.reason:
                self._failed(named[played.node], played, now)
            else:
                self._ready.add(played.node)
        self._batches = [left for batch in self._batches if (left := batch & self.playing)]

    def take_ready(self) -> frozenset[str]:
        """The names of nodes whose run has ended well since this was last asked."""
        ready, self._ready = frozenset(self._ready), set()
        return ready

    def _failed(self, life: Life, played: Played, now: float) -> None:
        id, name = life.machine.id, life.machine.name
        if played.unreachable and life.stage is Stage.SETTING_UP:  # it may not take logins yet
            if self._books.trouble(id, played.reason, now, silent=True) == 1:
                self._world.tell(EventKind.NOTICE, name, text=f"does not answer yet: {played.reason}")
            return
        self._books.trouble(id, played.reason, now, counted=life.stage is not Stage.RESTARTING)
        self._books.failed(Failure(life.machine.type, played.reason, life.since, now, node=name, log=played.log))
        self._world.set_tags([id], {STATUS_TAG: FAILED})
        self._world.tell(EventKind.NODE_ENDED, name, status="failed", text=played.reason)

    def note_joined(self, before: Lives, lives: Lives, now: float) -> None:
        """What joined since the last turn is up to date; what has been up for long is sound again."""
        joined = [life for id, life in lives.items() if life.stage is Stage.UP and _is_new(before.get(id), life)]
        fresh = [life for life in joined if life.worker and life.machine.tags.get(STATUS_TAG) != UP_TO_DATE]
        if fresh:
            self._world.set_tags([life.machine.id for life in fresh], {STATUS_TAG: UP_TO_DATE})
        for life in fresh:
            if not life.joined_at:
                continue  # it had joined before anyone looked
            seconds = round(now - life.machine.launched_at, 1) if life.machine.launched_at else None
            self._world.tell(EventKind.NODE_JOINED, life.machine.name, seconds=seconds)
        self._books.drop("setbacks", [life.machine.type for life in fresh])
        self._books.drop("quarantine", [life.machine.name for life in fresh])
        troubled = [id for id in self._books.journal.troubles if id in lives]
        sound = [id for id in troubled if lives[id].stage is Stage.UP and now - lives[id].since > SOUND_S]
        self._books.drop("troubles", [*sound, *(self._books.journal.troubles.keys() - lives.keys())])

    def due(self, lives: Lives, keys: Keys, now: float, *, may_end: bool = True, lost_s: float = LOST_S) -> Due:
        """What is to happen now to nodes that are not up. Unless they `may_end`, it is tried on and on.

        A node is started anew when Ray has not known it for `lost_s` seconds.
        """
        found, patience = Due(), _Patience(now, keys, lost_s)
        for life in lives.values():
            if life.worker and life.known and life.missing_since is None:
                self._judge(life, patience, found)
        if may_end:
            return found
        again = [
            life for life, _ in found.replace if life.stage is not Stage.BOOTING and self._books.may_try(life.machine.id, now)
        ]
        set_up = [life for life in again if life.stage is Stage.WAITING]
        return Due(found.set_up + set_up, found.restart + [life for life in again if life not in set_up])

    def _judge(self, life: Life, patience: _Patience, found: Due) -> None:
        id, now, keys = life.machine.id, patience.now, patience.keys
        waited = now - life.since
        match life.stage:
            case Stage.BOOTING if now - (life.machine.launched_at or life.since) > keys.launch_timeout_s:
                found.replace.append((life, f"it did not boot within {keys.launch_timeout_s:g} s"))
            case Stage.WAITING if self._given_up(life, keys, now):
                found.replace.append((life, self._books.journal.troubles[id].reason))
            case Stage.WAITING if self._books.may_try(id, now):
                found.set_up.append(life)
            case Stage.JOINING if waited > keys.join_timeout_s:
                self._anew(life, f"Ray did not know it {keys.join_timeout_s:g} s after its set-up", found)
            case Stage.LOST if waited > patience.lost_s and self._books.may_try(id, now):
                self._anew(life, "Ray has lost it", found)
            case _:
                pass

    def _given_up(self, life: Life, keys: Keys, now: float) -> bool:
        """Whether a node is not tried again: twice its set-up may fail, and it may be silent for as long as it may boot."""
        known = self._books.journal.troubles.get(life.machine.id)
        if known is None:
            return False
        silent_for = now - (life.machine.launched_at or life.since)
        return known.times >= TRIES and (not known.silent or silent_for > keys.launch_timeout_s)

    def _anew(self, life: Life, reason: str, found: Due) -> None:
        if self._books.times(life.machine.id) < TRIES:
            found.restart.append(life)
        else:
            found.replace.append((life, f"{reason}, also after {TRIES} restarts"))

    # ---- doing it
    def may_begin(self, now: float) -> bool:
        """Whether the next batch has gathered for long enough."""
        return not self._batches or now - self._began_at >= GATHER_S * len(self._batches)

    def begin(self, due: Due, now: float) -> None:
        """Begin playbook runs over what is due."""
        troubles = {life.machine.id: self._books.troubled(life.machine.id, "Ray has lost it", now) for life in due.restart}
        with self._books.promised():
            self._books.put_all("troubles", troubles)
        for life in due.restart:
            text = f"Ray has lost it; it is started anew ({troubles[life.machine.id].times} of {TRIES})"
            self._world.tell(EventKind.NOTICE, life.machine.name, text=text)
        if due.set_up:
            self._world.set_tags([life.machine.id for life in due.set_up], {STATUS_TAG: SETTING_UP})
        for lives, restart in ((due.set_up, "auto"), (due.restart, "always")):
            if names := [life.machine.name for life in lives]:
                self._play(names, restart, now)
        if due.restart:
            lost = "lost contact with raylet"
            self._world.tell_drivers([f"Restarting {n} nodes of type {kind} ({lost})." for kind, n in _by_type(due.restart)])

    def _play(self, names: Sequence[str], restart: str, now: float) -> None:
        self._world.play(names, restart)
        self.playing |= set(names)
        self._batches.append(set(names))
        self._began_at = now

    def set_back(self, seconds: float) -> None:
        """Somebody has set the clock back."""
        self._began_at -= seconds

    def replaced(self, due: Due, now: float, *, hosts: bool) -> None:
        """Leave alone for a while what has to be replaced: the host, or the type whose machines cannot be set up."""
        for life, reason in due.replace:
            self._books.failed(Failure(life.machine.type, reason, life.since, now, node=life.machine.name))
            if hosts:
                self._books.quarantine(life.machine.name, reason, now)
            elif life.joined_at is None:
                self._books.setback(life.machine.type, f"{life.machine.name}: {reason}", now, backoff.SET_UP_S)


def _is_new(before: Life | None, life: Life) -> bool:
    return before is None or before.stage is not Stage.UP or life.since > before.since


def _by_type(lives: Iterable[Life]) -> list[tuple[str, int]]:
    return sorted(Counter(life.machine.type for life in lives).items())
