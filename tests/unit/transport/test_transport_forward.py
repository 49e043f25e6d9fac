# SPDX-License-Identifier: Apache-2.0
"""Forwarded ports: a refusal is noticed at once, and nobody's sockets pile up; real ones are in tests/lab/test_ssh.py."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rayctl.errors import Refused, Unreachable
from rayctl.transport import forward, masters
from rayctl.transport.connection import Connection
from rayctl.transport.forward import Forwards

H1 = Connection("ssh", "10.0.0.1", "~/.rayctl/c", name="h1")
SPEAKS: Callable[[socket.socket], object] = lambda line: line.sendall(b"hello")  # noqa: E731
CLOSES: Callable[[socket.socket], object] = lambda line: line.close()  # noqa: E731
WAITS: Callable[[socket.socket], object] = lambda _: None  # noqa: E731


@pytest.fixture(autouse=True)
def sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(masters, "folder", lambda: tmp_path)
    monkeypatch.setattr(forward, "ANSWER_S", 0.2)
    monkeypatch.setattr(masters, "there", lambda prefix: True)
    return tmp_path


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[Callable[..., list[str]]]:
    """The command line of an ssh whose master answers connections as told; the orders that it got are in `orders`."""
    servers: list[socket.socket] = []

    def listen(path: str, behaves: Callable[[socket.socket], object]) -> None:
        server = socket.socket(socket.AF_UNIX)
        servers.append(server)
        server.bind(path)
        server.listen()

        def serve() -> None:
            line, _ = server.accept()
            servers.append(line)
            behaves(line)

        threading.Thread(target=serve, daemon=True).start()

    def command(behaves: Callable[[socket.socket], object], says: str, *options: str) -> list[str]:
        if "forward" in options:
            listen(options[-1].partition(":")[0], behaves)
        with (tmp_path / "orders").open("a") as orders:
            orders.write(" ".join(options) + "\n")
        return ["sh", "-c", f"echo {says!r} >&2; exit {255 if '-W' in options else 0}"]

    yield command
    for server in servers:
        server.close()


def forwards(ssh: Callable[..., list[str]], behaves: Callable[[socket.socket], object], says: str = "") -> Forwards:
    return Forwards(H1, "prefix", lambda *options: ssh(behaves, says, *options))


def test_one_whose_master_is_gone_is_made_anew(sockets: Path, ssh: Callable[..., list[str]]) -> None:
    mine = forwards(ssh, WAITS)
    place = mine.open("127.0.0.1", 6379)
    place.unlink()
    with socket.socket(socket.AF_UNIX) as left:  # nobody listens at it any more
        left.bind(str(place))
    again = mine.open("127.0.0.1", 6379)
    assert again != place
    assert not place.exists()
    assert mine.open("127.0.0.1", 6379) == again
    assert (sockets / "orders").read_text().count(" forward ") == 2


@pytest.mark.parametrize("behaves", [SPEAKS, WAITS])
def test_a_port_that_is_open_is_forwarded_once_and_ended_at_the_end(
    sockets: Path, ssh: Callable[..., list[str]], behaves: Callable[[socket.socket], object]
) -> None:
    mine = forwards(ssh, behaves)
    place = mine.open("127.0.0.1", 6379)
    assert mine.open("127.0.0.1", 6379) == place
    assert mine.open("::1", 6379) != place
    mine.close()
    orders = [line.split(" -O ")[1] for line in (sockets / "orders").read_text().splitlines()]
    assert orders[0] == f"forward -L {place}:127.0.0.1:6379"
    assert orders[1].endswith(":[::1]:6379")
    assert sorted(order.split()[0] for order in orders) == ["cancel", "cancel", "forward", "forward"]
    assert not place.exists()


def test_a_host_that_forbids_it_is_told_with_what_to_change(
    sockets: Path, ssh: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forward, "ANSWER_S", 10.0)
    mine = forwards(ssh, CLOSES, "channel 0: open failed: administratively prohibited: open failed")
    with pytest.raises(Refused, match="h1 does not let ssh forward ports") as caught:
        mine.open("127.0.0.1", 6379)
    assert "AllowTcpForwarding yes" in caught.value.hint
    assert [path.name for path in sockets.iterdir()] == ["orders"]


def test_a_port_where_nothing_listens_yet_is_forwarded_all_the_same(ssh: Callable[..., list[str]]) -> None:
    mine = forwards(ssh, CLOSES, "channel 0: open failed: connect failed: Connection refused")
    assert mine.open("127.0.0.1", 6379).exists()
    mine.close()


def test_a_host_that_cannot_be_reached_is_told() -> None:
    says = "ssh: connect to host 10.0.0.1 port 22: Connection refused"
    with pytest.raises(Unreachable, match="nothing listens on its port 22"):
        Forwards(H1, "prefix", lambda *_: ["sh", "-c", f"echo '{says}' >&2; exit 255"]).open("127.0.0.1", 1)


def test_sockets_of_killed_processes_go_and_those_of_living_ones_stay(sockets: Path, ssh: Callable[..., list[str]]) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (sockets / f"forward-{ended.pid}-0").touch()
    (sockets / f"forward-{os.getppid()}-0").touch()
    mine = forwards(ssh, WAITS)
    mine.open("127.0.0.1", 1)
    assert not (sockets / f"forward-{ended.pid}-0").exists()
    assert (sockets / f"forward-{os.getppid()}-0").exists()
    mine.close()
