# SPDX-License-Identifier: Apache-2.0
"""Whether this machine can carry a lab, said in words for people."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from . import base

TOOLS = ("systemd-nspawn", "ip", "iptables", "ssh", "rsync", "nsenter")
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


def cannot_prepare() -> str:
    """Why a lab can never run here, or nothing."""
    if sys.platform != "linux":
        return "the lab needs Linux"
    if os.geteuid():
        return "the lab needs root"
    if missing := [name for name, bit in CAPABILITIES.items() if not _effective_capabilities() >> bit & 1]:
        return f"the lab needs {' and '.join(missing)}"
    if not shutil.which("apt-get"):
        return "the lab needs Debian or Ubuntu: its hosts are made of the machine's own packages"
    return "" if _has_overlay() else "the lab needs overlayfs in the kernel"


def cannot_run() -> str:
    """Why no lab can be brought up here now, or nothing."""
    if reason := cannot_prepare():
        return reason
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing or not base.tree().exists():
        return "the lab is not prepared: run `make lab`"
    return ""


def must_run() -> bool:
    """Whether this is CI, where tests on real hosts are not skipped."""
    return os.environ.get("CI", "").lower() not in {"", "0", "false"}


def _effective_capabilities() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["CapEff"], 16)


def _has_overlay() -> bool:
    if "\toverlay\n" not in Path("/proc/filesystems").read_text() and shutil.which("modprobe"):
        subprocess.run(["modprobe", "overlay"], capture_output=True, check=False)
    return "\toverlay\n" in Path("/proc/filesystems").read_text()
