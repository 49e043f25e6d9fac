# SPDX-License-Identifier: Apache-2.0
"""What people and programs read: golden outputs of a run."""

from __future__ import annotations

import io
import os
import stat
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from rayctl.events import Bus, Event, EventKind, sinks
from rayctl.events.sinks import JsonLinesSink, LogFileSink, PlainSink

NOON = datetime(2026, 1, 1, 12, 3, 4, tzinfo=UTC).timestamp()


class Run:
    """A bus under a clock that the test sets, in seconds since the run's start."""

    def __init__(self, verbosity: int = 0) -> None:
        self.stream = io.StringIO()
        self.now = NOON
        sink = PlainSink(self.stream, lambda: self.now, verbosity=verbosity, zone=UTC)
        self.bus = Bus("up", "demo", [sink], clock=lambda: self.now)

    def at(self, second: float, kind: str, node: str = "", step: str = "", **data: object) -> None:
        self.now = NOON + second
        self.bus.emit(kind, node, step, **data)

    def wait_until(self, second: int) -> None:
        """Time passes as in a real loop: a tick each half second."""
        while self.now < NOON + second:
            self.now += 0.5
            self.bus.tick()

    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


def whole_run(verbosity: int) -> str:
    run = Run(verbosity)
    run.at(0, "operation_started", text="rayctl up demo.yaml")
    run.at(0, "node_launched", "demo-head", type="head", id="i-1")
    run.at(0, "notice", text="`--autoscaling-config` is dropped", hint="rayctl scales by itself")
    run.at(0.5, "node_started", "demo-head", steps=2, total=15)
    run.at(0.5, "step_started", "demo-head", "s1", index=14, total=15, text="pip install ray\npip check")
    run.at(1, "step_output", "demo-head", "s1", text="Collecting ray")
    run.wait_until(16)
    run.at(16, "step_ended", "demo-head", "s1", index=14, total=15, status="ok", seconds=15.5)
    run.at(16, "step_started", "demo-head", "s2", index=15, total=15, text="ray start --head")
    run.at(17, "step_ended", "demo-head", "s2", index=15, total=15, status="ok", seconds=1)
    run.at(17, "head_answered", "demo-head", address="10.0.0.1:6379", seconds=0.42)
    run.at(17, "node_ended", "demo-head", status="ok", seconds=16.5)
    run.at(18, "step_started", "demo-worker-1", "s1", index=3, total=15, text="pip install nosuch")
    failed = {"status": "failed", "exit_code": 1, "seconds": 1.2, "tail": ["ERROR: no nosuch", "hint: typo?"]}
    run.at(19.2, "step_ended", "demo-worker-1", "s1", index=3, total=15, log="/tmp/r/3.log", **failed)
    run.at(19.2, "node_ended", "demo-worker-1", status="failed", seconds=1.5, text="step 3 ended with exit code 1")
    run.at(20, "node_joined", "demo-worker-2", seconds=19)
    run.at(20, "node_terminated", "demo-worker-3", type="cpu", text="idle for 5 min")
    run.at(20, "heartbeat", text="waiting for demo-worker-4", seconds=20)
    run.at(20, "node_danced", "demo-worker-2", text="tango")
    run.at(95, "operation_ended", status="failed", seconds=95, text="1 of 4 nodes failed")
    return run.stream.getvalue()


def test_run_in_a_ci_log() -> None:
    assert whole_run(verbosity=0) == (
        "12:03:04 demo  rayctl up demo.yaml\n"
        "12:03:04 demo-head  launched (head, i-1)\n"
        "12:03:04 demo       note: `--autoscaling-config` is dropped\n"
        "12:03:04 demo       hint: rayctl scales by itself\n"
        "12:03:04 demo-head  2 of 15 steps to run\n"
        "12:03:04 demo-head  step 14/15 pip install ray …\n"
        "12:03:06 demo-head  step 14/15 running for 2 s: pip install ray …\n"
        "12:03:16 demo-head  step 14/15 running for 12 s: pip install ray …\n"
        "12:03:20 demo-head  step 14/15 done after 15 s\n"
        "12:03:20 demo-head  step 15/15 ray start --head\n"
        "12:03:21 demo-head  head answers at 10.0.0.1:6379 after 0.4 s\n"
        "12:03:21 demo-head  ready after 16 s\n"
        "12:03:22 demo-worker-1  step 3/15 pip install nosuch\n"
        "12:03:23 demo-worker-1  step 3/15 FAILED with exit code 1 after 1 s\n"
        "12:03:23 demo-worker-1  FAILED after 1 s: step 3 ended with exit code 1\n"
        "12:03:24 demo-worker-2  joined the cluster after 19 s\n"
        "12:03:24 demo-worker-3  terminated: idle for 5 min\n"
        "12:04:39 demo           up FAILED after 1 min 35 s\n"
    )


