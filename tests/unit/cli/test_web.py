# SPDX-License-Identifier: Apache-2.0
"""A cluster file from a web server is fetched for each command, and kept where only its user reads it."""

from __future__ import annotations

import http.server
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rayctl.cli import web
from rayctl.cli.main import cli

FILE = b"cluster_name: far\nprovider: {type: embedded}\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file."""

    text = FILE

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/c.yaml" else 404)
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


def test_commands_take_its_address(server: str) -> None:
    result = CliRunner().invoke(cli, ["validate", f"{server}/c.yaml"], catch_exceptions=False)
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
