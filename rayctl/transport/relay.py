# SPDX-License-Identifier: Apache-2.0
"""A port of this machine that leads to another place, through this process."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

CHUNK = 65536
LOOK_S = 0.05


@contextmanager
def relay(here: tuple[str, int], place: tuple[str, int]) -> Iterator[None]:
    """Hand connections on, from one host and port to another, while the block runs. Raises `OSError` where `here` is taken."""
    with _Relay(here, _Line) as server:
        server.place = place
        threading.Thread(target=server.serve_forever, args=(LOOK_S,), daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()


class _Relay(socketserver.ThreadingTCPServer):
    """Hands each connection on to `place`. It has a thread per direction: it is for a browser, not for a crowd."""

    place: tuple[str, int]
    allow_reuse_address, daemon_threads, block_on_close = True, True, False


class _Line(socketserver.BaseRequestHandler):
    """One connection."""

    def handle(self) -> None:
        """Pass both directions until both have ended."""
        near: socket.socket = self.request
        assert isinstance(self.server, _Relay)
        with suppress(OSError), socket.create_connection(self.server.place) as far:
            back = threading.Thread(target=_pour, args=(far, near), daemon=True)
            back.start()
            _pour(near, far)
            back.join()


def _pour(source: socket.socket, target: socket.socket) -> None:
    """One direction, with its end."""
    with suppress(OSError):
        while data := source.recv(CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