def test_talkative_run_adds_output_ends_and_what_only_a_newer_rayctl_knows() -> None:
    quiet, talkative = whole_run(verbosity=0).splitlines(), whole_run(verbosity=1).splitlines()
    assert [line for line in talkative if line not in quiet] == [
        "12:03:05 demo-head  | Collecting ray",
        "12:03:21 demo-head  step 15/15 done after 1 s",
        "12:03:24 demo           still at work after 20 s: waiting for demo-worker-4",
        "12:03:24 demo-worker-2  node_danced: tango",
    ]
    assert [line for line in talkative if line in quiet] == quiet


def test_short_step_says_nothing_but_its_start() -> None:
    run = Run()
    run.at(0, "step_started", "n1", "s1", index=1, total=2, text="true")
    run.wait_until(1)
    run.at(1.9, "step_ended", "n1", "s1", index=1, total=2, status="ok", seconds=1.9)
    run.wait_until(60)
    assert run.lines() == ["12:03:04 n1  step 1/2 true"]


def test_long_steps_of_several_nodes_each_give_signs_of_life() -> None:
    run = Run()
    run.at(0, "step_started", "n1", "s1", index=1, total=1, text="sleep 60")
    run.at(1, "step_started", "n2", "s1", index=1, total=1, text="sleep 60")
    run.wait_until(14)
    assert [line.split(":", 2)[2] for line in run.lines()[2:]] == [
        "06 n1  step 1/1 running for 2 s: sleep 60",
        "07 n2  step 1/1 running for 2 s: sleep 60",
        "16 n1  step 1/1 running for 12 s: sleep 60",
        "17 n2  step 1/1 running for 12 s: sleep 60",
    ]


def test_node_that_is_lost_gives_no_more_signs() -> None:
    run = Run()
    run.at(0, "step_started", "n1", "s1", index=1, total=1, text="sleep 60")
    run.at(1, "node_ended", "n1", status="unreachable", text="connection lost")
    run.wait_until(60)
    assert run.lines()[1:] == ["12:03:05 n1  UNREACHABLE: connection lost"]


@pytest.mark.parametrize(
    ("status", "said"),
    [("timeout", "step s1 TIMED OUT after 30 s"), ("cancelled", "step s1 cancelled after 30 s")],
)
def test_step_that_did_not_end_well_says_how(status: str, said: str) -> None:
    run = Run()
    run.at(0, "step_ended", "n1", "s1", status=status, seconds=30)
    assert run.lines() == [f"12:03:04 n1  {said}"]


def test_warnings_and_errors_stand_out_and_keep_their_lines() -> None:
    run = Run()
    run.at(0, "warning", "n1", text="the clock is off by 3 s")
    run.at(0, "error", text="first\nsecond", hint="try again")
    assert run.lines() == [
        "12:03:04 n1  warning: the clock is off by 3 s",
        "12:03:04 demo  ERROR: first",
        "12:03:04 demo  second",
        "12:03:04 demo  hint: try again",
    ]


def test_long_command_is_cut_to_one_line() -> None:
    run = Run()
    run.at(0, "step_started", "n1", "s1", index=1, total=1, text="x" * 500)
    (line,) = run.lines()
    assert line.endswith("xxx …")
    assert len(line) <= 100


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_can_be_told_without_any_data(kind: EventKind) -> None:
    run = Run(verbosity=1)
    run.at(0, kind)
    run.wait_until(3)
    assert all(line.startswith("12:03:0") and not line.endswith((":", " ")) for line in run.lines())


