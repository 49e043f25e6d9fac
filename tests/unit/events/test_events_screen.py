# SPDX-License-Identifier: Apache-2.0
"""What stands on a terminal: golden pictures of the table, at a given width and time."""

from __future__ import annotations

import io

from rich.console import Console

from rayctl.events import Bus
from rayctl.events.screen import MOST_ROWS, ScreenSink

NOON = 1_767_268_984.0


class Screen:
    """A sink on a console of so many columns; `last` is the picture it leaves."""

    def __init__(self, columns: int = 80, verbosity: int = 0) -> None:
        self.stream, self.now = io.StringIO(), NOON
        console = Console(file=self.stream, width=columns, force_terminal=False)
        self.bus = Bus("up", "demo", [ScreenSink(console, lambda: self.now, verbosity=verbosity)], clock=lambda: self.now)

    def step(self, node: str, text: str = "pip install ray", at: float = 0.0) -> None:
        self.now = NOON + at
        self.bus.emit("step_started", node, "s", index=2, total=5, text=text)

    def last(self, at: float = 0.0) -> list[str]:
        self.now = NOON + at
        self.bus.close()
        return [line.rstrip() for line in self.stream.getvalue().splitlines()]


def test_a_step_shows_its_place_command_and_how_long_it_runs() -> None:
    screen = Screen()
    screen.step("demo-head-1")
    screen.step("demo-worker-1", "[[ -f x ]] || make [all]", at=1)
    assert [line[3:] for line in screen.last(at=75)] == [
        "demo-head-1    step 2/5  pip install ray           1 min 15 s",
        "demo-worker-1  step 2/5  [[ -f x ]] || make [all]  1 min 14 s",
    ]


def test_in_a_narrow_terminal_the_command_gives_way() -> None:
    screen = Screen(40)
    screen.step("demo-worker-1", "pip install something with a long name")
    (line,) = screen.last(at=12)
    assert line[3:] == "demo-worker-1  step 2/5  pip i…  12 s"


def test_how_nodes_ended() -> None:
    screen = Screen()
    for node, status, text in (("a", "ok", ""), ("b", "unchanged", ""), ("c", "failed", "step 2 ended with exit code 1")):
        screen.bus.emit("node_ended", node, status=status, seconds=3, text=text)
    assert screen.last() == ["✓  a  ready                          3 s", "=  b  unchanged                      3 s", "✗  c  step 2 ended with exit code 1  3 s"]  # fmt: skip  # noqa: E501


def test_before_there_is_a_node_nothing_is_drawn_so_that_a_question_may_be_asked() -> None:
    screen = Screen()
    screen.bus.emit("operation_started", text="rayctl up")
    screen.bus.emit("notice", text="look")
    assert screen.stream.getvalue() == "note: look\n"


def test_a_failed_step_is_left_to_the_block_at_the_end() -> None:
    screen = Screen()
    screen.step("a")
    screen.bus.emit("step_ended", "a", "s", status="failed", exit_code=1, tail=["no ray"])
    screen.bus.emit("operation_ended", status="failed", exit_code=1)
    assert "no ray" not in "".join(screen.last())


def test_output_of_steps_scrolls_by_only_when_asked_for() -> None:
    for verbosity, shown in ((0, False), (1, True)):
        screen = Screen(verbosity=verbosity)
        screen.step("a")
        screen.bus.emit("step_output", "a", "s", text="Collecting ray")
        assert ("a  | Collecting ray" in screen.last()) is shown


def test_of_many_nodes_those_at_work_are_shown() -> None:
    screen = Screen()
    for number in range(MOST_ROWS + 10):
        screen.step(f"n{number:02}")
        if number < 15:
            screen.bus.emit("node_ended", f"n{number:02}", status="ok")
    lines = screen.last()
    assert len(lines) == MOST_ROWS + 1
    assert lines[-1].strip() == "and 10 more"
    assert sum("step 2/5" in line for line in lines) == 15


def test_while_ray_is_waited_for_a_line_says_so() -> None:
    screen = Screen()
    screen.bus.emit("node_ended", "a", status="ok", seconds=1)
    screen.bus.emit("heartbeat", text="0 of 2 nodes joined")
    screen.now += 4
    screen.bus.emit("heartbeat", text="1 of 2 nodes joined")
    assert screen.last(at=7)[-1].split(maxsplit=1)[1].strip() == "1 of 2 nodes joined  7 s"


def test_ended_machines_leave_the_table() -> None:
    screen = Screen()
    screen.bus.emit("node_launched", "a")
    screen.bus.emit("node_launched", "b")
    screen.bus.emit("node_terminated", "b", text="down")
    assert "b  terminated: down" in screen.last()
    assert sum(line.endswith("0.0 s") for line in screen.last()) == 1
