# SPDX-License-Identifier: Apache-2.0
"""Ports of this machine that lead elsewhere: how they are written, when they are refused, what comes through a relay."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from rayctl.errors import RayctlError, UsageError
from rayctl.transport import ports
from rayctl.transport.ports import Forward


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that says everything back, and then that it has heard the end."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            while True:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    while data := line.recv(65536):
                        line.sendall(data)
                    line.sendall(b"end")

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def said(port: int, data: bytes) -> bytes:
    """What comes back, to the end."""
    with socket.create_connection(("127.0.0.1", port), 5) as line:
        line.settimeout(5)
        sender = threading.Thread(target=lambda: (line.sendall(data), line.shutdown(socket.SHUT_WR)))
        sender.start()
        heard = b"".join(iter(lambda: line.recv(65536), b""))
        sender.join()
        return heard


@pytest.mark.parametrize(("text", "local", "remote"), [("8265", 8265, 8265), ("80:8265", 80, 8265), ("1:65535", 1, 65535)])
def test_a_port_or_two(text: str, local: int, remote: int) -> None:
    assert Forward.parse(text) == Forward(local, remote)


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "1:0", "1:2:3", "-1", "1:-2", "127.0.0.1:80"])
def test_what_is_no_port_is_bad_usage(text: str) -> None:
    with pytest.raises(UsageError, match="no port"):
        Forward.parse(text)


def test_a_port_that_somebody_has_is_refused_by_name(echo: int) -> None:
    with pytest.raises(RayctlError, match=f"port {echo} of this machine cannot be used: Address already in use"):
        ports.require_free([Forward(echo, 80)])


def test_one_port_leads_to_one_place() -> None:
    with pytest.raises(UsageError, match="two places"):
        ports.require_free([Forward(50001, 80), Forward(50001, 81)])


def test_the_preferred_port_or_another(echo: int) -> None:
    other = ports.free_port(echo)
    assert other not in (0, echo)
    assert ports.free_port(other) == other


def test_a_relay_hands_on_both_ways_and_the_end(echo: int) -> None:
    local, data = ports.free_port(0), bytes(range(256)) * 4000
    with ports.relayed([Forward(local, echo)]):
        assert said(local, data) == data + b"end"
        assert said(local, b"again") == b"againend"
    with pytest.raises(OSError, match="refused"):
        said(local, b"")


def test_a_relay_to_where_nobody_listens_hangs_up_and_goes_on(echo: int) -> None:
    local, nobody = ports.free_port(0), ports.free_port(0)
    with ports.relayed([Forward(local, nobody)]):
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", local), 5) as line:
                line.settimeout(5)
                assert line.recv(1) == b""


def test_a_port_that_leads_to_itself_needs_no_relay(echo: int) -> None:
    with ports.relayed([Forward(echo, echo)]):
        assert said(echo, b"x") == b"xend"
