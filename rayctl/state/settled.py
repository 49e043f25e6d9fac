# SPDX-License-Identifier: Apache-2.0
"""Which cluster files an `up` has brought about as they are now. A hint, for speed alone: nothing is left out because of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rayctl.errors import RayctlError
from rayctl.state import files

KIND, VERSION = "settled", 1


def is_settled(root: Path, file: Path, flags: Mapping[str, Any]) -> bool:
    """Whether the last `up` of this file, as it is now and with these flags, ended well."""
    with suppress(OSError, RayctlError):
        return files.read(_place(root, file), KIND, VERSION) == {"stamp": _stamp(file, flags)}
    return False


def settle(root: Path, file: Path, flags: Mapping[str, Any]) -> None:
    """It did just now."""
    with suppress(OSError, RayctlError):
        files.write(_place(root, file), KIND, VERSION, {"stamp": _stamp(file, flags)})


def unsettle(root: Path, file: Path) -> None:
    """It did not, or is about to be another."""
    with suppress(OSError):
        _place(root, file).unlink(missing_ok=True)


def _place(root: Path, file: Path) -> Path:
    return root / "settled" / f"{_digest(str(file.resolve()).encode(errors='surrogateescape'))}.json"


def _stamp(file: Path, flags: Mapping[str, Any]) -> str:
    return _digest(file.read_bytes(), repr(sorted(flags.items())).encode())


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()[:32]
