# SPDX-License-Identifier: Apache-2.0
"""The package gets to a node through one exec, into the first interpreter that is new enough."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import pythons

from rayctl import node
from rayctl.transport import shipping

MODULES = sorted(path.stem for path in Path(node.__file__).parent.glob("*.py") if path.stem != "__init__")
OLD = pythons.pyenv((6, 7))


def boot(interpreters: list[str], data: bytes = b"", path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[bytes]:
    command = ["/bin/sh", "-c", shipping.boot_command(interpreters)]
    return subprocess.run(command, input=data, capture_output=True, check=False, timeout=60, env={"PATH": path})


def test_every_module_is_shipped_after_those_it_imports() -> None:
    shipped = (*shipping.MODULES, *shipping.SCALER)
    assert sorted(shipped) == MODULES
    for position, name in enumerate(shipped):
        source = (Path(node.__file__).parent / f"{name}.py").read_text()
        for statement in ast.walk(ast.parse(source, feature_version=(3, 8))):
            if isinstance(statement, ast.ImportFrom) and statement.level:
                needed = [statement.module] if statement.module else [alias.name for alias in statement.names]
                assert set(needed) <= set(shipped[:position]), name


def test_what_is_shipped_imports_the_standard_library_only() -> None:
    for name in (*shipping.MODULES, *shipping.SCALER):
        for statement in ast.walk(ast.parse((Path(node.__file__).parent / f"{name}.py").read_text())):
            if isinstance(statement, ast.Import):
                assert {alias.name.split(".")[0] for alias in statement.names} <= sys.stdlib_module_names
            elif isinstance(statement, ast.ImportFrom) and not statement.level:
                assert str(statement.module).split(".")[0] in sys.stdlib_module_names


def test_the_parcel_is_small() -> None:
    assert len(shipping.parcel()) < 48_000


def test_it_serves_a_request(tmp_path: Path) -> None:
    request = {"op": "probe", "state_dir": str(tmp_path), "mark": "c/n"}
    assert b'"broken": "it was not started yet"' in boot([sys.executable], shipping.opening(request)).stdout


def test_only_who_asks_about_scalers_sends_the_code_for_it(tmp_path: Path) -> None:
    request = {"op": "scaler_probe", "python": sys.executable}
    assert b"the node does not understand" in boot([sys.executable], shipping.opening(request)).stdout
    assert b'"version": [3, ' in boot([sys.executable], shipping.opening(request, shipping.SCALER)).stdout


def test_the_first_interpreter_that_exists_is_taken(tmp_path: Path) -> None:
    other = tmp_path / "it's a python"
    other.write_text("#!/bin/sh\necho other\n")
    other.chmod(0o755)
    assert boot(["no-such-python", str(other), sys.executable]).stdout == b"other\n"


def test_without_any_interpreter_the_exit_status_says_so() -> None:
    assert boot(["no-such-python", "/none/either"]).returncode == shipping.NO_PYTHON


@pytest.mark.skipif(not OLD, reason="no Python older than 3.8 on this machine")
def test_interpreters_that_are_too_old_are_passed_over(tmp_path: Path) -> None:
    request = shipping.opening({"op": "probe", "state_dir": str(tmp_path), "mark": "c/n"})
    assert b'"event": "done"' in boot([*OLD, "no-such-python", sys.executable], request).stdout
    assert boot(OLD, request).returncode == shipping.NO_PYTHON
    assert boot([OLD[0], "no-such-python"], request).returncode == shipping.NO_PYTHON
