# SPDX-License-Identifier: Apache-2.0
"""How a scaler is heard, here and on the head: what it told before counts as known, and nothing is heard twice."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rayctl.operations.heard import heard
from rayctl.operations.scaling import handover
from rayctl.operations.scaling.ears import Ear, Here, OnHead, Said
from rayctl.reconcile import told
from rayctl.reconcile.told import ScalerStatus
from rayctl.state import paths


class Desk:
    """A scaler's home, and an ear for it."""

    def __init__(self, folder: Path, where: str) -> None:
        state_dir = folder / "it's a $HOME"
        self.root = state_dir / "scaler" / "home"
        self.logs = paths.runs_dir(self.root, "demo", "scaler")
        self.logs.mkdir(parents=True)
        connection = SimpleNamespace(state_dir=str(state_dir))
        transport = SimpleNamespace(connection=connection, rsh=lambda: ["/bin/sh", "-c"])
        session: Any = SimpleNamespace(root=self.root, name="demo", transport=lambda _: transport)
        head: Any = SimpleNamespace(name="h1")
        self.ear: Ear = Here(session) if where == "here" else OnHead(session, head)

    def tells(self, log: str, text: str) -> None:
        with (self.logs / log).open("a") as file:
            file.write(text)

    def turns(self, turn: int) -> None:
        told.write(paths.scaler_status(self.root, "demo"), ScalerStatus(time.time(), 1, 2, turn))


@pytest.fixture(params=["here", "on the head"])
def desk(tmp_path: Path, request: pytest.FixtureRequest) -> Desk:
    return Desk(tmp_path, request.param)


@pytest.mark.parametrize("skew_s", [-3600.0, 0.0, 3600.0])
def test_a_scaler_on_the_head_is_fresh_by_the_heads_own_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skew_s: float
) -> None:
    here = 1e9
    there = here + skew_s
    said = {"fresh": Said(there, ScalerStatus(there - 5, 1, 2, 3)), "old": Said(there, ScalerStatus(there - 100, 1, 2, 3))}
    session: Any = SimpleNamespace(
        root=tmp_path, name="demo", config=SimpleNamespace(scaler_runs_on="head"),
        deployment=SimpleNamespace(head=SimpleNamespace(name="h1")),
    )  # fmt: skip
    monkeypatch.setattr(handover, "lives_on_head", lambda _: True)
    for word, note in (("fresh", ""), ("old", "silent for 1 min 40 s; on the head it stands still")):
        monkeypatch.setattr(OnHead, "__init__", lambda *_: None)
        monkeypatch.setattr(OnHead, "hear", lambda _, word=word: said[word])
        assert heard(session, here) == (said[word].status, note)


def test_what_was_told_before_is_not_heard_and_what_comes_is_heard_once(desk: Desk) -> None:
    desk.tells("1.jsonl", "old\n" * 1000)
    desk.turns(7)
    first = desk.ear.hear()
    assert first.lines == []
    assert first.status is not None
    assert first.status.turn == 7
    assert abs(first.now - time.time()) < 5
    desk.tells("1.jsonl", "a\nb\nhal")
    assert desk.ear.hear().lines == [b"a", b"b"]
    desk.tells("1.jsonl", "f\n")
    assert desk.ear.hear().lines == [b"half"]
    assert desk.ear.hear().lines == []


def test_a_scaler_that_was_started_anew_is_heard_from_its_beginning(desk: Desk) -> None:
    desk.tells("1.jsonl", "old\n")
    desk.ear.hear()
    desk.tells("2.jsonl", "anew\n")
    assert desk.ear.hear().lines == [b"anew"]


def test_one_that_has_told_nothing_says_nothing(desk: Desk) -> None:
    heard = desk.ear.hear()
    assert (heard.status, list(heard.lines)) == (None, [])
