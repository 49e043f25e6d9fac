# SPDX-License-Identifier: Apache-2.0
"""A block of ports for each embedded node.

Ray listens on all interfaces even where a node has an address of its own, so two nodes on one machine must not share a
port. Blocks lie below the ports that the kernel hands out to outgoing connections: a port inside could be gone between
the choice and Ray's start.
"""

from __future__ import annotations

import socket
from collections.abc import Container, Iterable
from pathlib import Path

SIZE = 256
LOWEST, HIGHEST = 10240, 32767
FOR_WORKERS = 16  # the ports before this one are for daemons, the rest for Ray's workers and drivers
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")

DAEMONS = {
    "object-manager-port": 3,
    "node-manager-port": 4,
    "dashboard-agent-grpc-port": 5,
    "dashboard-agent-listen-port": 6,
    "metrics-export-port": 7,
    "runtime-env-agent-port": 8,
}
HEAD_DAEMONS = {"port": 0, "ray-client-server-port": 1, "dashboard-port": 2}
HEAD_VARIABLES = {"AUTOSCALER_METRIC_PORT": 9, "DASHBOARD_METRIC_PORT": 10}  # of Ray; there are no flags for these


def flags(first: int, *, head: bool) -> dict[str, str]:
    """The port flags of `ray start` for the block that begins at `first`: every port fixed, so that Ray waits for none."""
    offsets = DAEMONS | (HEAD_DAEMONS if head else {})
    numbers = {flag: first + offset for flag, offset in offsets.items()}
    numbers |= {"min-worker-port": first + FOR_WORKERS, "max-worker-port": first + SIZE - 1}
    return {flag: str(number) for flag, number in numbers.items()}


def variables(first: int) -> dict[str, str]:
    """The ports of a head that Ray takes from its environment: with its defaults, two heads of a machine would want one."""
    return {name: str(first + offset) for name, offset in HEAD_VARIABLES.items()}


def blocks(ephemeral: tuple[int, int], *, uid: int = 0) -> list[int]:
    """The first ports of all blocks outside the ephemeral range.

    Each user begins elsewhere in the list: another's blocks are not seen as taken before something listens in them.
    """
    low, high = ephemeral
    outside = [first for first in range(LOWEST, HIGHEST + 2 - SIZE, SIZE) if first + SIZE <= low or first > high]
    turn = uid % len(outside) if outside else 0
    return outside[turn:] + outside[:turn]


def choose(candidates: Iterable[int], taken: Container[int]) -> int | None:
    """The first block that no node has and nothing listens in; None when there is none."""
    return next((first for first in candidates if first not in taken and is_free(first)), None)


def is_free(first: int) -> bool:
    """Whether no program listens on any port of the block, on any address."""
    return all(_can_bind(port) for port in range(first, first + SIZE))


def ephemeral_range() -> tuple[int, int]:
    """The lowest and the highest port that the kernel gives to outgoing connections."""
    low, high = EPHEMERAL.read_text().split()
    return int(low), int(high)


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # connections that just ended do not count, a listener does
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))  # noqa: S104  nothing listens here: this asks about all addresses at once
        except OSError:
            return False
    return True
