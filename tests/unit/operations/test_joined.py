# SPDX-License-Identifier: Apache-2.0
"""Where the head's GCS is asked on a host that others use too, and when nobody is asked at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rayctl.errors import Refused
from rayctl.gcs.errors import GcsUnavailable
from rayctl.operations import joined, tokens
from rayctl.operations.session import Session
from rayctl.transport.glance import Glance
from rayctl.transport.ssh import SshTransport

GCS = [7, 70, "gcs_server"]


class Head(SshTransport):
    """A head reached by ssh that tells what it remembers of its Ray and which of its processes live."""

    def __init__(self, ray: dict[str, Any] | None, lives: bool = True, forwards: bool = True) -> None:
        self.ray, self.lives, self.forwards = ray, lives, forwards
        self.asked: list[str] = []

    def probe(self, mark: str) -> dict[str, Any]:
        return {"ray": self.ray}

    def glance(self) -> Glance:
        return Glance("m", "b", 1.0, 1000, "ray", "h1", started={7: 70} if self.lives else {})

    def forward(self, host: str, port: int) -> Path:
        if not self.forwards:
            raise Refused("h1 does not let ssh forward ports")
        self.asked.append(f"{host}:{port}")
        return Path("/run/forward")


def started(port: int) -> dict[str, Any]:
    return {"port": port, "processes": [GCS, [8, 80, "raylet"]]}


def session(desk: Any, monkeypatch: pytest.MonkeyPatch, head: Head) -> Session:
    desk.machines.identity = "c1"
    desk.machines.add("demo-head")
    monkeypatch.setattr(Session, "transport", lambda *_: head)
    monkeypatch.setattr(tokens, "known", lambda _: "")
    made: Session = desk.session()
    return made


def test_the_head_is_asked_through_ssh_at_the_port_that_it_chose(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    head = Head(started(20105))
    with joined.client(session(desk, monkeypatch, head), 1.0) as client:
        assert client.address == "127.0.0.9:20105"
    assert head.asked == ["127.0.0.1:20105"]


def test_a_head_that_forwards_nothing_is_asked_at_its_address(desk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with joined.client(session(desk, monkeypatch, Head(started(20105), forwards=False)), 1.0) as client:
        assert client.address == "127.0.0.9:20105"


@pytest.mark.parametrize(("ray", "lives"), [(None, True), (started(6379), False)])
def test_nobody_is_asked_where_our_gcs_does_not_run(
    desk: Any, monkeypatch: pytest.MonkeyPatch, ray: dict[str, Any] | None, lives: bool
) -> None:
    head = Head(ray, lives=lives)
    with (
        pytest.raises(GcsUnavailable, match="no GCS that rayctl started runs there"),
        joined.client(session(desk, monkeypatch, head), 1.0),
    ):
        pass
    assert head.asked == []
