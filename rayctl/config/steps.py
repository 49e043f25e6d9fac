# SPDX-License-Identifier: Apache-2.0
"""The steps that prepare a node: which commands of the cluster file run there, in what order, and their digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rayctl.config.digest import chain, digest
from rayctl.config.model import ClusterConfig, Command, Commands

LONGEST_NAME = 60

Phase = Literal["initialization", "setup"]


@dataclass(frozen=True)
class Step:
    """One command of a node's preparation. `timeout_s` None: it may take as long as it likes. `become`: it runs as root."""

    phase: Phase
    command: str
    name: str
    timeout_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    become: bool = False


def steps_of(config: ClusterConfig, kind: str, node_type: str) -> tuple[Step, ...]:
    """The steps of a node of this kind ("head", "worker") and type: initialization first, then set-up.

    As with Ray, set-up is `setup_commands` followed by the head's or the workers' own; a type's `worker_setup_commands`
    replaces both on workers. A type's `initialization_commands` and `setup_commands` replace everything of theirs.
    """
    own = config.available_node_types[node_type]
    initialization = config.initialization_commands if own.initialization_commands is None else own.initialization_commands
    steps = (*_steps("initialization", initialization), *_steps("setup", _setup(config, kind, node_type)))
    return tuple(replace(step, become=config.auth.become) for step in steps)


def chained(base_digest: str, steps: Sequence[Step]) -> tuple[str, ...]:
    """One digest for each step, covering its text, environment and user, and all that comes before, back to `base_digest`."""
    digests: list[str] = []
    for step in steps:
        before = digests[-1] if digests else base_digest
        # a step of the login user's has the digest that it had before there were steps of root's
        before = digest(["become", before]) if step.become else before
        digests += chain(before, [(step.command, step.env)])
    return tuple(digests)


def name_of(command: Command) -> str:
    """What people see while a command runs: its name, or the beginning of its first line."""
    first = command.name or command.command.strip().splitlines()[0]
    return first if len(first) <= LONGEST_NAME else f"{first[: LONGEST_NAME - 3]}..."


def _setup(config: ClusterConfig, kind: str, node_type: str) -> Commands:
    own = config.available_node_types[node_type]
    if own.setup_commands is not None:
        return own.setup_commands
    if kind == "head":
        return config.setup_commands + config.head_setup_commands
    if own.worker_setup_commands is not None:
        return own.worker_setup_commands
    return config.setup_commands + config.worker_setup_commands


def _steps(phase: Phase, commands: Commands) -> tuple[Step, ...]:
    return tuple(Step(phase, command.command, name_of(command), command.timeout_s, dict(command.env)) for command in commands)
