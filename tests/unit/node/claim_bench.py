# SPDX-License-Identifier: Apache-2.0
"""One host with a folder of claims and the homes of its users: what the tests of claims share."""

from __future__ import annotations

import os
import pickle
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from rayctl.node import claim, processes, state
from rayctl.node.claims import Board, Claim

ANNA, BOB = 61001, 61002
NOBODY_LIVES = (4_000_000, 1, "raylet")  # above the highest pid there can be
T = TypeVar("T")

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")


def request(**changes: Any) -> claim.Request:
    """What `up` asks of the host of the cluster demo's head."""
    given: dict[str, Any] = {
        "cluster": "demo", "node": "h1", "node_kind": "head", "type": "cpu", "owner": "anna@laptop", "resources": {"CPU": 4.0},
        "labels": {}, "tags": {}, "cluster_id": "id-demo", "token": "token-1",
    }  # fmt: skip
    return claim.Request(**{**given, **changes})


def myself() -> tuple[int, int, str]:
    """This process as a claim names it."""
    me = processes.find(os.getpid())
    assert me is not None
    return me[:3]


class Host:
    """A host: everybody's claims in `place`, each user's home below `homes`."""

    def __init__(self, folder: Path) -> None:
        self.place, self.homes = folder / "claims", folder / "homes"
        for made, mode in ((folder, 0o755), (self.place, 0o1777), (self.homes, 0o1777)):
            made.mkdir(exist_ok=True)
            made.chmod(mode)

    def state_dir(self, cluster: str = "demo") -> str:
        """Where a cluster of the caller keeps its things."""
        return str(self.homes / str(os.geteuid()) / ".rayctl" / cluster)

    def folder(self, cluster: str = "demo") -> Path:
        """The node's own folder there."""
        return Path(state.folder_of(self.state_dir(cluster)))

    def take(self, **changes: Any) -> Claim | claim.Held:
        """Claim it."""
        wanted = request(**changes)
        return claim.take(self.state_dir(wanted.cluster), wanted, str(self.place))

    def taken(self, **changes: Any) -> Claim:
        """Claim it with success."""
        got = self.take(**changes)
        assert isinstance(got, Claim)
        return got

    def refused(self, **changes: Any) -> claim.Held:
        """Claim it and come second."""
        got = self.take(**changes)
        assert isinstance(got, claim.Held)
        return got

    def record(self, *named: tuple[int, int, str], cluster: str = "demo") -> None:
        """What a run does."""
        claim.record(self.state_dir(cluster), f"id-{cluster}", named, str(self.place))

    @property
    def board(self) -> Board:
        """The claims, as the caller sees them."""
        return Board(str(self.place))

    def file(self, uid: int | None = None) -> Path:
        """A user's public claim."""
        return self.place / f"rayctl-claim.{os.geteuid() if uid is None else uid}"

    def change(self, **changes: Any) -> Claim:
        """Rewrite the caller's own claim."""
        mine = self.board.mine()
        assert mine is not None
        self.board.write(mine._replace(**changes))
        return mine._replace(**changes)


def as_user(uid: int, act: Callable[[], T]) -> T:
    """What `act` returns, or raises, when this user does it, in a process of their own."""
    return start_as(uid, act)()


def start_as(uid: int, act: Callable[[], T]) -> Callable[[], T]:
    """Begin it; the result is for whoever calls what is returned. A fork: other users may not read our interpreter."""
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on forks beside threads: ours only computes
        child = os.fork()
    if child == 0:
        _be(uid, act, writing)
    os.close(writing)

    def result() -> T:
        with os.fdopen(reading, "rb") as pipe:
            content = pipe.read()
        _, status = os.waitpid(child, 0)
        assert status == 0, f"the child ended with status {status}"
        worked, value = pickle.loads(content)
        if not worked:
            raise value
        return value

    return result


def _be(uid: int, act: Callable[[], Any], writing: int) -> None:
    try:
        if uid != os.geteuid():
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
        os.umask(0o077)
        try:
            told = (True, act())
        except Exception as problem:
            told = (False, problem)
        os.write(writing, pickle.dumps(told))
        os._exit(0)
    finally:
        os._exit(1)


def killed_at(call: int, act: Callable[[], Any]) -> bool:
    """Do it in a process that is killed right before its n-th call that changes a file system; whether it came to that."""
    child = os.fork()
    if child == 0:
        left = [call]

        def counting(function: Callable[..., Any]) -> Callable[..., Any]:
            def counted(*args: Any, **named: Any) -> Any:
                left[0] -= 1
                if left[0] <= 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **named)

            return counted

        for name in ("open", "fsync", "fchmod", "rename", "replace", "unlink", "rmdir", "makedirs", "chmod"):
            setattr(os, name, counting(getattr(os, name)))
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
