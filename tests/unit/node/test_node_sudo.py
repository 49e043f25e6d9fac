# SPDX-License-Identifier: Apache-2.0
"""How sudo is called, and what is made of what it says."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from stand_in_sudo import StandIn

from rayctl.node import sudo
from rayctl.node.sudo import Sudo

ME = pwd.getpwuid(os.geteuid()).pw_name


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    return StandIn(tmp_path, monkeypatch)


def said_by(caller: Sudo, *argv: str) -> tuple[int, str]:
    child = caller.call(*argv)
    assert child.stderr is not None
    with child.stderr:
        return child.wait(), child.stderr.read().decode()


def test_sudo_without_a_password_is_never_given_one(stand_in: StandIn) -> None:
    assert said_by(Sudo("hunter2"), "sh", "-c", "cat >&2")[1] == ""
    assert stand_in.calls == ["-n"]


def test_the_password_is_given_once_sudo_asked_and_from_then_on(stand_in: StandIn) -> None:
    stand_in.asks_for("hunter2")
    caller = Sudo("hunter2")
    rc, said = said_by(caller, "true")
    assert (rc, caller.learned(said)) == (1, True)
    assert [said_by(caller, "true") for _ in range(2)] == [(0, "")] * 2
    assert stand_in.calls == ["-n", "-S", "-S"]


def test_what_sudo_starts_does_not_see_the_password(stand_in: StandIn) -> None:
    stand_in.asks_for("hunter2")
    caller = Sudo("hunter2")
    caller.learned("a password is required")
    assert said_by(caller, "sh", "-c", "cat >&2; env >&2; tr '\\0' '\\n' < /proc/$PPID/cmdline >&2")[0] == 0
    child = caller.call("sh", "-c", "cat; env; tr '\\0' ' ' < /proc/$PPID/cmdline >&2")
    assert child.stderr is not None
    with child.stderr:
        assert b"hunter2" not in child.stderr.read()
    child.wait()


def test_a_wrong_password_is_tried_once_and_waits_for_nothing(stand_in: StandIn) -> None:
    stand_in.asks_for("hunter2")
    caller = Sudo("a guess")
    caller.learned("a password is required")
    rc, said = said_by(caller, "true")
    assert (rc, caller.learned(said)) == (1, False)
    assert sudo.meaning(said, rc) == f"sudo did not take the password for {ME} on this host"


def test_passwords_of_any_letters_arrive(stand_in: StandIn) -> None:
    password = " pässwört 'with\" $HOME \\n"
    stand_in.asks_for(password)
    caller = Sudo(password)
    caller.learned("a password is required")
    assert said_by(caller, "true") == (0, "")


def test_without_a_password_there_is_no_second_call() -> None:
    assert not Sudo().learned("sudo: a password is required")


def test_other_words_are_no_reason_for_a_second_call() -> None:
    assert not Sudo("hunter2").learned("ray is not in the sudoers file.")


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("sudo: a password is required", "sudo asks for a password on this host: give it with --ask-become-pass"),
        ("sudo: interactive authentication is required", "sudo asks for a password on this host"),
        (
            "We trust you have received the usual lecture\n\nSorry, try again.\n\nsudo: no password was provided\n"
            "sudo: 1 incorrect password attempt\n",
            "sudo did not take the password for",
        ),
        ("sudo-rs: Authentication failed, try again.", "sudo did not take the password for"),
        ("sudo: unable to resolve host h1: Name or service not known\nray is not in the sudoers file.\n", "sudo does not let"),
        ("ray is not in the sudoers file.  This incident will be reported.", "sudo does not let"),
        ("Sorry, user ray may not run sudo on h1.", "sudo does not let"),
        ("Sorry, user ray is not allowed to execute '/usr/bin/python3 -I -S' as root on h1.", "sudo does not let"),
        ("sudo: sorry, you must have a tty to run sudo", "sudo wants a terminal on this host: add `Defaults:"),
        ("a\nsudo: unable to open /etc/sudoers\n\n", "sudo ended with exit code 1: sudo: unable to open /etc/sudoers"),
        ("", "sudo ended with exit code 1: it said nothing"),
    ],
)
def test_what_sudo_says_is_put_into_one_sentence(said: str, meant: str) -> None:
    sentence = sudo.meaning(said, 1)
    assert sentence.startswith(meant)
    assert "\n" not in sentence
