# SPDX-License-Identifier: Apache-2.0
"""What the wheels for a target come to, without making them: asked by every `up`, so it is remembered."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

from rayctl.config.digest import digest
from rayctl.errors import RayctlError
from rayctl.provision.headscaler import wheels
from rayctl.provision.headscaler.target import Target
from rayctl.state import files, paths

KIND, VERSION, MEMORY = "wheel-digests", 1, "digests.json"


def home() -> Path:
    """Where wheels are kept on this machine."""
    return paths.home(os.environ) / "cache" / "wheels"


def digest_for(target: Target) -> str:
    """The digest of its plan (`wheelhouse.plan`). What looks as it did when that was made last is not read again."""
    memory, stamp = home() / MEMORY, _stamp(target)
    with suppress(RayctlError, OSError):
        known = (files.read(memory, KIND, VERSION) or {}).get("digests", {})
        if stamp in known:
            return str(known[stamp])
    from rayctl.provision.headscaler import wheelhouse

    found = wheelhouse.plan(target).digest
    with suppress(RayctlError, OSError):
        files.write(memory, KIND, VERSION, {"digests": {stamp: found}})
    return found


def _stamp(target: Target) -> str:
    """Changes with what is installed here, and with any file of rayctl's."""
    places = {Path(place) for place in sys.path if place}
    found = (entry.name for place in places if place.is_dir() for entry in os.scandir(place))
    installed = sorted(name for name in found if name.endswith("-info"))
    own = ((name, path.stat()) for name, path in wheels.own_files())
    return digest([target.key, installed, [[name, info.st_size, info.st_mtime_ns] for name, info in own]])
