# SPDX-License-Identifier: Apache-2.0
"""What happens once per machine, before the first lab: packages of the box, the hosts' tree, the venv with Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from . import base, places, rayenv
from .box import run

BOX_PACKAGES = (
    "systemd-container",
    "mmdebstrap",
    "openssh-client",
    "iproute2",
    "iptables",
    "rsync",
    "tmux",
    "screen",
    "redis-tools",
)
WAIT_FOR_APT = ("-o", "DPkg::Lock::Timeout=600")  # another apt may be at work


def prepare() -> Iterator[tuple[str, float]]:
    """Do what is not yet done, and tell each step with the seconds it took. A step that was killed is done anew."""
    steps = (("packages", install_packages), ("tree", base.build), ("Ray", rayenv.build))
    with places.locked("prepare"):
        for name, step in steps:
            began = time.monotonic()
            step()
            yield name, time.monotonic() - began


def install_packages() -> None:
    """Install what the box lacks, and nothing else."""
    shown = run("dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", check=False).stdout
    missing = [name for name in BOX_PACKAGES if f"{name} installed" not in shown.splitlines()]
    if not missing:
        return
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run("apt-get", *WAIT_FOR_APT, "update", "-qq", env=env, seconds=900)
    run("apt-get", *WAIT_FOR_APT, "install", "-qq", "--no-install-recommends", *missing, env=env, seconds=900)
