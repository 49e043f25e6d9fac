# SPDX-License-Identifier: Apache-2.0
"""Fixtures of tests that send something to a node's shell."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from shell_node import Node, make_node


@pytest.fixture
def rsync() -> None:
    """Tests that take this one need rsync, which in CI must be there."""
    if shutil.which("rsync") is None:
        if os.environ.get("CI", "").lower() in {"", "0", "false"}:
            pytest.skip("rsync is not installed")
        pytest.fail("rsync is not installed, and in CI it must be")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return make_node(tmp_path)
