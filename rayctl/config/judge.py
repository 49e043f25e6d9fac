# SPDX-License-Identifier: Apache-2.0
"""The data of a cluster file -> a settled configuration and everything that is wrong, found in one go.

Values are judged by the models, how they go together by `settle`. Where a value is wrong the rest is judged without it, so
that one look at a file tells everything; what may be a mere consequence of such a value is not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from rayctl.config import places
from rayctl.config.model import ClusterConfig, ProviderBlock
from rayctl.config.problems import Finding, Locator, findings, nearest
from rayctl.config.provider import TYPES, block_of
from rayctl.config.settle import Settled, Wanted, settle

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_FREE = {("metadata",), ("available_node_types", "*", "node_config")}  # below these, nothing is ours to judge
_COUNTED = {"head_node_type", "available_node_types", "provider", "min_workers", "max_workers"}  # judged together


def judged(data: dict[str, Any], locator: Locator, wanted: Wanted) -> tuple[Settled, list[Finding]]:
    """The settled configuration and all errors; with errors it stands for what is left without the wrong values."""
    provider, errors = _provider(data, locator)
    config, more = _validated({**data, "provider": provider})
    errors += findings(more, ClusterConfig, locator)
    errors += _surprises(locator, {finding.path for finding in errors}, provider)
    settled = settle(config, wanted)
    touched = {finding.path for finding in errors if finding.path}
    errors += [finding for finding in settled.errors if not _follows(finding, touched)]
    return settled, errors


def _validated(data: dict[str, Any]) -> tuple[ClusterConfig, list[ErrorDetails]]:
    """The models' verdict, and what is left of the data without its wrong values; leaving one out may spoil what holds it."""
    first: list[ErrorDetails] = []
    while True:
        try:
            return ClusterConfig.model_validate(data), first
        except ValidationError as error:
            errors = error.errors()
        first = first or errors
        data = _stand_in(_without(data, [_removable(item) for item in errors]))


def _follows(finding: Finding, touched: set[places.Path]) -> bool:
    """Whether a finding may be the mere consequence of a wrong value elsewhere."""
    if finding.path[:1] and finding.path[0] in _COUNTED and any(path[0] in _COUNTED for path in touched):
        return True
    return any(path[: len(finding.path)] == finding.path or finding.path[: len(path)] == path for path in touched)


def _provider(data: dict[str, Any], locator: Locator) -> tuple[ProviderBlock, list[Finding]]:
    """The provider's block; on errors a bare one in its place, so that the rest can be judged."""
    bare = ProviderBlock.model_construct(type="none")
    block = data.get("provider")
    if block is None:
        hint = f"add `provider:` with a `type:`, one of {', '.join(TYPES)}"
        return bare, [Finding(("provider",), "`provider` is missing", hint)]
    name = block.get("type") if isinstance(block, dict) else None
    if isinstance(block, dict) and not isinstance(name, str):
        block = {"type": name}  # which keys it may have is not known, so that only this is judged
    known = block_of(name) if isinstance(name, str) else ProviderBlock
    if known is None:
        hint = "; ".join(filter(None, [nearest(str(name), TYPES), f"there are {', '.join(TYPES)}"]))
        return bare, [Finding(("provider", "type"), f"unknown provider type `{name}`", hint)]
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


def _without(data: Any, wrong: Sequence[places.Path]) -> Any:
    """The data without its wrong values; of a list the whole item goes."""
    if isinstance(data, list):
        return [value for index, value in enumerate(data) if not any(loc[0] == index for loc in wrong)]
    kept = {}
    for key, value in data.items():
        inner = [loc[1:] for loc in wrong if loc[0] == key]
        if not inner:
            kept[key] = value
        elif isinstance(value, dict | list) and all(loc and loc[0] != "[key]" for loc in inner):
            kept[key] = _without(value, inner)
    return kept


def _stand_in(data: dict[str, Any]) -> dict[str, Any]:
    return data if "cluster_name" in data else {**data, "cluster_name": "cluster"}
