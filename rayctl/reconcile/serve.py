# SPDX-License-Identifier: Apache-2.0
"""Metrics over HTTP: `GET /metrics`, from threads of their own, few and with an end, so that no client holds up the scaler."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import time
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from types import TracebackType
from typing import Any, Final, Protocol, Self

from rayctl.errors import RayctlError
from rayctl.node import processes

PATH: Final = "/metrics"
TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST: Final = 16  # clients at the same time; one more is sent away
PATIENCE_S: Final = 5.0  # for a client, from its first byte to our last
TICK_S: Final = 0.25


class Rendered(Protocol):
    """What is served."""

    def render(self) -> bytes:
        """The text of this moment."""
        ...


class Served:
    """Serves metrics at `host` and `port` until `close`; nothing with port 0. A context manager.

    `address` is where, as "host:port", "" with port 0. Raises `RayctlError` where it cannot be had.
    """

    def __init__(self, metrics: Rendered, host: str = "127.0.0.1", port: int = 0) -> None:
        self._server: _Server | None = None
        self.address = ""
        if not port:
            return
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self._server = _Server(metrics, host, port)
        except OSError as error:
            raise _explained(error, self.address, port) from None
        threading.Thread(target=self._server.serve_forever, args=(TICK_S,), name="metrics", daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Serve no more."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()


def _explained(error: OSError, address: str, port: int) -> RayctlError:
    hint = "Set `scaler: {metrics_port: ...}` in the cluster file to another port, or to 0 for none."
    if error.errno != errno.EADDRINUSE:
        return RayctlError(f"metrics cannot be served at {address}: {error.strerror}", hint=hint)
    holder = processes.who_listens(port)
    who = f"{holder.name} (pid {holder.pid})" if holder else "a process of another user"
    return RayctlError(f"metrics cannot be served at {address}: {who} listens there", hint=hint)


class _Server(ThreadingMixIn, TCPServer):
    """One that loses patience: it looks after its clients once every `TICK_S`."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 2 * MOST

    def __init__(self, metrics: Rendered, host: str, port: int) -> None:
        self.metrics = metrics
        self._clients: dict[socket.socket, float] = {}
        self._lock = threading.Lock()
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        self.address_family, address = found[0][0], found[0][4]
        super().__init__((str(address[0]), port), _Handler)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is a thread for one more client."""
        del client_address
        with self._lock:
            if len(self._clients) >= MOST:
                return False
            self._clients[request] = time.monotonic()
            return True

    def shutdown_request(self, request: Any) -> None:
        """Also where there was no thread for it."""
        with self._lock:
            self._clients.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Lose patience with those who take too long."""
        self._cut_off(PATIENCE_S)

    def server_close(self) -> None:
        """With all clients."""
        super().server_close()
        self._cut_off(0.0)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that is gone before it has its answer is no error of ours."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def _cut_off(self, patience_s: float) -> None:
        """Their threads end by themselves then."""
        with self._lock:
            for client, since in self._clients.items():
                if time.monotonic() - since >= patience_s:
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: one request for a connection."""

    server: _Server

    def do_GET(self) -> None:
        """Answer."""
        if self.path.partition("?")[0] != PATH:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"The metrics are at {PATH}.")
            return
        body = self.server.metrics.render()
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants to know."""
