# SPDX-License-Identifier: Apache-2.0
"""The tree that all hosts share: Debian or Ubuntu as the box has it, systemd, sshd, Python, and one user."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

from . import places
from .box import LabError, run

USER = "ray"
PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "sudo", "python3", "python3-venv", "rsync",
    "iproute2", "iptables", "iputils-ping", "procps", "curl", "ca-certificates", "tmux", "screen", "netcat-openbsd", "less",
)  # fmt: skip
MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
    "fstrim.timer", "console-getty.service", "systemd-networkd-wait-online.service",
)  # fmt: skip
# Each host makes its own host key and machine id: two machines with the same ones would be one.
FINISH = f"""\
set -e
chroot "$1" useradd --create-home --uid 1000 --shell /bin/bash {USER}
rm -f "$1"/etc/ssh/ssh_host_* "$1/var/lib/dbus/machine-id"
: > "$1/etc/machine-id"
systemctl --root="$1" mask {" ".join(MASKED)}
mkdir -p "$1/opt/rayenv" "$1/var/log/journal"
echo 'SystemMaxUse=16M' >> "$1/etc/systemd/journald.conf"
echo '[ ! -x /opt/rayenv/bin/ray ] || PATH=/opt/rayenv/bin:$PATH' > "$1/etc/profile.d/ray.sh"
"""


# mmdebstrap mounts the box's /sys and /dev/shm in the tree. In namespaces of its own, which end with us, they cannot stay.
CONFINED = (
    "setpriv", "--pdeathsig=KILL",
    "unshare", "--mount", "--propagation=private", "--pid", "--fork", "--kill-child", "--mount-proc",
)  # fmt: skip


def tree() -> Path:
    """Where the tree lies, named after what it is made of."""
    recipe = "\n".join([_suite(), platform.machine(), *PACKAGES, FINISH])
    return places.state() / f"base-{_suite()}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def build() -> None:
    """Make the tree from the box's own package archives, if it is not there."""
    if tree().exists():
        return
    unfinished = places.unfinished("base")
    run(
        *CONFINED, "mmdebstrap", "--mode=root", "--variant=minbase",
        f"--include={','.join(PACKAGES)}", f"--customize-hook={FINISH}", _suite(), unfinished, "-",
        text=_archives(), seconds=900,
    )  # fmt: skip
    unfinished.rename(tree())


def _suite() -> str:
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return release.get("VERSION_CODENAME", "").strip('"')


def _archives() -> str:
    """The distribution's own archives as this box's apt is set up, as lines of a sources.list."""
    fields = "$(ORIGIN)|$(REPO_URI)|$(CODENAME)|$(COMPONENT)"
    rows = run("apt-get", "indextargets", "--format", fields, "Created-By: Packages").stdout.splitlines()
    origins = [row.split("|") for row in rows if row.count("|") == 3]
    lines = {
        f"deb {uri} {codename} {component}\n"
        for origin, uri, codename, component in origins
        if origin in {"Debian", "Ubuntu"} and codename.startswith(_suite())
    }
    if not lines:
        raise LabError("apt on this machine knows no archive of Debian or Ubuntu; run apt-get update, or look at its sources")
    return "".join(sorted(lines))
