# SPDX-License-Identifier: Apache-2.0
"""What the providers' tests share."""

from __future__ import annotations

import os

import pytest

from rayctl.providers.embedded import ports


@pytest.fixture
def free_blocks() -> list[int]:
    """Blocks in which nothing listens, and that no test in a parallel worker looks at: a look takes the port for a moment."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 10
    first = 20 + 6 * worker
    return [block for block in ports.blocks((32768, 60999))[first : first + 6] if ports.is_free(block)]
