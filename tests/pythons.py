# SPDX-License-Identifier: Apache-2.0
"""The Pythons that this machine has beside the one that runs the tests."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterable
from pathlib import Path

VERSIONS = Path(pwd.getpwuid(os.geteuid()).pw_dir, ".pyenv", "versions")  # HOME is the tests' own


def pyenv(minors: Iterable[int]) -> list[str]:
    """Paths of those that pyenv has installed."""
    return [str(path) for minor in minors for path in sorted(VERSIONS.glob(f"3.{minor}.*/bin/python"))]
