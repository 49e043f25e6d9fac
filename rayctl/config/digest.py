# SPDX-License-Identifier: Apache-2.0
"""Digests: "has this changed since it was done?", answered the same by every rayctl, on every machine.

A digest is `v1:` + sha256 of canonical JSON (sorted keys, no spaces, UTF-8). It covers what the user wrote and nothing
else: not rayctl's version, not where the user's files lie, no volatile value such as the head's address or a token.
Golden vectors in `tests/unit/config/test_digest.py` hold it for ever; another rule would be `v2:`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

VERSION = "v1"


def canonical(value: Any) -> str:
    """JSON text that is the same for equal values. Only JSON's own types; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """`v1:` + 64 hex digits."""
    # surrogates come from file names that are no UTF-8; they must not make a digest fail
    return f"{VERSION}:{hashlib.sha256(canonical(value).encode('utf-8', 'surrogateescape')).hexdigest()}"


def chain(base: str, steps: Iterable[tuple[str, Mapping[str, str]]]) -> list[str]:
    """One digest per step (command, environment), each covering its step and everything before it.

    `base` is the digest of what comes before the first step: the file mounts.
    """
    digests = []
    for command, env in steps:
        base = digest(["step", base, command, dict(env)])
        digests.append(base)
    return digests


def launch_digest(node_type: str, node_config: Mapping[str, Any]) -> str:
    """What a machine was launched from; another one means that the file wants another machine now."""
    return digest(["launch", node_type, dict(node_config)])
