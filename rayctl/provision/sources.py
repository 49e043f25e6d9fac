# SPDX-License-Identifier: Apache-2.0
"""File mounts as a cluster file declares them: where a single file goes, and refs of git repositories as files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from rayctl.config import gitref
from rayctl.errors import RayctlError
from rayctl.provision.mounts import Mount
from rayctl.state import paths, private


def declared(target: str, source: Path, exclude: tuple[str, ...] = (), filters: tuple[str, ...] = ()) -> Mount:
    """The mount of an expanded local path.

    A single file whose target ends in "/" goes into that folder under its own name, as with Ray and rsync. A git ref is a
    file with its commit, no matter where git keeps it. Raises RayctlError when such a file cannot be kept.
    """
    name = source.name if target.endswith("/") and not source.is_dir() else ""
    found = gitref.commit(source)
    return Mount(target + name, _kept(source, found) if found else source, exclude, filters)


def _kept(ref: Path, commit: str) -> Path:
    """A file with the commit; its mode does not depend on the user's umask, and its time changes with the commit only."""
    name = hashlib.sha256(os.fsencode(ref.absolute())).hexdigest()[:32]
    path = private.private_dir(paths.home(os.environ) / "cache" / "refs") / name
    try:
        if not path.exists() or path.read_text() != f"{commit}\n":
            _replace(path, f"{commit}\n")
    except OSError as e:
        raise RayctlError(f"the commit of {ref} cannot be kept in {path}: {e.strerror}") from None
    return path


def _replace(path: Path, text: str) -> None:
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        new = Path(folder, "new")
        new.write_text(text)
        new.chmod(0o644)
        new.replace(path)
