# SPDX-License-Identifier: Apache-2.0
"""A cluster file -> `ClusterConfig`, or every problem it has, each with its line.

The way: `places` reads the YAML, `legacy` moves old spellings, `judge` has the models and `settle` look at the data, and here
what they found gets its lines.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from rayctl.config import files, legacy, places, words
from rayctl.config.files import expand_local, local_problems
from rayctl.config.judge import judged
from rayctl.config.model import ClusterConfig
from rayctl.config.problems import Finding, Locator
from rayctl.config.settle import Wanted
from rayctl.errors import ConfigError, Problem, UsageError

__all__ = ["Loaded", "expand_local", "load", "local_problems", "parse"]


@dataclass(frozen=True)
class Loaded:
    """A usable configuration, what its author should know, and the file it came from."""

    config: ClusterConfig
    warnings: tuple[Problem, ...]
    path: Path
    locator: Locator = field(repr=False, compare=False)

    @property
    def folder(self) -> Path:
        """What relative local paths in the file are relative to."""
        return self.path.parent

    def local_problems(self) -> tuple[Problem, ...]:
        """What keeps a valid file from being used, with lines: local files that are not there, amounts that Ray refuses."""
        found = [*files.missing(self.config, self.folder), *_fractions(self.config)]
        return _ordered(self.locator.problem(finding) for finding in found)


def load(
    path: str | Path, *, cluster_name: str | None = None, min_workers: int | None = None, max_workers: int | None = None
) -> Loaded:
    """Read a cluster file; the overrides are a command line's, see `parse`. Raises `ConfigError` with all problems."""
    path = Path(path)
    try:
        with path.open("rb") as file:
            raw = file.read(places.MOST_BYTES + 1)
    except OSError as error:
        reason = error.strerror or str(error)
        raise _unreadable(path, f"cannot be read: {reason}", "give the path of a cluster file") from None
    if len(raw) > places.MOST_BYTES:
        raise _unreadable(
            path, f"is larger than {places.MOST_BYTES >> 20} MiB", "keep data in files of its own, and mount them"
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"is no UTF-8 text (byte {error.start})", "save it as UTF-8") from None
    return parse(text, str(path), cluster_name=cluster_name, min_workers=min_workers, max_workers=max_workers)


def parse(
    text: str,
    source: str,
    *,
    cluster_name: str | None = None,
    min_workers: int | None = None,
    max_workers: int | None = None,
) -> Loaded:
    """The configuration that a cluster file's text holds; `source` is its path, for messages and relative paths.

    `cluster_name` replaces the file's. `max_workers` replaces the file's and cuts minimums above it in file order, declared
    hosts included. `min_workers` replaces the only worker type's minimum, or with several types the global one.
    Raises `ConfigError` with all problems, sorted by line, and `UsageError` for an override that could never be right.
    """
    wanted = _wanted(cluster_name, min_workers, max_workers)
    document = places.read(text, source)
    translated = legacy.translate(document)
    locator = Locator(document, translated.moved)
    data = translated.data if cluster_name is None else {**translated.data, "cluster_name": cluster_name}
    settled, errors = judged(data, locator, wanted)
    if errors:
        raise ConfigError(source, _ordered(locator.problem(finding) for finding in errors))
    warnings = [*document.warnings, *translated.warnings, *(locator.problem(finding) for finding in settled.warnings)]
    return Loaded(settled.config, _ordered(warnings), Path(source), locator)


def _wanted(cluster_name: str | None, min_workers: int | None, max_workers: int | None) -> Wanted:
    """The overrides, refused in the words of the command line where the file has no part in it."""
    try:
        words.cluster_name("default" if cluster_name is None else cluster_name)
    except words.Unfit as error:
        raise UsageError(f"`--cluster-name` {error}", hint=error.hint) from None
    for flag, value in (("--min-workers", min_workers), ("--max-workers", max_workers)):
        if value is not None and value < 0:
            raise UsageError(f"`{flag}` must be at least 0, not {value}")
    return Wanted(min_workers, max_workers)


def _fractions(config: ClusterConfig) -> list[Finding]:
    """Ray lets tasks ask for parts of a resource, but a node has whole ones (`to_resource_dict` in Ray 2.60)."""
    hint = "give the node whole numbers, and let tasks ask for parts of them"
    return [
        Finding(("available_node_types", name, "resources", key), f"Ray starts no node with {amount:g} of `{key}`", hint)
        for name, node_type in config.available_node_types.items()
        for key, amount in node_type.resources.items()
        if amount != int(amount)
    ]


def _unreadable(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError(str(path), (Problem("", message, hint=hint),))


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message)))
