# SPDX-License-Identifier: Apache-2.0
"""`rayctl explain` on files, good and bad."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rayctl.cli.main import cli
from rayctl.errors import StateRefused, UsageError

SNAPSHOT = Path(__file__).parents[2] / "fixtures" / "v1" / "snapshot.json"


def test_words_for_people_and_data_for_programs() -> None:
    text = CliRunner().invoke(cli, ["explain", str(SNAPSHOT)])
    data = CliRunner().invoke(cli, ["explain", str(SNAPSHOT), "--format", "json"])
    assert (text.exit_code, data.exit_code) == (0, 0)
    assert text.output.startswith("demo, 2026-11-21T20:00:00Z\n1 head, 3 of at most 6 workers")
    told = json.loads(data.output)
    assert [launch["type"] for launch in told["launches"]] == ["cpu64"]
    assert told["taken_at"] == "2026-11-21T20:00:00Z"


@pytest.mark.parametrize(
    ("content", "error", "says"),
    [
        ('{"kind": "rayctl-snapshot", "version": 1}', UsageError, "is a damaged snapshot: it: "),
        (SNAPSHOT.read_text()[:900], UsageError, "is a damaged snapshot: it is no JSON: "),
        ('{"kind": "something else"}', UsageError, "`cluster_name` is missing"),
        ('{"kind": "rayctl-snapshot", "version": 9}', StateRefused, "has version 9, and this rayctl reads versions up to 1"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, error: type[Exception], says: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    found = CliRunner().invoke(cli, ["explain", str(path)]).exception
    assert isinstance(found, error)
    assert says in str(found)
