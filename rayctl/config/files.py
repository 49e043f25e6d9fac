# SPDX-License-Identifier: Apache-2.0
"""Local paths of a cluster file: expanded, resolved, and looked for.

Only local paths know `~` and `$VAR`; everything else in a cluster file stays as written. A file that is missing is no reason
to refuse the cluster file (`validate` warns), but `up` cannot work without it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from rayctl.config import gitref, places
from rayctl.config.model import ClusterConfig
from rayctl.config.problems import Finding
from rayctl.config.provider import EmbeddedProvider, LocalProvider
from rayctl.errors import Problem, UsageError

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def expand_local(path: str, folder: Path) -> Path:
    """The local path that a cluster file in `folder` means. Raises `UsageError` for a variable or home that there is not."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise UsageError(f"`${name}` in the path `{path}` is not set", hint=f"export {name}, or write the path out")
        return os.environ[name]

    expanded = Path(_VARIABLE.sub(value, path))
    try:
        return folder / expanded.expanduser()
    except RuntimeError:
        message = f"the home folder in the path `{path}` is not known"
        raise UsageError(message, hint="write the path out") from None


def local_problems(config: ClusterConfig, folder: Path) -> tuple[Problem, ...]:
    """Key files, mount sources and other local files that are not there. Without lines: `Loaded.local_problems` has them."""
    return tuple(Problem(places.shown(finding.path), finding.message, hint=finding.hint) for finding in missing(config, folder))


def missing(config: ClusterConfig, folder: Path) -> list[Finding]:
    """A finding for each local file that is named and not there."""
    found = []
    for where, what, path in _local_paths(config):
        try:
            full = expand_local(path, folder)
        except UsageError as error:
            found.append(Finding(where, error.message, error.hint))
            continue
        if not os.path.lexists(full) and not gitref.commit(full):  # a packed ref is no file
            at = "" if str(full) == path else f" ({full})"
            found.append(Finding(where, f"{what} `{path}`{at} does not exist", "create it, or correct the path"))
    return found


def _local_paths(config: ClusterConfig) -> Iterator[tuple[places.Path, str, str]]:
    auth = config.auth
    for key, what, path in (
        ("ssh_private_key", "the private key", auth.ssh_private_key),
        ("ssh_public_key", "the public key", auth.ssh_public_key),
        ("known_hosts", "the known hosts file", auth.known_hosts),
    ):
        if path:
            yield ("auth", key), what, path
    if isinstance(config.provider, LocalProvider):
        for index, host in enumerate(config.provider.hosts):
            if host.key:
                yield ("provider", "hosts", index, "key"), "the private key", host.key
    if isinstance(config.provider, EmbeddedProvider) and "/" in (config.provider.python or ""):
        yield ("provider", "python"), "the Python interpreter", config.provider.python or ""
    for target, source in config.file_mounts.items():
        yield ("file_mounts", target), "the mount source", source
