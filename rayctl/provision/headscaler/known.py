# SPDX-License-Identifier: Apache-2.0
"""Which lines of a person's known_hosts files are about a host (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT")."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator

MARKERS = ("@cert-authority", "@revoked")


def about(host: str, lines: Iterable[str], called: str) -> Iterator[str]:
    """The lines about a host as ssh names it there (`name` or `[name]:port`): plain names, patterns and hashed ones.

    Each names that host alone afterwards, as `called`; one with a marker stays as it is.
    """
    for line in lines:
        marker, names, rest = _parsed(line)
        if rest and _names(host, names):
            yield line.strip() if marker else f"{called} {rest}"


def _parsed(line: str) -> tuple[str, str, str]:
    words = line.split()
    if not words or words[0].startswith("#"):
        return "", "", ""
    marker = words.pop(0) if words[0] in MARKERS else ""
    return (marker, words[0], " ".join(words[1:3])) if len(words) >= 3 else ("", "", "")


def _names(host: str, names: str) -> bool:
    if names.startswith("|"):
        return _is_hash_of(host, names)
    found = False
    for pattern in names.lower().split(","):
        if pattern.startswith("!") and _matches(host, pattern[1:]):
            return False
        found = found or _matches(host, pattern)
    return found


def _matches(host: str, pattern: str) -> bool:
    """ssh's patterns know `*` and `?`; brackets are those of `[name]:port`."""
    form = "".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in pattern)
    return re.fullmatch(form, host.lower()) is not None


def _is_hash_of(host: str, text: str) -> bool:
    parts = text.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    try:
        salt, wanted = base64.b64decode(parts[2]), base64.b64decode(parts[3])
    except binascii.Error:
        return False
    return hmac.compare_digest(hmac.new(salt, host.encode(), hashlib.sha1).digest(), wanted)
