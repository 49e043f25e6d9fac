# SPDX-License-Identifier: Apache-2.0
"""Cluster files that lie on a web server, as Ray's commands take them."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from pathlib import Path

import click

from rayctl.state import paths, private

PATIENCE_S = 10.0
MOST = 1_000_000  # bytes: it is a file that people write


def fetched(url: str) -> Path:
    """The file, asked for anew, in a place of its own here. Raises `ClickException`."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S) as answer:  # noqa: S310  the caller has looked at the scheme
            text = answer.read(MOST + 1)
    except urllib.error.HTTPError as e:
        e.close()
        raise click.UsageError(f"cannot fetch {url}: the server says {e.code} {e.reason}") from None
    except (OSError, ValueError) as e:
        raise click.UsageError(f"cannot fetch {url}: {getattr(e, 'reason', e)}") from None
    if len(text) > MOST:
        raise click.UsageError(f"cannot fetch {url}: it is larger than a cluster file ever is")
    folder = private.private_dir(paths.home(os.environ) / "fetched" / hashlib.sha256(url.encode()).hexdigest()[:16])
    place = folder / "cluster.yaml"
    private.store(place, text)
    return place
