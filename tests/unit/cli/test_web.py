# SPDX-License-Identifier: Apache-2.0
"""A cluster file from a web server is fetched for each command, and kept where only its user reads it."""

from __future__ import annotations

import http.server
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from rayctl.cli import common, web
from rayctl.cli.main import cli

FILE = b"cluster_name: far\nprovider: {type: embedded}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file."""

    text = FILE
    promised = 0  # bytes that do not come

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/c.yaml", "/a%20%C3%BC.yaml") else 404)
        self.send_header("Content-Length", str(len(self.text) + self.promised))
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("RAYCTL_HOME", str(tmp_path / "home"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def test_it_is_asked_for_anew_and_kept_privately(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = web.fetched(f"{server}/c.yaml")
    assert place.read_bytes() == FILE
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    monkeypatch.setattr(Handler, "text", FILE + b"max_workers: 7\n")
    assert web.fetched(f"{server}/c.yaml") == place
    assert b"max_workers: 7" in place.read_bytes()


@pytest.mark.parametrize("name", ["c.yaml", "a ü.yaml"])
def test_commands_take_its_address(name: str, server: str) -> None:
    result = CliRunner().invoke(cli, ["validate", f"{server}/{name}".replace("http:", "HTTP:")], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "valid" in result.output


@pytest.mark.parametrize(("path", "why"), [("/no.yaml", "the server says 404 Not Found"), ("0/c.yaml", "cannot fetch")])
def test_what_cannot_be_fetched_is_bad_usage(server: str, path: str, why: str) -> None:
    result = CliRunner().invoke(cli, ["validate", f"{server}{path}"])
    assert result.exit_code == 2
    assert why in result.output


def test_what_is_too_large_is_refused(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "text", b"#" * (web.MOST + 2))
    result = CliRunner().invoke(cli, ["validate", f"{server}/c.yaml"])
    assert "larger than a cluster file" in result.output


def test_what_broke_off_is_no_file(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Handler, "promised", 20)
    result = CliRunner().invoke(cli, ["validate", f"{server}/c.yaml"])
    assert result.exit_code == 2
    assert f"it broke off after {len(FILE)} of {len(FILE) + 20} bytes" in result.output


def test_a_password_in_an_address_is_refused_and_not_repeated(server: str) -> None:
    result = CliRunner().invoke(cli, ["validate", f"{server.replace('//', '//me:secret@')}/c.yaml"])
    assert result.exit_code == 2
    assert "secret" not in result.output


def test_what_speaks_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=_says_hello, args=(other,), daemon=True).start()
        result = CliRunner().invoke(cli, ["validate", f"http://127.0.0.1:{other.getsockname()[1]}/c.yaml"])
    assert result.exit_code == 2
    assert "cannot fetch" in result.output


def _says_hello(server: socket.socket) -> None:
    line, _ = server.accept()
    with line:
        line.sendall(b"220 mail.example.com at your service\r\n")


def test_completing_a_line_fetches_nothing() -> None:
    context = click.Context(cli, resilient_parsing=True)
    assert common.ClusterFile().convert("http://127.0.0.1:1/c.yaml", None, context) == "http://127.0.0.1:1/c.yaml"
