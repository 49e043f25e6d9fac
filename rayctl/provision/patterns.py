# SPDX-License-Identifier: Apache-2.0
"""rsync's exclude rules, so that a tree's digest and its copy leave out exactly what rsync leaves out.

Covered is what `rsync_exclude` and `rsync_filter` use: `name`, `*.pyc`, `folder/`, `/top`, `a/b`, `**`, `[...]`,
`folder/***`, and per-directory files of such patterns (`dir-merge,- .gitignore`). Rules as in rsync(1), FILTER RULES.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True)
class Rule:
    """One exclude pattern; `base` is the folder (relative, "" for the root, else ending in "/") it was written in."""

    regex: re.Pattern[str]
    folders_only: bool
    base: str = ""

    def excludes(self, relative: str, is_folder: bool) -> bool:
        """Whether the path, relative to the tree's root, is left out."""
        if (self.folders_only and not is_folder) or not relative.startswith(self.base):
            return False
        return self.regex.fullmatch(relative[len(self.base) :]) is not None


def rules(patterns: Iterable[str], base: str = "") -> tuple[Rule, ...]:
    """Rules for patterns in rsync's spelling."""
    return tuple(Rule(_regex(p), p.endswith("/") and p != "/", base) for p in patterns if p.strip("/"))


def merge_file(text: str, base: str) -> tuple[Rule, ...]:
    """Rules of a per-directory file: a pattern a line; empty lines and comments do not count."""
    lines = (line.strip() for line in text.splitlines())
    return rules((line for line in lines if line and not line.startswith(("#", ";"))), base)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    anchored, body = pattern.startswith("/"), pattern.strip("/")
    start = "" if anchored else "(?:.*/)?"
    if not anchored and body.startswith("**/"):
        body = body[3:]  # matched against "/path" by rsync, so the top level counts too
    end = ""
    if body.endswith("/***"):
        body, end = body[:-4], "(?:/.*)?"
    return re.compile(start + _translate(body) + end, re.DOTALL)


def _translate(body: str) -> str:
    out, i = [], 0
    while i < len(body):
        piece, i = _token(body, i)
        out.append(piece)
    return "".join(out)


def _token(body: str, i: int) -> tuple[str, int]:
    if body.startswith("**", i):
        return ".*", i + 2
    if body[i] == "*":
        return "[^/]*", i + 1
    if body[i] == "?":
        return "[^/]", i + 1
    if body[i] == "\\" and i + 1 < len(body) and any(c in body for c in "*?["):
        return re.escape(body[i + 1]), i + 2
    end = body.find("]", i + 2) if body[i] == "[" else -1
    if end > 0:
        inner = body[i + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
        return "[" + ("^" + inner[1:] if inner[0] in "!^" else inner) + "]", end + 1
    return re.escape(body[i]), i + 1
