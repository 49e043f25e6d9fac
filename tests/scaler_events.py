# SPDX-License-Identifier: Apache-2.0
"""What a scaler has told as JSON lines."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any


def events_in(file: Path, kind: str = "") -> list[dict[str, Any]]:
    """Its events, all or of one kind; lines that are none are left out."""
    found = []
    for line in file.read_text().splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return [event for event in found if not kind or event["kind"] == kind]
