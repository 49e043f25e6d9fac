# SPDX-License-Identifier: Apache-2.0
"""Provider types that come from elsewhere."""

from __future__ import annotations

from importlib import metadata

import pytest

from rayctl.config import provider


def test_a_provider_of_an_installed_package_is_known_by_its_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    point = metadata.EntryPoint("metal", "nowhere.at_all:Provider", provider.GROUP)
    monkeypatch.setattr(metadata, "entry_points", lambda **which: [point] if which["name"] == "metal" else [])
    block = provider.block_of("metal")
    assert block is not None
    assert block.model_validate({"type": "metal", "racks": 3}).settings() == {"type": "metal", "racks": 3}
    assert provider.block_of("mettal") is None
