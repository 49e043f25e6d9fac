# SPDX-License-Identifier: Apache-2.0
"""The secret that Ray's processes of one cluster share; who has it can run anything on the cluster.

Unlike every other stored file it is no JSON: it is what `RAY_AUTH_TOKEN_PATH` points at, so it holds the token alone. It
is never printed; whoever reads it registers it with the run's redactor.
"""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from rayctl.errors import StateRefused
from rayctl.state import private

FORM = re.compile(rb"[0-9a-f]{64}")


def ensure(path: Path) -> str:
    """The cluster's token, 64 hex digits, made at the first call; racing processes all get the same one."""
    token = read(path)
    if token is None:
        private.create(path, secrets.token_hex(32).encode())
        token = read(path)
    if token is None:
        raise StateRefused(f"{path} was removed while it was made", hint="Run the command again.")
    return token


def read(path: Path) -> str | None:
    """The token; None when none was made yet. Raises `StateRefused` for a file that is open to others or holds no token."""
    content = private.load(path)
    if content is None:
        return None
    if not FORM.fullmatch(content.strip()):
        raise StateRefused(
            f"{path} holds no token of a cluster (64 hex digits)",
            hint="Bring back the right file from the head or another controller; with a new one the cluster needs a restart.",
        )
    return content.strip().decode()
