# SPDX-License-Identifier: Apache-2.0
"""Errors in words: golden texts of what a person reads when something went wrong."""

from __future__ import annotations

import pytest

from rayctl.cli.report import explain, text_of
from rayctl.errors import Busy, ConfigError, Interrupted, NodeFailure, NodesFailed, Problem, Refused, Unreachable

STEP = NodeFailure(
    "demo-worker-1", "pip install x ended with exit code 3", "setup step 2: pip install x", 3, ("no x",), "/n/2.log"
)


def test_a_failed_node_is_one_block_and_the_command_that_resumes_comes_last() -> None:
    error = NodesFailed("1 node failed; the other 2 nodes are up", (STEP,), hint="rayctl up demo.yaml")
    assert text_of(error) == (
        "✗ demo-worker-1: pip install x ended with exit code 3\n"
        "  step   setup step 2: pip install x\n"
        "  exit   3\n"
        "  | no x\n"
        "  log    /n/2.log\n"
        "\n"
        "1 node failed; the other 2 nodes are up; to go on from there:\n"
        "  rayctl up demo.yaml"
    )


def test_nodes_that_failed_for_one_reason_are_told_once() -> None:
    reason = "not joined, because the head is not up"
    failures = (NodeFailure("head", "no disk"), NodeFailure("w1", reason), NodeFailure("w2", reason))
    assert text_of(NodesFailed("3 nodes failed", failures)) == (f"✗ head: no disk\n\n✗ w1, w2: {reason}\n\n3 nodes failed")


def test_nodes_that_printed_something_are_told_each() -> None:
    failures = (STEP, NodeFailure("w2", STEP.reason, STEP.step, 3, ("other words",), "/m/2.log"))
    assert text_of(NodesFailed("2 nodes failed", failures)).count("✗") == 2


def test_an_interrupt_says_how_to_go_on() -> None:
    assert text_of(Interrupted("interrupted; what was done stays done", hint="rayctl up 'my file.yaml'")) == (
        "interrupted; what was done stays done; to go on from there:\n  rayctl up 'my file.yaml'"
    )


def test_a_broken_file_shows_all_its_problems() -> None:
    problems = (Problem("a", "unknown key `a`", 3, 1, "did you mean `b`?"), Problem("", "odd"))
    assert text_of(ConfigError("c.yaml", problems)) == (
        "c.yaml:3:1: error: unknown key `a`\n  fix: did you mean `b`?\nc.yaml: error: odd\nc.yaml: 2 errors, 0 warnings"
    )


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NodesFailed("x", ()), 1),
        (ConfigError("c.yaml", (Problem("", "x"),)), 2),
        (Refused("x"), 3),
        (Unreachable("x"), 4),
        (Busy("x"), 5),
        (Interrupted("x"), 130),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("x"), 1),
    ],
)
def test_each_kind_of_error_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert explain(error) == code
    out, err = capsys.readouterr()
    assert out == "", "data goes to stdout, talk to stderr"
    assert "Traceback" not in err


def test_a_bug_asks_for_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    explain(KeyError("x"))
    assert "rayctl --debug" in capsys.readouterr().err


def test_only_debug_shows_a_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYCTL_DEBUG", "1")
    try:
        raise Refused("no", hint="go away")
    except Refused as error:
        assert explain(error) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("error: no\n  fix: go away\n")
