# SPDX-License-Identifier: Apache-2.0
"""How much is said, and how it looks: flags, NO_COLOR, terminals and pipes."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rayctl.cli import looks
from rayctl.cli.looks import Looks
from rayctl.events.screen import ScreenSink
from rayctl.events.sinks import JsonLinesSink, PlainSink

NAMES = {JsonLinesSink: "json", PlainSink: "plain", ScreenSink: "screen"}


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def said(*words: str, within: Callable[[Looks], Any]) -> Any:
    """What a command finds out of its looks when it is run with these words."""
    found: list[Any] = []

    @click.command()
    @looks.options
    def command() -> None:
        found.append(within(looks.current()))

    result = CliRunner().invoke(command, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    ("words", "form", "on_a_terminal", "found"),
    [
        ([], "text", False, ("plain", 0)),
        ([], "text", True, ("screen", 0)),
        (["-v"], "text", True, ("screen", 1)),
        (["-vv"], "text", False, ("plain", 2)),
        (["--quiet"], "text", True, ("plain", -1)),
        (["--log-style", "record"], "text", True, ("plain", 0)),
        (["--log-style", "pretty"], "text", False, ("screen", 0)),
        (["--log-style", "pretty"], "json", True, ("json", 0)),
    ],
)
def test_who_tells_what_happens(
    words: list[str], form: str, on_a_terminal: bool, found: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def within(asked: Looks) -> tuple[str, int]:
        monkeypatch.setattr("sys.stderr", Terminal() if on_a_terminal else io.StringIO())
        (made,) = asked.sinks(form)
        return NAMES[type(made)], asked.verbosity

    assert said(*words, within=within) == found


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("sys.stderr", Terminal())
    assert not Looks().drawn


def test_quiet_and_talkative_contradict_each_other() -> None:
    @click.command()
    @looks.options
    def command() -> None:
        pytest.fail("nothing is done")

    result = CliRunner().invoke(command, ["-v", "-q"])
    assert result.exit_code == 2
    assert "--quiet and --verbose contradict each other" in result.output


@pytest.mark.parametrize(
    ("words", "no_color", "stream", "colored"),
    [
        ([], "", Terminal, True),
        ([], "1", Terminal, False),
        ([], "", io.StringIO, False),
        (["--log-color", "false"], "", Terminal, False),
        (["--log-color", "true"], "", io.StringIO, True),
        (["--log-color", "true"], "1", io.StringIO, True),
    ],
)
def test_colors_are_for_terminals_that_want_them(
    words: list[str], no_color: str, stream: type[io.StringIO], colored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)

    def within(found: Looks) -> str:
        out = stream()
        found.console(out).print("[red]a word[/red]")
        return out.getvalue()

    assert ("\x1b[31m" in said(*words, within=within)) == colored


def test_a_file_is_wide_and_a_narrow_terminal_is_narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Looks().console(io.StringIO()).width == looks.WIDTH
    monkeypatch.setenv("COLUMNS", "40")
    assert Looks().console(Terminal()).width == 40


def test_summaries_are_for_people_who_want_them(capsys: pytest.CaptureFixture[str]) -> None:
    for found, form in ((Looks(), "text"), (Looks(quiet=True), "text"), (Looks(), "json")):
        found.summary("demo is up", form)
    assert capsys.readouterr().out == "demo is up\n"
