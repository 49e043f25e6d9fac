# SPDX-License-Identifier: Apache-2.0
"""What a file leaves unsaid, filled in: node types, the head's type, minimums that add up.

The rules, in the order in which they are applied:

1. A `docker:` block without any image is none.
2. Without `available_node_types` there are `head` and `worker`. On declared hosts also the types that hosts name.
3. The head's type is `head_node_type`, else the one of a default name, else the only one.
4. Ray lets a head's type serve workers too. Here no type is both: a head type with a `max_workers` or `min_workers` of its own
   gets a twin `<type>-worker` that carries them.
5. On declared hosts (`hosts`) a type's minimum is by default all of its hosts, and its maximum is never more.
6. `max_workers` is by default 2, or the sum of the minimums where that is more; on declared hosts all of them.
7. A global `min_workers` raises the types' own minimums, in file order, up to each type's maximum.
8. `--max-workers` replaces `max_workers`, and minimums above it are cut in file order, so that they never exceed it.
   `--min-workers` replaces the minimum of the only worker type, or with several the global one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rayctl.config import hosts
from rayctl.config.hosts import Hosts
from rayctl.config.legacy import HEAD_NAMES
from rayctl.config.model import ClusterConfig, Docker, NodeType
from rayctl.config.problems import Finding, nearest
from rayctl.config.provider import LocalProvider

DEFAULT_MAX_WORKERS = 2


@dataclass(frozen=True)
class Wanted:
    """Numbers of workers that a command line asks for; None where it does not."""

    min_workers: int | None = None
    max_workers: int | None = None


@dataclass(frozen=True)
class Settled:
    """A normalised configuration, what is wrong with it, and what should be known about it."""

    config: ClusterConfig
    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()


def settle(config: ClusterConfig, wanted: Wanted) -> Settled:
    """The normalised form of a configuration. With errors, the configuration must not be used."""
    errors = [*_auth_errors(config), *_docker_errors(config)]
    config = _with_types(config)
    errors += _head_errors(config)
    if isinstance(config.provider, LocalProvider):
        errors += hosts.errors(config, config.provider)
    if errors:
        return Settled(config, tuple(errors))
    config, warnings = _twin_of_head(config)
    if isinstance(config.provider, LocalProvider):
        config, more = hosts.settled(config, config.provider)
        warnings += more
    config = _with_minimum(config, wanted)
    errors = _minimum_errors(config, wanted)
    return Settled(_within_maximum(config, wanted), tuple(errors), tuple(warnings))


def _changed(config: ClusterConfig, **changes: object) -> ClusterConfig:
    return config.model_copy(update=changes)


def _types_changed(config: ClusterConfig, minimums: Mapping[str, int]) -> ClusterConfig:
    types = {
        name: node_type.model_copy(update={"min_workers": minimums.get(name, node_type.min_workers)})
        for name, node_type in config.available_node_types.items()
    }
    return _changed(config, available_node_types=types)


def _with_types(config: ClusterConfig) -> ClusterConfig:
    docker = config.docker if config.docker and _has_image(config, config.docker) else None
    types = dict(config.available_node_types)
    head = config.head_node_type
    if isinstance(config.provider, LocalProvider):
        declared = Hosts.of(config.provider)
        types = types or declared.types()
        head = head or declared.head_type
    types = types or {"head": NodeType.model_construct(), "worker": NodeType.model_construct()}
    candidates = [name for name in HEAD_NAMES if name in types] or (list(types) if len(types) == 1 else [])
    return _changed(config, docker=docker, available_node_types=types, head_node_type=head or next(iter(candidates), None))


def _has_image(config: ClusterConfig, docker: Docker) -> bool:
    own = [node_type.docker.worker_image for node_type in config.available_node_types.values() if node_type.docker]
    return any([docker.image, docker.head_image, docker.worker_image, *own])


def _auth_errors(config: ClusterConfig) -> list[Finding]:
    if config.auth.ssh_proxy_use_node_id and not config.auth.ssh_proxy_command:
        message = "`auth.ssh_proxy_use_node_id` needs an `auth.ssh_proxy_command` to give the id to"
        return [Finding(("auth", "ssh_proxy_use_node_id"), message, "add the command, or remove this key")]
    if config.auth.ssh_proxy_jump and config.auth.ssh_proxy_command:
        message = "`auth.ssh_proxy_jump` and `auth.ssh_proxy_command` both say which way ssh takes"
        return [Finding(("auth", "ssh_proxy_jump"), message, "remove one of the two")]
    return []


def _docker_errors(config: ClusterConfig) -> list[Finding]:
    docker = config.docker
    if docker is None or docker.image or not _has_image(config, docker):
        return []
    if docker.head_image and docker.worker_image:
        return []
    message = "`docker` names an image for some nodes only"
    hint = "add `image:` for all nodes, or both `head_image:` and `worker_image:`"
    return [Finding(("docker",), message, hint, on_key=True)]


def _head_errors(config: ClusterConfig) -> list[Finding]:
    head, names = config.head_node_type, list(config.available_node_types)
    if head is None:
        hint = f"add `head_node_type:` with one of {', '.join(names)}"
        return [Finding(("head_node_type",), "`head_node_type` is missing: which node type is the head?", hint)]
    if head not in names:
        hint = nearest(head, names) or f"there are {', '.join(names)}"
        return [Finding(("head_node_type",), f"`head_node_type` names no node type: `{head}`", hint)]
    return []


def _twin_of_head(config: ClusterConfig) -> tuple[ClusterConfig, list[Finding]]:
    head = config.available_node_types[config.head_type]
    if not head.max_workers and not head.min_workers:
        return config, []
    name = f"{config.head_type}-worker"
    while name in config.available_node_types:
        name += "-2"
    types: dict[str, NodeType] = {}
    for key, node_type in config.available_node_types.items():
        types[key] = node_type
        if key == config.head_type:
            types[key] = head.model_copy(update={"min_workers": 0, "max_workers": 0})
            types[name] = head
    message = f"node type `{config.head_type}` is the head's and has workers too; those are of a type called `{name}`"
    where = ("available_node_types", config.head_type)
    return _changed(config, available_node_types=types), [Finding(where, message, f"write the type `{name}` out", on_key=True)]


def _with_minimum(config: ClusterConfig, wanted: Wanted) -> ClusterConfig:
    """Rules 6 and 7, with `--min-workers` in the place of what the file says."""
    minimums = {name: config.min_workers_of(name) for name in config.worker_types}
    floor = config.min_workers
    if wanted.min_workers is not None:
        floor = wanted.min_workers
        if len(minimums) == 1:
            minimums = dict.fromkeys(minimums, floor)
    if "max_workers" not in config.model_fields_set:
        config = _changed(config, max_workers=max(DEFAULT_MAX_WORKERS, floor, sum(minimums.values())))
    for name in minimums:
        missing = max(0, floor - sum(minimums.values()))
        room = max(0, config.max_workers_of(name) - minimums[name])
        minimums[name] += min(missing, room)
    return _types_changed(config, minimums)


def _minimum_errors(config: ClusterConfig, wanted: Wanted) -> list[Finding]:
    """Ray's rule: minimums must fit into `max_workers`. Where the command line sets that, they are cut instead."""
    errors = []
    for name in config.worker_types:
        node_type = config.available_node_types[name]
        if node_type.max_workers is not None and node_type.min_workers > node_type.max_workers:
            message = (
                f"node type `{name}` has `min_workers: {node_type.min_workers}`, above its maximum {node_type.max_workers}"
            )
            where = ("available_node_types", name, "min_workers")
            errors.append(Finding(where, message, "raise its `max_workers`, or lower the minimum"))
    return errors + _sum_errors(config, wanted)


