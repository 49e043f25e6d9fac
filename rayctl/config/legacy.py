# SPDX-License-Identifier: Apache-2.0
"""Spellings that Ray had in earlier years -> today's, on plain data, each with one warning that shows the new one.

| then | now |
|---|---|
| `head_node`, `worker_nodes` | `node_config` of the types `head` and `worker`; beside node types what theirs start from |
| `autoscaling_mode`, `target_utilization_fraction`, `initial_workers` | the same keys below `scaler:`, same meaning |
| `min_workers` beside node types | `min_workers` of the one worker type; with several, still a minimum for all together |
| `worker_default_node_type` | nothing: every type is launched when it is asked for |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rayctl.config.places import Document, Path
from rayctl.errors import Problem

SCALER_KEYS = ("target_utilization_fraction", "autoscaling_mode", "initial_workers")
HEAD_NAMES = ("ray.head.default", "ray_head_default", "head")  # what a head's node type is called by default, by era


@dataclass(frozen=True)
class Translated:
    """Data in today's spelling. `moved` leads from a new path to the one in the file, to find its line."""

    data: dict[str, Any]
    moved: Mapping[Path, Path]
    warnings: tuple[Problem, ...]


def translate(document: Document) -> Translated:
    """Today's spelling of a cluster file. Values are moved, never judged: that is the models' work."""
    work = _Translation(document)
    work.nodes()
    work.minimum()
    work.scaler()
    work.dropped()
    return Translated(work.data, work.moved, tuple(work.warnings))


class _Translation:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.data = dict(document.data)
        self.moved: dict[Path, Path] = {}
        self.warnings: list[Problem] = []

    def warn(self, key: str, message: str, spelling: str) -> None:
        place = self.document.keys[key,]
        hint = f"write `{spelling}`" if spelling else f"delete line {place.line}"
        what = "is an old spelling" if spelling else "is of no use"
        self.warnings.append(Problem(key, f"`{key}` {what}: {message}", place.line, place.column, hint))

    def nodes(self) -> None:
        old: dict[str, Any] = {key: self.data.pop(key) for key in ("head_node", "worker_nodes") if key in self.data}
        if not old:
            return
        for key, value in old.items():
            if not value:
                self.warn(key, "it is empty", "")
                continue
            name = "head" if key == "head_node" else "worker"
            self.warn(key, "machines are described by node types", f"available_node_types: {{{name}: {{node_config: ...}}}}")
        types = self.data.get("available_node_types")
        if types and isinstance(types, dict):
            self.data["available_node_types"] = self._with_defaults(types, old)
        elif not types and any(old.values()):
            self._make_types(old)

    def _make_types(self, old: dict[str, Any]) -> None:
        names = {"head_node": "head", "worker_nodes": "worker"}
        self.data["available_node_types"] = {name: {"node_config": old.get(key) or {}} for key, name in names.items()}
        self.data["head_node_type"] = "head"
        for key in old:
            self.moved["available_node_types", names[key], "node_config"] = (key,)

    def _with_defaults(self, types: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
        """Beside node types the old keys were what each type's `node_config` starts from."""
        head = self._head_of(types)
        merged = {}
        for name, settings in types.items():
            base = old.get("head_node" if name == head else "worker_nodes")
            own = settings.get("node_config") if isinstance(settings, dict) else None
            if isinstance(base, dict) and base and isinstance(settings, dict) and isinstance(own, dict | None):
                settings = settings | {"node_config": base | (own or {})}  # noqa: PLW2901
            merged[name] = settings
        return merged

    def _head_of(self, types: Mapping[str, Any]) -> object:
        return self.data.get("head_node_type") or next((name for name in HEAD_NAMES if name in types), None)

    def minimum(self) -> None:
        """Warn of a global minimum where node types could say it; `settle` is what gives it to them."""
        types = self.data.get("available_node_types")
        if "min_workers" in self.data and types and isinstance(types, dict):
            workers = [name for name in types if name != self._head_of(types)]
            name = workers[0] if len(workers) == 1 else "TYPE"
            value = self._written("min_workers", self.data["min_workers"])
            message = "each node type has its own minimum"
            self.warn("min_workers", message, f"available_node_types: {{{name}: {{min_workers: {value}}}}}")

    def scaler(self) -> None:
        block = self.data.get("scaler")
        for key in SCALER_KEYS:
            if key not in self.data or not isinstance(block, dict | None):
                continue
            value = self.data.pop(key)
            self.warn(key, "it belongs to `scaler:`", f"scaler: {{{key}: {self._written(key, value)}}}")
            if key not in (block or {}):
                block = {**(block or {}), key: value}
                self.moved["scaler", key] = (key,)
        if block is not None:
            self.data["scaler"] = block

    def _written(self, key: str, value: object) -> str:
        return self.document.values[key,].text or (value if isinstance(value, str) else "...")

    def dropped(self) -> None:
        if "worker_default_node_type" in self.data:
            del self.data["worker_default_node_type"]
            self.warn("worker_default_node_type", "every node type is launched when it is asked for", "")
