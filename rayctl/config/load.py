# SPDX-License-Identifier: Apache-2.0
"""A cluster file -> `ClusterConfig`, or every problem it has, each with its line.

The way: `places` reads the YAML, `legacy` moves old spellings, the models judge the values, `settle` fills in what the file
leaves unsaid and judges how the values go together. Where a value is wrong, the rest is judged without it, so that one look
at a file tells everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rayctl.config import files, legacy, places, words
from rayctl.config.files import expand_local, local_problems
from rayctl.config.model import ClusterConfig, ProviderBlock
from rayctl.config.problems import Finding, Locator, findings, nearest
from rayctl.config.provider import TYPES, block_of
from rayctl.config.settle import Settled, Wanted, settle
from rayctl.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

__all__ = ["Loaded", "expand_local", "load", "local_problems", "parse"]

_FREE = {("metadata",), ("available_node_types", "*", "node_config")}  # below these, nothing is ours to judge


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
        """Local files that the configuration names and that are not there, with their lines."""
        return _ordered(self.locator.problem(finding) for finding in files.missing(self.config, self.folder))


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
    settled, errors = _judged(data, locator, wanted)
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


def _unreadable(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError(str(path), (Problem("", message, hint=hint),))


def _ordered(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(set(problems), key=lambda problem: (problem.line, problem.column, problem.message)))


def _judged(data: dict[str, Any], locator: Locator, wanted: Wanted) -> tuple[Settled, list[Finding]]:
    """The settled configuration and all errors; with errors it stands for what is left without the wrong values."""
    provider, errors = _provider(data, locator)
    data = {**data, "provider": provider}
    try:
        config = ClusterConfig.model_validate(data)
    except ValidationError as error:
        errors += findings(error.errors(), ClusterConfig, locator)
        config = ClusterConfig.model_validate(_without(data, [_removable(item) for item in error.errors()]))
    errors += _surprises(locator, {finding.path for finding in errors}, provider)
    settled = settle(config, wanted)
    touched = {finding.path[0] for finding in errors if finding.path}
    errors += [finding for finding in settled.errors if not _follows(finding, touched)]
    return settled, errors


def _follows(finding: Finding, touched: set[str | int]) -> bool:
    """Whether a finding may be the mere consequence of a wrong value elsewhere."""
    related = {"head_node_type", "available_node_types", "provider", "min_workers", "max_workers"}
    tops = set(finding.path[:1])
    return bool(tops & touched or (tops & related and touched & related))


def _provider(data: dict[str, Any], locator: Locator) -> tuple[ProviderBlock, list[Finding]]:
    """The provider's block; on errors a bare one in its place, so that the rest can be judged."""
    bare = ProviderBlock(type="none")
    block = data.get("provider")
    if block is None:
        hint = f"add `provider:` with a `type:`, one of {', '.join(TYPES)}"
        return bare, [Finding(("provider",), "`provider` is missing", hint)]
    provider_type = block.get("type") if isinstance(block, dict) else None
    if not isinstance(provider_type, str):
        try:
            ProviderBlock.model_validate(block if not isinstance(block, dict) else {"type": provider_type})
        except ValidationError as error:
            return bare, findings(error.errors(), ProviderBlock, locator, ("provider",))
    known = block_of(str(provider_type))
    if known is None:
        hint = "; ".join(filter(None, [nearest(str(provider_type), TYPES), f"there are {', '.join(TYPES)}"]))
        return bare, [Finding(("provider", "type"), f"unknown provider type `{provider_type}`", hint)]
    try:
        return known.model_validate(block), []
    except ValidationError as error:
        return bare, findings(error.errors(), known, locator, ("provider",))


def _surprises(locator: Locator, known: set[places.Path], provider: ProviderBlock) -> list[Finding]:
    unchecked = provider.model_config.get("extra") == "allow"
    found = []
    for path, message in locator.document.surprises():
        free = any(str(key).startswith("x-") for key in path) or (unchecked and path[0] == "provider")
        free = free or any(_matches(path, pattern) for pattern in _FREE) or path[0] in ("head_node", "worker_nodes")
        if not free and path not in known:
            hint = "write it as a plain decimal number, or put it in quotes to make it text"
            found.append(Finding(path, f"`{places.shown(path)}` {message}", hint))
    return found


def _matches(path: places.Path, pattern: tuple[str, ...]) -> bool:
    return len(path) >= len(pattern) and all(want in ("*", part) for want, part in zip(pattern, path, strict=False))


def _removable(error: ErrorDetails) -> places.Path:
    """What to leave out so that the rest can be judged: a block that misses a key goes as a whole."""
    loc = error["loc"]
    return loc[:-1] if error["type"] == "missing" and len(loc) > 1 else loc


def _without(data: Any, wrong: Sequence[tuple[str | int, ...]], depth: int = 0) -> Any:
    """The data without its wrong values; a name that is missing gets a stand-in."""
    here = {loc[depth] for loc in wrong if len(loc) > depth}
    final = {loc[depth] for loc in wrong if len(loc) == depth + 1 or (len(loc) > depth + 1 and loc[depth + 1] == "[key]")}
    if isinstance(data, dict):
        kept = {
            key: _without(value, [loc for loc in wrong if len(loc) > depth and loc[depth] == key], depth + 1)
            if key in here
            else value
            for key, value in data.items()
            if key not in final
        }
        return kept if depth or "cluster_name" in kept else {**kept, "cluster_name": "cluster"}
    if isinstance(data, list):
        return [value for index, value in enumerate(data) if index not in here]
    return data
