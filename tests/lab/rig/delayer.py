# SPDX-License-Identifier: Apache-2.0
"""Hold every packet that the kernel puts into netfilter's queue 0 for some milliseconds: for kernels without sch_netem.

Started as `delayer.py MILLISECONDS --of=HOST` in that host's network namespace.
The messages are those of linux/netfilter/nfnetlink_queue.h.
"""

from __future__ import annotations

import heapq
import select
import socket
import struct
import sys
import time

NETLINK_NETFILTER = 12
SO_RCVBUFFORCE = 33
NFNL_SUBSYS_QUEUE = 3
PACKET, VERDICT, CONFIG = 0, 1, 2
CFG_CMD, CFG_PARAMS, CFG_QUEUE_MAXLEN = 1, 2, 3
CMD_BIND = 1
COPY_NO_PAYLOAD = struct.pack("!IB", 0, 1)
VERDICT_HDR = 2
NF_ACCEPT = 1
PACKET_ID_AT = 24  # the packet's header is the first attribute, its id the first field
QUEUE_LENGTH = 8192


def attribute(kind: int, data: bytes) -> bytes:
    """One netlink attribute, padded to four bytes."""
    return struct.pack("=HH", 4 + len(data), kind) + data + b"\0" * (-len(data) % 4)


class Queue:
    """Netfilter's queue 0 of this network namespace."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
        self.socket.bind((0, 0))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self._send(CONFIG, attribute(CFG_CMD, struct.pack("!BBH", CMD_BIND, 0, socket.AF_INET)))
        self._send(CONFIG, attribute(CFG_PARAMS, COPY_NO_PAYLOAD), attribute(CFG_QUEUE_MAXLEN, struct.pack("!I", QUEUE_LENGTH)))

    def _send(self, kind: int, *attributes: bytes) -> None:
        body = struct.pack("!BBH", 0, 0, 0) + b"".join(attributes)
        self.socket.send(struct.pack("=IHHII", 16 + len(body), NFNL_SUBSYS_QUEUE << 8 | kind, 1, 0, 0) + body)

    def packet(self, seconds: float | None) -> int | None:
        """The id of the next packet, or None when none came in that time."""
        if not select.select([self.socket], [], [], seconds)[0]:
            return None
        message = self.socket.recv(1 << 16)
        is_packet = len(message) >= PACKET_ID_AT + 4 and message[4:6] == bytes((PACKET, NFNL_SUBSYS_QUEUE))
        return struct.unpack_from("!I", message, PACKET_ID_AT)[0] if is_packet else None

    def release(self, packet: int) -> None:
        """Let it go on its way."""
        self._send(VERDICT, attribute(VERDICT_HDR, struct.pack("!II", NF_ACCEPT, packet)))


def delay(seconds: float) -> None:
    """Hold packets until somebody ends this process."""
    queue = Queue()
    held: list[tuple[float, int]] = []
    while True:
        packet = queue.packet(max(0.0, held[0][0] - time.monotonic()) if held else None)
        if packet is not None:
            heapq.heappush(held, (time.monotonic() + seconds, packet))
        while held and held[0][0] <= time.monotonic():
            queue.release(heapq.heappop(held)[1])


if __name__ == "__main__":
    delay(float(sys.argv[1]) / 1000)
