# SPDX-License-Identifier: Apache-2.0
"""Values as ssh reads them in its configuration files."""

from __future__ import annotations

import re

from rayctl.errors import Refused

INEXPRESSIBLE = re.compile(r'["\\\x00-\x1f\x7f]|\$\{')  # ssh's releases differ in what a backslash means
NO_PATTERN = re.compile(r"[*?]|^[-!]")


def word(value: str) -> str:
    """One word, for keywords in which ssh expands `%`. Raises `Refused` for what its files cannot express."""
    return plain(value).replace("%", "%%")


def plain(value: str) -> str:
    """One word, for keywords in which it does not."""
    if INEXPRESSIBLE.search(value):
        raise _refused(value, 'a line break, `"`, `\\` or `${`')
    return f'"{value}"'


def pattern(name: str) -> str:
    """A host's name on a `Host` line, where it must mean that host alone."""
    if NO_PATTERN.search(name):
        raise _refused(name, "`*`, `?`, or `-` or `!` in front")
    return plain(name)


def line(value: str) -> str:
    """The rest of a line, as ssh's own syntax has it."""
    if not value.strip() or re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
        raise _refused(value, "a line break")
    return value


def _refused(value: str, what: str) -> Refused:
    return Refused(
        f"{value!r} cannot be written into ssh's configuration, because it has {what} in it; nothing was touched.",
        hint="Rename it, or make a link with a plain name.",
    )
