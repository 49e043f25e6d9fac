# SPDX-License-Identifier: Apache-2.0
"""The one redactor: what it cleaned may be shown, logged and sent.

It hides values that were registered, in whatever spelling a command may print them, and what looks like a secret by its
form or its name. Escape sequences are removed first: a colour in the middle of a secret would hide it from the redactor
and not from a reader.
"""

from __future__ import annotations

import base64
import json
import math
import re
import shlex
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, quote_plus

MARK = "[redacted]"
SHORTEST = 4  # hiding a shorter value would hide every other word, and thereby tell it
SHORTEST_LINE = 16  # of a secret with several lines: a line this long is no common one

ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, cursor movements
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # window titles, links
    r"|\x1b[ -/]*[0-~]"  # other sequences
    r"|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # single control characters, but no tabs and line ends
)
KEY_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----")
KEY_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY-----")

WORDS = r"(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key)s?(?:[_-](?:key|id))?"
# launch and lease tokens are no secrets, and a reader of a journal needs them; the bound keeps long lines cheap
NAME = rf"(?<![A-Za-z0-9_-])(?!(?:launch|lease)_token)[A-Za-z0-9_-]{{0,64}}{WORDS}"
VALUE = r"""(?:"(?:[^"\\]|\\.)*"?|'[^']*'?|[^\s,;&"']+)"""
SECRET_NAME = re.compile(rf"{NAME}|authorization", re.IGNORECASE)
PATTERNS = tuple(
    (re.compile(pattern, re.IGNORECASE), replacement)
    for pattern, replacement in (
        (r"(authorization[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+", rf"\1{MARK}"),
        (r"(\bbearer\s+)[A-Za-z0-9._~+/=-]{8,}", rf"\1{MARK}"),
        (rf"({NAME}[\"']?\s*(?:=|:\s|:(?=[\"']))\s*){VALUE}", rf"\1{MARK}"),
        (rf"((?<!\S)--[A-Za-z0-9_-]{{0,64}}{WORDS}\s+){VALUE}", rf"\1{MARK}"),
        (r"(\b[a-z][a-z0-9+.-]{0,32}://[^\s:/@]*:)[^\s/@]+(?=@)", rf"\1{MARK}"),
        (r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", MARK),
        (r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|hf_[A-Za-z0-9]{20,})", MARK),
    )
)


class Redactor:
    """Cleans texts and nested data of one run. Not thread-safe: the bus calls it under its own lock."""

    def __init__(self) -> None:
        self._spellings: set[str] = set()
        self._known: re.Pattern[str] | None = None
        self._inside_key: set[Hashable] = set()

    def register(self, secret: str) -> None:
        """Hide this value from now on, wherever it occurs. Values of fewer than 4 characters cannot be hidden."""
        self._spellings.update(spelling for spelling in _spellings(secret) if len(spelling) >= SHORTEST)
        longest_first = sorted(self._spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, value: Any, stream: Hashable = None) -> Any:
        """The value as plain JSON data without secrets: mappings, lists, strings, numbers, None.

        `stream` names an output that comes in several calls, so that a private key printed line by line is hidden to its
        last line; `end_stream` forgets it.
        """
        cleaned = self._clean(value, stream)
        if stream is None:
            self._inside_key.discard(None)
        return cleaned

    def end_stream(self, stream: Hashable) -> None:
        """The output called `stream` has ended."""
        self._inside_key.discard(stream)

    def _clean(self, value: Any, stream: Hashable) -> Any:
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        match value:
            case str():
                return self._text(value, stream)
            case None | bool():
                return value
            case int() | float() if math.isfinite(value):
                return MARK if self._known and self._known.search(str(value)) else value
            case Mapping():
                return {self._text(str(key), stream): self._named(str(key), item, stream) for key, item in value.items()}
            case Sequence() | set() | frozenset():
                return [self._clean(item, stream) for item in value]
            case _:
                return self._text(str(value), stream)

    def _named(self, name: str, value: Any, stream: Hashable) -> Any:
        """The value of a key; one whose name says that it is a secret is hidden whatever it holds."""
        if isinstance(value, str) and value and SECRET_NAME.fullmatch(name):
            return MARK
        return self._clean(value, stream)

    def _text(self, text: str, stream: Hashable) -> str:
        text = ESCAPES.sub("", text)
        if self._inside_key or KEY_BEGIN.search(text):
            text = self._without_keys(text, stream)
        if self._known:
            text = self._known.sub(MARK, text)
        for pattern, replacement in PATTERNS:
            text = pattern.sub(replacement, text)
        return text

    def _without_keys(self, text: str, stream: Hashable) -> str:
        """The text without what lies in a private key's block, one that began in an earlier text included."""
        parts = []
        while text:
            if stream in self._inside_key:
                parts.append(MARK)
                end = KEY_END.search(text)
                if end is None:
                    break
                self._inside_key.discard(stream)
                text = text[end.end() :]
            begin = KEY_BEGIN.search(text)
            parts.append(text[: begin.start()] if begin else text)
            if begin is None:
                break
            self._inside_key.add(stream)
            text = text[begin.end() :]
            if not text:
                parts.append(MARK)
        return "".join(parts)


def _spellings(secret: str) -> Iterator[str]:
    """The secret as commands print it: as it is, escaped, quoted, encoded, and by its long lines."""
    # a text is cleaned of escape sequences before it is searched
    plain = ESCAPES.sub("", secret)
    lines = plain.splitlines()
    yield from (plain, plain.strip(), json.dumps(plain)[1:-1], repr(plain)[1:-1], shlex.quote(plain))
    yield from (quote(plain, safe=""), quote_plus(plain))
    yield base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode()
    if len(lines) > 1:
        yield from (line.strip() for line in lines if len(line.strip()) >= SHORTEST_LINE)
