# SPDX-License-Identifier: Apache-2.0
"""The test lab: machines on one Linux machine, for tests of a launcher that works over SSH.

A host is a systemd-nspawn guest: a network namespace on a bridge, an overlay over one shared tree with its upper layer on a
tmpfs of limited size, systemd as its PID 1, sshd, a user with sudo, and Ray in a shared read-only venv. `prepare` makes the
tree and the venv once per machine, `lab.Lab.up` makes hosts of them, and `host.Host` has a verb for what can happen to one.
See docs/lab.md.
"""

from __future__ import annotations

from .box import LabError
from .host import Host
from .lab import Lab

__all__ = ["Host", "Lab", "LabError"]
