# SPDX-License-Identifier: Apache-2.0
"""One writer of a cluster in the world: the rules of the lease, and its file under racing processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayctl.errors import StateRefused
from rayctl.state.holder import Holder
from rayctl.state.lease import FileLeaseStore, Held, Lease, LeaseToken, acquire, release, renew

ANNA = Holder("rayctl up", pid=11, place="here", controller="laptop-a")
ANNA_AGAIN = replace(ANNA, operation="rayctl down", pid=12)
BERT = Holder("rayctl down", pid=21, place="there", controller="laptop-b")
TOKEN, OTHER = LeaseToken("t-anna"), LeaseToken("t-other")
BOOT = "boot-1"


def alive(_: Holder) -> bool:
    return False


def dead(_: Holder) -> bool:
    return True


def taken(outcome: Lease | Held | None) -> Lease:
    assert isinstance(outcome, Lease)
    return outcome


def annas() -> Lease:
    return taken(acquire(None, ANNA, 100.0, BOOT, token=TOKEN))


def test_first_lease_has_generation_one_and_sixty_seconds() -> None:
    assert annas() == Lease(ANNA, 1, 160.0, BOOT, "t-anna")


def test_second_writer_is_told_who_holds_it_and_for_how_long() -> None:
    assert acquire(annas(), BERT, 130.0, BOOT, token=OTHER) == Held(annas(), 30.0)


@pytest.mark.parametrize(("now", "boot"), [(160.0, BOOT), (1.0, "boot-2")], ids=["expired", "head rebooted"])
def test_lease_that_ended_goes_to_the_next_with_a_higher_generation(now: float, boot: str) -> None:
    assert acquire(annas(), BERT, now, boot, token=OTHER) == Lease(BERT, 2, now + 60, boot, "t-other")


def test_lease_stands_until_its_very_end() -> None:
    assert isinstance(acquire(annas(), BERT, 159.999, BOOT, token=OTHER), Held)


def test_same_controller_takes_over_at_once_from_its_dead_process() -> None:
    lease = taken(acquire(annas(), ANNA_AGAIN, 101.0, BOOT, token=OTHER, dead=dead))
    assert (lease.owner, lease.generation) == (ANNA_AGAIN, 2)


def test_same_controller_waits_for_its_living_process() -> None:
    assert isinstance(acquire(annas(), ANNA_AGAIN, 101.0, BOOT, token=OTHER, dead=alive), Held)


def test_another_controller_cannot_know_of_deaths_and_waits() -> None:
    assert isinstance(acquire(annas(), BERT, 101.0, BOOT, token=OTHER, dead=dead), Held)


def test_play_of_the_holder_works_under_its_lease() -> None:
    handed_down = taken(acquire(annas(), ANNA_AGAIN, 130.0, BOOT, token=TOKEN, dead=alive))
    assert handed_down == replace(annas(), expires=190.0)


def test_renewal_keeps_the_generation() -> None:
    assert renew(annas(), annas(), 120.0, BOOT) == replace(annas(), expires=180.0)


def test_late_renewal_goes_on_if_nobody_came_between() -> None:
    assert renew(annas(), annas(), 500.0, BOOT) == replace(annas(), expires=560.0)
    assert renew(annas(), annas(), 5.0, "boot-2") == replace(annas(), expires=65.0, boot_id="boot-2")


def test_overtaken_holder_can_neither_renew_nor_release() -> None:
    berts = taken(acquire(annas(), BERT, 160.0, BOOT, token=OTHER))
    assert renew(berts, annas(), 161.0, BOOT) is None
    assert release(berts, annas()) is None


def test_wiped_lease_is_not_renewed() -> None:
    assert renew(None, annas(), 120.0, BOOT) is None
    assert release(None, annas()) is None


def test_released_lease_is_free_at_once_and_its_generation_is_not_forgotten() -> None:
    released = taken(release(annas(), annas()))
    assert taken(acquire(released, BERT, 101.0, BOOT, token=OTHER)).generation == 2


def test_token_travels_in_the_environment() -> None:
    token = LeaseToken.new()
    assert LeaseToken.from_env(token.to_env()) == token
    assert list(token.to_env()) == ["RAYCTL_LEASE"]
    assert LeaseToken.from_env({}) is None
    assert LeaseToken.from_env({"RAYCTL_LEASE": ""}) is None
    assert LeaseToken.new() != LeaseToken.new()


MOVES = st.lists(
    st.tuples(st.sampled_from(["acquire", "renew", "release", "die", "reboot"]), st.integers(0, 2), st.floats(0, 40))
)


class World:
    """Three writers, two of one controller, and what each believes to hold; the head's time moves between their moves."""

    def __init__(self) -> None:
        self.now, self.boots, self.stored = 0.0, 0, None
        self.pids = [1, 2, 3]
        self.believes: list[Lease | None] = [None, None, None]

    def holder(self, who: int) -> Holder:
        return Holder("op", pid=self.pids[who], controller="c0" if who < 2 else "c1")

    def token(self, who: int) -> LeaseToken:
        return LeaseToken(f"token of {self.pids[who]}")

    def is_dead(self, holder: Holder) -> bool:
        return holder.pid not in self.pids

    def move(self, action: str, who: int, after: float) -> None:
        self.now += after
        boot, mine = f"boot-{self.boots}", self.believes[who]
        match action:
            case "acquire":
                got = acquire(self.stored, self.holder(who), self.now, boot, token=self.token(who), dead=self.is_dead)
                if isinstance(got, Lease):
                    self.stored = self.believes[who] = got
            case "renew" if mine:
                self.believes[who] = renew(self.stored, mine, self.now, boot)
                self.stored = self.believes[who] or self.stored
            case "release" if mine:
                self.stored = release(self.stored, mine) or self.stored
                self.believes[who] = None
            case "die":
                self.pids[who], self.believes[who] = max(self.pids) + 1, None
            case "reboot":
                self.now, self.boots = 0.0, self.boots + 1

    def valid(self) -> list[int]:
        """Who rightly thinks to hold the lease: by the clock of the boot in which it was given."""
        boot = f"boot-{self.boots}"
        return [n for n, lease in enumerate(self.believes) if lease and lease.boot_id == boot and self.now < lease.expires]


