# SPDX-License-Identifier: Apache-2.0
"""Local paths: expansion, and what is missing."""

from pathlib import Path

import pytest

from rayctl.config.load import expand_local, load, local_problems
from rayctl.errors import UsageError


def test_home_and_variables_expand_and_the_rest_is_below_the_files_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("DATA", "/data")
    folder = Path("/etc/ray")
    assert expand_local("~/x", folder) == Path("/home/me/x")
    assert expand_local("$DATA/x", folder) == Path("/data/x")
    assert expand_local("${DATA}x", folder) == Path("/datax")
    assert expand_local("./x", folder) == Path("/etc/ray/x")


def test_variable_that_is_not_set_is_an_error_with_its_name(monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    with pytest.raises(UsageError, match=r"`\$NOWHERE` in the path `\$NOWHERE/x` is not set"):
        expand_local("$NOWHERE/x", Path("/"))


def test_home_of_nobody_is_an_error():
    with pytest.raises(UsageError, match="home folder"):
        expand_local("~no-such-user-here/x", Path("/"))


FILE = """cluster_name: c
provider:
  type: local
  hosts: [{address: a, key: gone.pem}]
auth: {ssh_private_key: here.pem}
file_mounts:
  ~/there: here.pem
  ~/gone: $NOWHERE/x
"""


def test_missing_files_are_found_with_their_lines(tmp_path, monkeypatch):
    monkeypatch.delenv("NOWHERE", raising=False)
    (tmp_path / "here.pem").touch()
    (tmp_path / "c.yaml").write_text(FILE)
    loaded = load(tmp_path / "c.yaml")
    assert [(problem.path, problem.line, problem.message) for problem in loaded.local_problems()] == [
        ("provider.hosts[0].key", 4, f"the private key `gone.pem` ({tmp_path}/gone.pem) does not exist"),
        ("file_mounts.~/gone", 8, "`$NOWHERE` in the path `$NOWHERE/x` is not set"),
    ]
    assert {problem.message for problem in local_problems(loaded.config, tmp_path)} == {
        problem.message for problem in loaded.local_problems()
    }
