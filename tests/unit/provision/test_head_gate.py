# SPDX-License-Identifier: Apache-2.0
"""Workers join once the head of their run answers, and are told why when it does not."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

import pytest

from rayctl.provision.conversation import HeadGate
from rayctl.provision.deployment import Deployment

WORD = {"event": "head", "ok": True, "address": "127.0.0.2", "port": 6379, "incarnation": "x-1-2", "versions": "2.60.0 3.11"}


def gate(folder: Path, *, expected: bool = True) -> HeadGate:
    deployment: Any = type("NoHead", (), {"head": None})()
    return HeadGate(cast(Deployment, deployment), folder, expected=expected)


def test_the_word_of_the_head_reaches_waiting_workers(tmp_path: Path) -> None:
    heard: list[Any] = []
    waiting = threading.Thread(target=lambda: heard.append(gate(tmp_path).wait(lambda: False)))
    waiting.start()
    gate(tmp_path).open(WORD)
    waiting.join(5)
    assert heard == [WORD]


def test_the_first_word_counts(tmp_path: Path) -> None:
    """A head that answered and then failed in a later command can be joined all the same."""
    gate(tmp_path).open(WORD)
    gate(tmp_path).close({"failed": True, "message": "exit code 3"}, check=False)
    assert gate(tmp_path).wait(lambda: False) == WORD


def test_a_head_that_failed_tells_the_workers_why(tmp_path: Path) -> None:
    gate(tmp_path).close({"failed": True, "message": "ray start ended with exit code 3"}, check=False)
    answer = gate(tmp_path).wait(lambda: False)
    assert not answer["ok"]
    assert "ray start ended with exit code 3" in answer["message"]


@pytest.mark.parametrize("reason", [None, "a restart was asked for"])
def test_in_check_mode_workers_learn_whether_the_head_would_restart(tmp_path: Path, reason: str | None) -> None:
    gate(tmp_path).close({"failed": False, "incarnation": "x-1-2", "ray": reason}, check=True)
    assert gate(tmp_path).wait(lambda: False) == {"ok": True, "incarnation": "x-1-2", "restarts": bool(reason)}


def test_a_head_that_gives_no_sign_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    answer = gate(tmp_path).wait(lambda: False, patience_s=0.05)
    assert not answer["ok"]
    assert "gave no sign" in answer["message"]


def test_a_cancel_ends_the_waiting(tmp_path: Path) -> None:
    assert not gate(tmp_path).wait(lambda: True)["ok"]


def test_without_any_head_a_limited_run_says_so(tmp_path: Path) -> None:
    answer = gate(tmp_path, expected=False).wait(lambda: False)
    assert not answer["ok"]
    assert "there is no head" in answer["message"]