def _sum_errors(config: ClusterConfig, wanted: Wanted) -> list[Finding]:
    floor = config.min_workers if wanted.min_workers is None else wanted.min_workers
    reached = sum(config.min_workers_of(name) for name in config.worker_types)
    total = max(reached, floor)
    if wanted.max_workers is not None and (wanted.min_workers is None or total <= wanted.max_workers):
        return []
    limit = config.max_workers if wanted.max_workers is None else wanted.max_workers
    if total > limit and wanted.min_workers is not None:
        message = f"`--min-workers {wanted.min_workers}` makes at least {total} workers, but at most {limit} are allowed"
        return [Finding((), message, f"lower it, or give `--max-workers {total}`")]
    if total > limit:
        message = f"at least {total} workers are asked for (`min_workers`), but at most {limit} allowed (`max_workers`)"
        return [Finding(("max_workers",), message, f"set `max_workers: {total}`, or lower the minimums")]
    if reached < floor:
        message = f"at least {floor} workers are asked for, but the node types' maximums allow {reached} in all"
        return [Finding(("min_workers",), message, "raise a type's `max_workers`, or lower the minimum")]
    return []


def _within_maximum(config: ClusterConfig, wanted: Wanted) -> ClusterConfig:
    """Rule 8."""
    if wanted.max_workers is None:
        return config
    left, minimums = wanted.max_workers, {}
    for name in config.worker_types:
        minimums[name] = min(config.min_workers_of(name), left)
        left -= minimums[name]
    return _types_changed(_changed(config, max_workers=wanted.max_workers), minimums)
