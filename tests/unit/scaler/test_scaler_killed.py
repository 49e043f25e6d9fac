# SPDX-License-Identifier: Apache-2.0
"""A scaler may be killed before and after every call that it makes: no machine is doubled, none is lost, no work is ended."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.scaler.story import Story

SHARES = 4  # of all moments, so that processes can divide them
EFFECTS = {"launch", "play", "drain", "terminate", "report", "remember", "set_tags", "describe", "publish", "hold", "release"}


@contextmanager
def told(kills: list[tuple[int, bool]], lag_s: float) -> Iterator[Story]:
    """The story with these kills, to its end."""
    with TemporaryDirectory() as folder:
        yield Story(Path(folder), kills, lag_s=lag_s).tell()


def whole(lag_s: float) -> Story:
    """The story in which nobody is killed, with all its moments."""
    with TemporaryDirectory() as folder:
        return Story(Path(folder), lag_s=lag_s, records=True).tell()


@pytest.mark.parametrize("lag_s", [0.0, 3.0])
def test_the_story_has_everything_in_it(lag_s: float) -> None:
    story = whole(lag_s)
    story.check()
    calls, said = story.assassins[0].calls, " ".join(str(data.get("text")) for _, _, data in story.town.told)
    assert set(calls) >= EFFECTS
    assert "the reply was lost; asked again" in said
    assert [kind for kind, _, _ in story.town.told].count("node_joined") == 4
    assert {how for _, how in story.town.drained} == {"IDLE", "PREEMPTION"}
    assert "it did not boot within 10 s" in said
    assert ("Ray refuses to drain it" in said) or lag_s
    assert story.town.launched == {"small": 4, "spare": 1}
    assert story.town.most == 3


@pytest.mark.slow
@pytest.mark.parametrize("lag_s", [0.0, 3.0])
@pytest.mark.parametrize("share", range(SHARES))
def test_killed_before_or_after_any_call_it_doubles_and_loses_nothing(share: int, lag_s: float) -> None:
    uninterrupted = whole(lag_s)
    moments = list(uninterrupted.assassins[0].moments.values())
    for moment in moments[share::SHARES]:
        check([moment], uninterrupted, lag_s)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SHARES))
def test_killed_again_while_it_recovers_it_doubles_and_loses_nothing(seed: int) -> None:
    dice = random.Random(seed)
    for lag_s in (0.0, 3.0):
        uninterrupted = whole(lag_s)
        for _ in range(40):
            first = dice.randrange(len(uninterrupted.assassins[0].calls))
            later = [(int(dice.paretovariate(0.5)) - 1, dice.random() < 0.5) for _ in range(dice.randint(1, 8))]
            check([(first, dice.random() < 0.5), *later], uninterrupted, lag_s)


def check(kills: list[tuple[int, bool]], uninterrupted: Story, lag_s: float) -> None:
    with told(kills, lag_s) as story:
        story.check()
        assert story.killed, kills
        assert story.town.most <= uninterrupted.town.most, kills
        assert story.town.launched.total() <= uninterrupted.town.launched.total(), kills
