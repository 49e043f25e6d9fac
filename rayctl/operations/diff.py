# SPDX-License-Identifier: Apache-2.0
"""What a task would change, or has changed, as Ansible tells it, for people."""

from __future__ import annotations

from collections.abc import Mapping


def text(told: Mapping[str, str]) -> str:
    """One task's difference: as it was prepared, else of the lines before and after."""
    if "prepared" in told:
        return told["prepared"]
    import difflib

    before, after = told["before"].splitlines(keepends=True), told["after"].splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, told["before_header"], told["after_header"], n=1))
