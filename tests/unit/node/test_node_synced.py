# SPDX-License-Identifier: Apache-2.0
"""A worker's copies of the head's files: asked for once, and again when they look otherwise on the head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayctl.node import synced
from rayctl.node.hub import Talk
from rayctl.node.state import NodeError, NodeState
from rayctl.node.work import Work


class Controller(Talk):
    """Answers as a controller does that knows how the head's files look."""

    def __init__(self, stamp: str, refuses: str = "") -> None:
        self.stamp, self.refuses = stamp, refuses
        self.known: list[str] = []

    def ask(self, what: str, **fields: Any) -> dict[str, Any]:
        assert what == "synced"
        self.known.append(fields["known"])
        if self.refuses:
            return {"ok": False, "message": self.refuses}
        return {"ok": True, "copied": fields["known"] != self.stamp, "stamp": self.stamp}


def work(folder: Path, talk: Talk, paths: list[str]) -> Work:
    state = NodeState(str(folder), "id-1", "w").load()
    return Work({"cluster_id": "id-1", "node": "w", "env": {}, "path_prefix": "", "synced": paths}, state, talk)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node").mkdir(mode=0o700)
    return tmp_path / "node"


def test_files_are_copied_once_and_again_when_the_heads_have_changed(folder: Path) -> None:
    assert synced.bring(work(folder, Controller("v1"), ["~/m"])) == ["~/m"]
    same = Controller("v1")
    assert synced.bring(work(folder, same, ["~/m"])) == []
    assert same.known == ["v1"]
    assert synced.bring(work(folder, Controller("v2"), ["~/m"])) == ["~/m"]


def test_a_node_without_such_files_asks_nobody(folder: Path) -> None:
    talk = Controller("v1")
    assert synced.bring(work(folder, talk, [])) == []
    assert talk.known == []


def test_what_kept_them_away_is_told(folder: Path) -> None:
    with pytest.raises(NodeError, match="the head has nothing there"):
        synced.bring(work(folder, Controller("", "~/m: the head has nothing there"), ["~/m"]))
