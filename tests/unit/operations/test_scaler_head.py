# SPDX-License-Identifier: Apache-2.0
"""The scaler and the Ray it meets."""

from __future__ import annotations

from typing import Any

import pytest

from rayctl.errors import Refused
from rayctl.gcs.view import ClusterView
from rayctl.operations.scaling.head import Head


class Rays:
    """A head's client that tells a version."""

    def __init__(self, version: str) -> None:
        self.version = version

    def cluster(self, **_: Any) -> ClusterView:
        return ClusterView("session_1")

    def ray_version(self) -> str:
        return self.version

    def get(self, key: bytes, *, namespace: bytes) -> bytes:
        return b"1"


def met(monkeypatch: pytest.MonkeyPatch, version: str) -> Head:
    head = Head(None, None)  # type: ignore[arg-type]
    monkeypatch.setattr(head, "ask", lambda question: question(Rays(version)))
    monkeypatch.setattr(head, "_link_log", lambda: None)
    return head


@pytest.mark.parametrize("version", ["2.4.0", "2.9.3", "1.13.0"])
def test_a_ray_that_is_too_old_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    with pytest.raises(Refused, match=rf"needs Ray 2\.10 or newer, and the cluster runs {version}; nothing was touched"):
        met(monkeypatch, version).sight()


@pytest.mark.parametrize("version", ["2.10.0", "2.60.0", "3.0.0.dev0"])
def test_newer_ones_are_seen(monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    assert met(monkeypatch, version).sight().identity == "session_1"
