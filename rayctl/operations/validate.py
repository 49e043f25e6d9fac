# SPDX-License-Identifier: Apache-2.0
"""`rayctl validate`: everything that is wrong with a cluster file, and everything that is only odd, at once."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rayctl.config.load import load
from rayctl.errors import ConfigError, Problem
from rayctl.operations.history import file_of, require_known
from rayctl.state.paths import home


@dataclass(frozen=True)
class Report:
    """What was found in one file: `problems` keep it from being used, `warnings` do not. Both are sorted by line."""

    path: str
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def valid(self) -> bool:
        """Whether the file can be used."""
        return not self.problems


def validate(path: str | Path) -> Report:
    """Judge a cluster file, or that of the cluster of this name. Nothing else is asked, but whether local files are there."""
    path = Path(path)
    file = None if path.exists() else file_of(home(os.environ), str(path))
    if file is None:
        require_known(path)
    try:
        loaded = load(file or path)
    except ConfigError as error:
        return Report(str(path), problems=error.problems)
    found = {*loaded.warnings, *loaded.local_problems()}
    return Report(str(path), warnings=tuple(sorted(found, key=lambda problem: (problem.line, problem.column, problem.message))))


def render(report: Report) -> str:
    """The report as plain text: one block for each finding, and a line that counts them."""
    blocks = [_block(report.path, "error", problem) for problem in report.problems]
    blocks += [_block(report.path, "warning", problem) for problem in report.warnings]
    return "\n".join([*blocks, f"{report.path}: {_counted(report)}"])


def _block(path: str, severity: str, problem: Problem) -> str:
    where = f"{path}:{problem.line}:{problem.column}" if problem.line else path
    lines = [f"{where}: {severity}: {problem.message}"]
    return "\n".join([*lines, f"  fix: {problem.hint}"] if problem.hint else lines)


def _counted(report: Report) -> str:
    def count(number: int, what: str) -> str:
        return f"{number} {what}{'' if number == 1 else 's'}"

    if not report.problems and not report.warnings:
        return "valid"
    warnings = count(len(report.warnings), "warning")
    return f"valid, {warnings}" if report.valid else f"{count(len(report.problems), 'error')}, {warnings}"
