# SPDX-License-Identifier: Apache-2.0
"""Ports for rayctl's own start commands on a machine that others use too: the preferred ones, or free ones instead.

Commands of the user's are run as written, with the ports that they name.
"""

from __future__ import annotations

from typing import Dict, List, Mapping, Set

LISTENING = "0A"  # TCP_LISTEN as /proc/net/tcp spells it
SPARE = range(20105, 20505)  # outside of the range of Ray's workers and of what the kernel gives to outgoing connections


def choose(preferred: Dict[str, int]) -> Dict[str, int]:
    """A port for each flag: the preferred one, unless somebody listens there already."""
    taken = _listening()
    chosen: Dict[str, int] = {}
    for flag, port in preferred.items():
        free = (number for number in [port, *SPARE] if number not in taken)
        chosen[flag] = next(free, port)  # where all are taken, Ray says so
        taken.add(chosen[flag])
    return chosen


def flags(chosen: Mapping[str, object]) -> str:
    """The same as flags of `ray start`, in words without blanks."""
    return " ".join("--%s=%s" % flag for flag in chosen.items())


def _listening() -> Set[int]:
    """All TCP ports on which anybody listens."""
    return {int(row[1].rpartition(":")[2], 16) for table in ("tcp", "tcp6") for row in _rows(table) if row[3] == LISTENING}


def _rows(table: str) -> List[List[str]]:
    try:
        with open("/proc/net/%s" % table) as f:
            return [line.split() for line in f][1:]
    except OSError:
        return []  # a machine without IPv6
