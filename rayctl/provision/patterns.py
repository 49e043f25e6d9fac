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
    """One exclude pattern; `base` is the folder (relative, "" for the root, else ending in "/") it was written in.

    A pattern that is anchored there by a leading slash sees paths from there on, all others see whole paths.
    """

    regex: re.Pattern[str]
    folders_only: bool
    anchored: bool
    base: str = ""

    def excludes(self, relative: str, is_folder: bool) -> bool:
        """Whether the path, relative to the tree's root, is left out."""
        if (self.folders_only and not is_folder) or not relative.startswith(self.base):
            return False
        return self.regex.fullmatch(relative[len(self.base) :] if self.anchored else relative) is not None


def rules(patterns: Iterable[str], base: str = "") -> tuple[Rule, ...]:
    """Rules for patterns in rsync's spelling."""
    return tuple(Rule(_regex(p), p.endswith("/"), p.startswith("/"), base) for p in patterns if p.strip("/"))


def merge_file(text: str, base: str) -> tuple[Rule, ...]:
    """Rules of a per-directory file: a pattern a line, blanks included; empty lines and comments do not count."""
    return rules((line for line in re.split(r"[\r\n]", text) if line and not line.startswith(("#", ";"))), base)


@cache
def _regex(pattern: str) -> re.Pattern[str]:
    # one slash at each end has a meaning; more of them, or one doubled inside, match no path
    anchored, body = pattern.startswith("/"), pattern.removeprefix("/").removesuffix("/")
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
    if body[i] == "[":
        found = _SET.match(body, i)
        return (_set(found["not"], found["items"]), found.end()) if found else (NOTHING, i + 1)
    return re.escape(body[i]), i + 1


NOTHING = "(?!)"  # a set that is never closed, or is empty, matches no name
# `]` first stands for itself; a backslash takes the next character's meaning away
_SET = re.compile(r"\[(?P<not>[!^]?)(?P<items>\]?(?:\\.|\[:[a-z]+:\]|[^]\\])*)\]", re.DOTALL)
_ITEM = re.compile(r"\[:(?P<class>[a-z]+):\]|(?P<low>\\?.)-(?P<high>\\?.)|(?P<one>\\?.)", re.DOTALL)
_CLASSES = {
    "alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "space": r"\s",
    "xdigit": "0-9a-fA-F", "punct": r"!-\/:-@\[-`{-~", "blank": r" \t", "cntrl": r"\x00-\x1f\x7f", "graph": "!-~",
    "print": " -~",
}  # fmt: skip


def _set(negation: str, items: str) -> str:
    """A set of characters; never a slash."""
    inside = "".join(_item(found) for found in _ITEM.finditer(items))
    if negation:
        return f"[^/{inside}]"
    return f"(?!/)[{inside}]" if inside else NOTHING


def _item(found: re.Match[str]) -> str:
    if found["class"]:
        return _CLASSES.get(found["class"], "")
    low, high = (re.escape((found[end] or found["one"])[-1]) for end in ("low", "high"))
    return f"{low}-{high}" if low[-1] <= high[-1] else ""