def test_terminal_that_cannot_show_a_character_shows_its_number() -> None:
    raw = io.BytesIO()
    sink = PlainSink(io.TextIOWrapper(raw, encoding="ascii"), zone=UTC)
    sink.write(Event(NOON, "up", "demo", EventKind.WARNING, data={"text": "größe \udcff"}))
    assert raw.getvalue() == b"12:03:04 demo  warning: gr\\xf6\\xdfe \\udcff\n"


def test_json_lines_are_out_at_once() -> None:
    raw = io.BytesIO()
    sink = JsonLinesSink(io.TextIOWrapper(raw, encoding="utf-8"))
    sink.write(Event(1.5, "up", "demo", EventKind.NOTICE, data={"text": "ü"}))
    assert raw.getvalue() == (
        b'{"v":1,"ts":1.5,"op":"up","cluster":"demo","node":"","step":"","kind":"notice","data":{"text":"\\u00fc"}}\n'
    )


def test_closed_pipe_ends_the_lines_and_not_the_operation() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream, kept = os.fdopen(writer, "w"), io.StringIO()
    bus = Bus("up", "demo", [JsonLinesSink(stream), PlainSink(kept, zone=UTC)], clock=lambda: NOON)
    bus.emit("warning", text="a")
    bus.emit("warning", text="b")
    assert kept.getvalue().splitlines() == [
        "12:03:04 demo  warning: a",
        "12:03:04 demo  note: JsonLinesSink takes no more events: [Errno 32] Broken pipe",
        "12:03:04 demo  warning: b",
    ]
    with pytest.raises(BrokenPipeError):
        stream.close()


def log_run(folder: Path, name: str) -> Path:
    sink = LogFileSink(folder / name)
    sink.write(Event(1.5, "up", "demo", EventKind.NOTICE, data={"text": name}))
    sink.close()
    return folder / name


def test_log_file_is_private_and_holds_the_events(tmp_path: Path) -> None:
    log = log_run(tmp_path, "1.jsonl")
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert [Event.from_json(line).data["text"] for line in log.read_text().splitlines()] == ["1.jsonl"]


def test_log_is_on_the_disk_line_by_line(tmp_path: Path) -> None:
    sink = LogFileSink(tmp_path / "1.jsonl")
    sink.write(Event(1.5, "up", "demo", EventKind.NOTICE))
    assert (tmp_path / "1.jsonl").read_text().count("\n") == 1
    sink.close()


def test_a_log_on_a_full_disk_holds_whole_lines_only_and_goes_on_when_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(FileIO):
        room = 1000

        def write(self, data: Any) -> int:
            taken = bytes(data)[: self.room]
            return super().write(taken)

    monkeypatch.setattr(sinks, "FileIO", Full)
    sink, heard = LogFileSink(tmp_path / "1.jsonl"), io.StringIO()
    bus = Bus("up", "demo", [sink, JsonLinesSink(heard)])
    for text, room in (("a", 1000), ("b", 20), ("c", 20), ("d", 1000)):
        monkeypatch.setattr(Full, "room", room)
        bus.emit("notice", text=text)
    bus.close()
    texts = [[Event.from_json(line).data["text"] for line in lines.splitlines()] for lines in (
        (tmp_path / "1.jsonl").read_text(), heard.getvalue(),
    )]  # fmt: skip
    assert texts[0] == ["a", "d"]
    assert texts[1] == ["a", "b", "LogFileSink misses events: [Errno 28] No space left on device", "c", "d"]


def test_folder_keeps_the_last_twenty_runs_and_whatever_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "0-notes.txt").write_text("mine")
    for number in range(25):
        log_run(tmp_path, f"{number:02d}.jsonl")
    assert sorted(child.name for child in tmp_path.iterdir()) == [
        "0-notes.txt",
        *(f"{number:02d}.jsonl" for number in range(5, 25)),
    ]


def test_log_never_writes_into_a_planted_file(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("theirs")
    (tmp_path / "1.jsonl").symlink_to(victim)
    with pytest.raises(FileExistsError):
        LogFileSink(tmp_path / "1.jsonl")
    assert victim.read_text() == "theirs"