@given(MOVES)
def test_never_two_holders_and_generations_only_grow(moves: list[tuple[str, int, float]]) -> None:
    world, generation = World(), 0
    for move in moves:
        before = world.stored
        world.move(*move)
        assert len(world.valid()) <= 1
        now = world.stored.generation if world.stored else 0
        assert now >= generation
        if before and world.stored and world.stored.token != before.token:
            assert now == generation + 1
        generation = now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "head" / "lease.json"


def test_file_store_gives_back_what_was_put_and_the_heads_own_time(path: Path, clock) -> None:
    store = FileLeaseStore(path, clock=clock, boot=lambda: BOOT)
    assert (store.read().lease, store.read().generation) == (None, 0)
    assert store.compare_and_set(0, annas()) is True
    seen = store.read()
    assert (seen.lease, seen.now, seen.boot_id, seen.generation) == (annas(), 1000.0, BOOT, 1)


def test_file_store_refuses_a_write_that_did_not_see_the_last_one(path: Path) -> None:
    store = FileLeaseStore(path)
    assert store.compare_and_set(1, annas()) is False
    assert store.compare_and_set(0, annas()) is True
    assert store.compare_and_set(0, replace(annas(), owner=BERT)) is False
    assert store.read().lease == annas()


def test_planted_lease_is_refused(path: Path, give_away: Callable[[Path], None]) -> None:
    store = FileLeaseStore(path)
    store.compare_and_set(0, annas())
    give_away(path)
    with pytest.raises(StateRefused, match="belongs to"):
        store.read()


def test_of_racing_processes_one_gets_each_generation(path: Path, children) -> None:
    program = """
        import sys
        from pathlib import Path
        from rayctl.state.holder import myself
        from rayctl.state.lease import FileLeaseStore, Lease
        store, me, won = FileLeaseStore(Path(sys.argv[1])), myself("race"), []
        while (seen := store.read()).generation < 60:
            if store.compare_and_set(seen.generation, Lease(me, seen.generation + 1, 0.0, seen.boot_id, "")):
                won.append(seen.generation + 1)
        print(won)
    """
    racers = [children.start(program, path) for _ in range(2)]
    first, second = (eval(racer.communicate(timeout=60)[0]) for racer in racers)
    assert sorted(first + second) == list(range(1, 61))
