# SPDX-License-Identifier: Apache-2.0
"""Traces as people write them, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest

from rayctl.errors import ConfigError
from rayctl.gcs.view import Demand, LabelRule
from rayctl.simulation import trace
from rayctl.simulation.events import Group, Load, Request, Submit
from rayctl.simulation.trace import HEADER, read

GOOD = """\
{"version": 1, "kind": "rayctl-demand-trace"}
# a comment

{"at": 20, "load": [{"shape": {"CPU": 1}, "count": 3}], "x-note": "mine"}
{"at": 10, "submit": {"shape": {"CPU": 0.5}, "count": 2, "runs_s": [1, 2.5], "selectors": [[{"key": "a", "values": ["b"]}],[]]}}
{"at": 10, "gang": {"strategy": "PACK", "bundles": [{"shape": {"GPU": 1}}], "runs_s": 9}}
{"at": 10, "request": []}
"""


def written(folder: Path, text: str | bytes) -> Path:
    path = folder / "t.jsonl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def problems(folder: Path, text: str | bytes) -> list[tuple[int, int, str, str]]:
    with pytest.raises(ConfigError) as caught:
        read(written(folder, text))
    assert caught.value.exit_code == 2
    return [(one.line, one.column, one.message, one.hint) for one in caught.value.problems]


def test_events_come_in_the_order_of_time_and_of_the_file(tmp_path: Path) -> None:
    assert read(written(tmp_path, GOOD)).events == (
        Submit(10, Demand({"CPU": 0.5}, 2, ((LabelRule("a", ("b",)),), ())), (1, 2.5)),
        Group(10, "PACK", (Demand({"GPU": 1}, 1),), (9, 9)),
        Request(10, ()),
        Load(20, (Demand({"CPU": 1}, 3),)),
    )


@pytest.mark.parametrize("text", [f"\ufeff{HEADER}\n", f"# first\n\n{HEADER}", HEADER])
def test_a_trace_may_hold_nothing(text: str, tmp_path: Path) -> None:
    assert read(written(tmp_path, text)).events == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; a demand trace begins with the line"),
        ('{"at": 0}\n', "is no demand trace"),
        ("hello\n", "is no demand trace"),
        ('{"version": 2, "kind": "rayctl-demand-trace"}', "is a demand trace of version 2, and this rayctl reads version 1"),
        ('{"version": "1", "kind": "rayctl-demand-trace"}', "`version` must be 1, not the text '1'"),
        (b"\xff\xfe", "is no UTF-8 text (byte 0 of the line)"),
    ],
)
def test_what_is_no_trace_is_said_in_one_sentence(text: str | bytes, message: str, tmp_path: Path) -> None:
    assert problems(tmp_path, text)[-1][2].startswith(message)


WRONG = {
    '{"at": 0, "submitt": {"runs_s": 3}}': (11, "unknown key `submitt`", "did you mean `submit`?"),
    '{"at": 0, "submit": {"shapes": {"CPU": 1}, "runs_s": 3}}': (22, "unknown key `submit.shapes`", "did you mean `shape`?"),
    '{"at": -1, "request": []}': (8, "`at` must be at least 0, not -1", ""),
    '{"request": []}': (1, "`at` is missing", "Seconds from the beginning."),
    '{"at": 3}': (1, "an event has `at` and exactly one of `submit`, `gang`, `request`, `load`", "write a line for each"),
    '{"at": 3, "load": [], "request": []}': (
        1, "an event has `at` and exactly one of `submit`, `gang`, `request`, `load`", "write a line for each"),
    '{"at": 0, "load": [{"shape": {"CPU": "1"}}]}': (
        38, "`load[0].shape.CPU` must be a number, not the text '1'", "write 1 without quotes"),
    '{"at": 0, "load": [{"shape": {}}]}': (30, "`load[0].shape` names no resource above zero", 'for example {"CPU": 1}'),
    '{"at": 0, "submit": {"shape": {"CPU": 1}, "count": 0, "runs_s": 1}}': (52, "`submit.count` must be at least 1, not 0", ""),
    '{"at": 0, "submit": {"shape": {"CPU": 1}, "runs_s": [3, 2]}}': (
        53, "`submit.runs_s` must be seconds, or two of them as [least, most], not [3, 2]", ""),
    '{"at": 0, "gang": {"strategy": "STRICT_PAK", "bundles": [{"shape": {"CPU": 1}}], "runs_s": 1}}': (
        32, "`gang.strategy` must be `PACK`, `SPREAD`, `STRICT_PACK` or `STRICT_SPREAD`, not the text 'STRICT_PAK'",
        "did you mean `STRICT_PACK`?"),
    '{"at": 0, "gang": {"strategy": "PACK", "bundles": [], "runs_s": 1}}': (
        51, "`gang.bundles` is empty", 'for example [{"shape": {"CPU": 1}}]'),
    "[1]": (1, "the line must be a JSON object, not a list", ""),
    '{"at": 1,': (10, "the line is no JSON: Expecting property name enclosed in double quotes", ""),
    '{"at": NaN}': (1, "the line is no JSON: NaN is no number that can be counted with", ""),
}  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_what_is_wrong_with_a_line_is_told_with_its_place(line: str, tmp_path: Path) -> None:
    assert problems(tmp_path, f"{HEADER}\n# see\n{line}\n") == [(3, *WRONG[line])]


def test_all_problems_are_told_at_once_up_to_a_number(tmp_path: Path) -> None:
    assert [line for line, *_ in problems(tmp_path, "\n".join([HEADER, '{"at": 1}', '{"at": 2}']))] == [2, 3]
    assert len(problems(tmp_path, "\n".join([HEADER, *['{"at": 1}'] * 100]))) == trace.MOST_PROBLEMS


def test_there_are_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "MOST_UNITS", 4)
    line = '{"at": 0, "submit": {"shape": {"CPU": 1}, "count": 3, "runs_s": 1}}'
    assert "more than a simulation can hold" in problems(tmp_path, "\n".join([HEADER, line, line]))[0][2]
    monkeypatch.setattr(trace, "MOST_BYTES", 100)
    assert problems(tmp_path, f"{HEADER}\n{' ' * 200}\n")[0][2].startswith("the line is longer than")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "gone.jsonl")
