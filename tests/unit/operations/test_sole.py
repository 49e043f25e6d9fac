# SPDX-License-Identifier: Apache-2.0
"""There is one scaler per cluster, wherever it runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rayctl.errors import Busy
from rayctl.gcs.errors import GcsUnavailable
from rayctl.operations.scaling.sole import SILENT_S, Sole
from rayctl.state import holder

HERE = holder.myself("rayctl scaler demo", controller="laptop")
THERE = replace(HERE, host="head", place="another boot", controller="head", pid=7)


class Store:
    """A head's key-value store, and time."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.now = 0.0
        self.during = lambda: None

    def ask(self, question: Any) -> Any:
        return question(self)

    def get(self, key: bytes, *, namespace: bytes) -> bytes:
        return self.values.get(key, b"")

    def put(self, key: bytes, value: bytes, *, namespace: bytes) -> bool:
        self.values[key] = value
        return True

    def delete(self, key: bytes, *, namespace: bytes) -> None:
        del self.values[key]

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.during()

    def sole(self, me: holder.Holder) -> Sole:
        return Sole(self, me, clock=lambda: self.now, sleep=self.sleep)  # type: ignore[arg-type]


@pytest.fixture
def store() -> Store:
    return Store()


def test_the_first_is_the_only_one_at_once(store: Store) -> None:
    store.sole(HERE).begin()
    assert store.now == 0


def test_one_that_lives_elsewhere_is_seen_by_its_renewals(store: Store) -> None:
    other = store.sole(THERE)
    other.begin()
    store.during = other.renew
    with pytest.raises(Busy, match="rayctl scaler demo"):
        store.sole(HERE).begin()


def test_a_head_that_does_not_answer_for_a_moment_makes_nobody_an_heir(store: Store) -> None:
    other, answers = store.sole(THERE), store.ask
    other.begin()

    def silent(_: object) -> None:
        raise GcsUnavailable("head:6379", "no connection")

    def during() -> None:
        store.ask = answers  # type: ignore[method-assign]
        other.renew()
        if store.now == 2:
            store.ask = silent  # type: ignore[method-assign]

    store.during = during
    with pytest.raises(Busy):
        store.sole(HERE).begin()
    other.renew()


def test_one_that_is_not_renewed_is_gone(store: Store) -> None:
    store.sole(THERE).begin()
    store.sole(HERE).begin()
    assert SILENT_S < store.now < SILENT_S + 3


def test_one_of_this_machine_that_is_dead_is_not_waited_for(store: Store) -> None:
    store.sole(replace(HERE, started=1)).begin()
    store.sole(HERE).begin()
    assert store.now == 0


def test_who_was_overtaken_ends(store: Store) -> None:
    mine = store.sole(HERE)
    mine.begin()
    store.values.clear()
    store.sole(THERE).begin()
    store.now += 10
    with pytest.raises(Busy, match="taken"):
        mine.renew()


def test_who_ends_makes_room(store: Store) -> None:
    mine = store.sole(HERE)
    mine.begin()
    mine.end()
    assert not store.values


def test_a_name_that_is_none_counts_for_nothing(store: Store) -> None:
    store.values[b"scaler"] = b"{}"
    store.sole(HERE).begin()
    assert store.now == 0
