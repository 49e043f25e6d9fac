# SPDX-License-Identifier: Apache-2.0
"""Cluster files that lie on a web server, as Ray's commands take them."""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import quote

import click

from rayctl.state import paths, private

PATIENCE_S = 10.0
MOST = 1_000_000  # bytes: it is a file that people write
KEPT = "/:?#[]@!$&'()*+,;=%-._~"  # what has a meaning in an address


def fetched(url: str) -> Path:
    """The file, asked for anew, in a place of its own here. Raises `click.UsageError`."""
    scheme, _, rest = url.partition("://")
    if "@" in rest.partition("/")[0]:
        raise click.UsageError("an address with a user or password in it would be seen by others: take them out")
    text = _read(f"{scheme.lower()}://{quote(rest, safe=KEPT)}")
    folder = private.private_dir(paths.home(os.environ) / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:16])
    place = folder / "cluster.yaml"
    private.store(place, text)
    return place


def _read(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310  the caller has looked at the scheme
            text: bytes = answer.read(MOST + 1)
            missing = answer.length or 0  # a line that broke gives less than was promised, and no error
    except urllib.error.HTTPError as e:
        e.close()
        raise click.UsageError(f"cannot fetch {url}: the server says {e.code} {e.reason}") from None
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise click.UsageError(f"cannot fetch {url}: {getattr(e, 'reason', None) or e or type(e).__name__}") from None
    if len(text) > MOST:
        raise click.UsageError(f"cannot fetch {url}: it is larger than a cluster file ever is")
    if missing:
        raise click.UsageError(f"cannot fetch {url}: it broke off after {len(text)} of {len(text) + missing} bytes")
    return text
