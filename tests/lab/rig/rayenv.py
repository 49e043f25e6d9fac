# SPDX-License-Identifier: Apache-2.0
"""The venv with Ray that all hosts share, read-only, at /opt/rayenv."""

from __future__ import annotations

import hashlib
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from . import base, places
from .box import remove_tree, run

INSIDE = Path("/opt/rayenv")


def folder() -> Path | None:
    """Where the venv lies, named after its Ray and the tree whose Python it uses; None where this Python has no Ray itself."""
    try:
        ray = version("ray")
    except PackageNotFoundError:
        return None
    # the hosts run the Ray that the tests themselves run
    return places.state() / f"rayenv-{ray}-{hashlib.sha256(base.tree().name.encode()).hexdigest()[:12]}"


def build() -> None:
    """Make the venv, if it is not there: wheels fetched by the box's pip, installed without network by the hosts' Python."""
    venv = folder()
    if venv is None or venv.exists():
        return
    requirement = f"ray[default]=={version('ray')}"
    unfinished, wheels = places.unfinished("rayenv"), places.unfinished("wheels")
    _fetch(requirement, wheels)
    _install(requirement, wheels, unfinished)
    unfinished.rename(venv)
    remove_tree(wheels)


def _fetch(requirement: str, wheels: Path) -> None:
    """Fetch what the hosts' Python needs, as pip is configured here."""
    show = "import sys; print('%d.%d' % sys.version_info[:2])"
    python = run("chroot", base.tree(), "python3", "-c", show).stdout.strip()
    run(
        sys.executable, "-m", "pip", "download", "--quiet", "--dest", wheels, "--python-version", python,
        "--only-binary=:all:", requirement, seconds=1200,
    )  # fmt: skip


def _install(requirement: str, wheels: Path, venv: Path) -> None:
    """Install in a guest: a venv points to the interpreter that made it, and knows its own path."""
    script = f"python3 -m venv {INSIDE}; {INSIDE}/bin/pip install --quiet --no-index --find-links /mnt '{requirement}'"
    run(
        "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--as-pid2", "--pipe", "--private-network",
        "--volatile=overlay", "-D", base.tree(), f"--bind={venv}:{INSIDE}", f"--bind-ro={wheels}:/mnt",
        "sh", "-ec", script, seconds=1200,
    )  # fmt: skip
