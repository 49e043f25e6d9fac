# SPDX-License-Identifier: Apache-2.0
"""The scaler goes on after a turn that failed, later each time: for ever where the reason is known, else a few times more."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rayctl.errors import Busy, Interrupted, RayctlError, Refused
from rayctl.events import EventKind
from rayctl.operations import lifetime
from rayctl.operations.scaling.daemon import LONGEST_S, PATIENCE, _Loop
from rayctl.operations.scaling.sole import SILENT_S
from rayctl.reconcile.metrics import Metrics

GOOD = 0.5
FULL = OSError(errno.ENOSPC, "No space left on device")


class Told:
    """Is told to end when it has been waited for so often; `pauses` are for how long."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.pauses: list[float] = []

    def wait(self, pause: float) -> bool:
        self.pauses.append(pause)
        return len(self.pauses) > self.turns


class Turns:
    """A loop whose turns end as listed: with a pause, or by what is raised."""

    def __init__(self, turns: Iterable[float | Exception]) -> None:
        self.left = list(turns)
        self.said: list[tuple[str, str]] = []
        self.metrics = Metrics()
        self.told = Told(len(self.left))
        bus = SimpleNamespace(emit=lambda kind, *, text: self.said.append((kind, text)), tick=lambda: None)
        parts: list[Any] = [
            SimpleNamespace(bus=bus, name="demo"), SimpleNamespace(cluster_is_gone=lambda: False), self,
            SimpleNamespace(renew=lambda: None), self.metrics,
        ]  # fmt: skip
        self.loop = _Loop(*parts)

    def turn(self) -> float:
        end = self.left.pop(0)
        if isinstance(end, Exception):
            raise end
        return end

    def run(self) -> Turns:
        self.loop.run(self.told)  # type: ignore[arg-type]
        return self

    @property
    def pauses(self) -> list[float]:
        """After each turn."""
        return self.told.pauses[1:]

    def counted(self, name: str) -> float:
        families = text_string_to_metric_families(self.metrics.render().decode())
        return next(sample.value for family in families for sample in family.samples if sample.name == name)


@pytest.fixture(autouse=True)
def no_command_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "is_over", lambda *_: False)


@pytest.mark.parametrize("problem", [RayctlError("cannot write the journal"), FULL])
def test_a_turn_that_failed_is_told_and_counted_and_the_next_one_runs(problem: Exception) -> None:
    turns = Turns([GOOD, problem, GOOD]).run()
    assert turns.left == []
    assert turns.said == [(EventKind.ERROR, f"a turn failed, and is tried again: {problem}")]
    assert turns.counted("autoscaler_update_loop_exceptions_total") == 1
    assert turns.counted("rayctl_scaler_turns_total") == 3
    assert turns.pauses == [GOOD, 2, GOOD]


def test_it_waits_longer_each_time_and_begins_anew_after_a_good_turn() -> None:
    turns = Turns([*[FULL] * 7, GOOD, FULL]).run()
    assert turns.pauses == [2, 4, 8, LONGEST_S, LONGEST_S, LONGEST_S, LONGEST_S, GOOD, 2]
    assert LONGEST_S < SILENT_S, "another scaler would take it for gone"


def test_what_nobody_expected_is_tried_again_some_times_in_a_row_and_then_raised() -> None:
    turns = Turns([KeyError("x")] * 9)
    with pytest.raises(KeyError):
        turns.run()
    assert len(turns.left) == 9 - PATIENCE - 1
    assert PATIENCE == 5
    assert [kind for kind, _ in turns.said] == [EventKind.ERROR] * PATIENCE
    assert turns.pauses == [2, 4, 8, LONGEST_S, LONGEST_S]
    assert turns.counted("autoscaler_update_loop_exceptions_total") == PATIENCE + 1


def test_what_nobody_expected_is_told_in_one_line_with_its_place() -> None:
    turns = Turns([KeyError("x")]).run()
    ((_, text),) = turns.said
    line = Turns.turn.__code__.co_firstlineno + 3
    assert text.endswith(f": KeyError: 'x' ({__file__}:{line})")
    assert "\n" not in text


def test_a_good_turn_makes_up_for_what_nobody_expected() -> None:
    few: list[float | Exception] = [KeyError("x")] * PATIENCE
    assert Turns([*few, GOOD, *few]).run().left == []


@pytest.mark.parametrize("problem", [Refused("too old"), Busy("another one"), Interrupted("Ctrl-C")])
def test_what_ends_a_scaler_ends_it_at_once(problem: RayctlError) -> None:
    turns = Turns([GOOD, problem, GOOD])
    with pytest.raises(type(problem)):
        turns.run()
    assert turns.left == [GOOD]
    assert turns.said == []
