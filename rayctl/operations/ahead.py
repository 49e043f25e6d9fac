# SPDX-License-Identifier: Apache-2.0
"""Ansible takes half a second to load. An `up` that is bound to play something lets it load from its first moment on."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayctl.errors import RayctlError
from rayctl.state import paths, settled

if TYPE_CHECKING:
    from rayctl.provision.ansible_process import AnsibleProcess


@contextmanager
def of_up(file: Path, flags: Mapping[str, Any], *, forced: bool, check: bool) -> Iterator[AnsibleProcess | None]:
    """The block is the `up`. Ansible loads during it where there is probably something to play.

    That is so when flags force it, or when the file was not brought about as it is now, with these flags. Only one that
    succeeds, and is no `check`, changes this. What cannot be started here is started, or told, when it is needed; and where
    rayctl was never used before, nothing is written before the file has been read.
    """
    root = paths.home(os.environ)
    expected = forced or not settled.is_settled(root, file, flags)
    ansible = _started() if expected and root.is_dir() and file.is_file() else None
    done = False
    try:
        with closing(ansible) if ansible else nullcontext():
            yield ansible
        done = True
    finally:
        if done and not check:
            settled.settle(root, file, flags)
        elif not check:
            settled.unsettle(root, file)


def _started() -> AnsibleProcess | None:
    from rayctl.provision.ansible_process import AnsibleProcess

    try:
        return AnsibleProcess()
    except (RayctlError, OSError):
        return None
