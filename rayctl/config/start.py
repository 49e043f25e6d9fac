# SPDX-License-Identifier: Apache-2.0
"""The start commands of a cluster file, read: what of them rayctl does itself, and the rest byte for byte as written.

A `ray stop` would end every Ray on the machine, other people's too, so it becomes "stop this node's own". Ray's own
autoscaler is not started beside ours. Flags of Ray's first years get their present names. Nothing inside quotes is touched.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from rayctl.config.digest import digest
from rayctl.config.model import ClusterConfig, Command
from rayctl.config.shell import Simple, Word, simple_commands
from rayctl.config.steps import name_of

# RAYCTL_RAY_FLAGS are ports that the node chose, in words without blanks; empty where the provider gave them all.
DEFAULT_HEAD = "ulimit -Sn 65536 2>/dev/null; ray start --head $RAYCTL_RAY_FLAGS"
DEFAULT_WORKER = 'ulimit -Sn 65536 2>/dev/null; ray start --address="$RAY_HEAD_ADDRESS" $RAYCTL_RAY_FLAGS'

_RENAMED = {"--redis-address": "--address", "--redis-port": "--port"}
_DROPPED = "--autoscaling-config"
_CAN_END_BEFORE = {"", ";", "\n"}
_CAN_GO_ON_AFTER = {"", ";", "\n", "&&"}

Edit = tuple[int, int, str]


@dataclass(frozen=True)
class StartCommand:
    """One thing to do for starting Ray: run a command, or stop this node's own Ray (then `command` is empty)."""

    action: Literal["run", "stop"]
    command: str = ""
    name: str = ""
    timeout_s: float | None = None
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Start:
    """How Ray is started on a node. `port` is the GCS port that the head's command names, if it does."""

    commands: tuple[StartCommand, ...]
    port: int | None
    notices: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class _Reading:
    text: str
    stops: bool
    notices: tuple[str, ...]


def start_of(
    config: ClusterConfig,
    kind: str,
    *,
    resources: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Start:
    """How Ray is started on a head or worker ("head", "worker") that offers these resources and bears these labels.

    The digest covers what the user wrote, the resources, the labels and whether a token is used; nothing that is inserted.
    """
    written = config.head_start_ray_commands if kind == "head" else config.worker_start_ray_commands
    own = [[command.command, dict(command.env)] for command in written] or None
    head = kind == "head"
    text, name = (DEFAULT_HEAD, "ray start --head") if head else (DEFAULT_WORKER, "ray start")
    default = Command.model_construct(command=text, name=name)
    commands: list[StartCommand] = []
    notices: list[str] = []
    for command in written or (default,):
        reading = _read(command.command)
        notices += reading.notices
        if reading.stops:
            commands.append(StartCommand("stop"))
        if reading.text:
            commands.append(_run(command, reading.text))
    facts = [{name: float(amount) for name, amount in (resources or {}).items()}, dict(labels or {}), config.auth.ray_token]
    return Start(
        tuple(commands),
        _port([command.command for command in commands]) if kind == "head" else None,
        tuple(dict.fromkeys(notices)),
        digest(["start", str(kind), own, *facts]),
    )


def with_flags(command: str, flags: Mapping[str, str], *, head: bool) -> str:
    """The command with `--flag=value` put behind `ray start` for each flag that it does not give itself.

    An empty value puts the bare `--flag`. Where a text starts Ray in several ways, `head` says which are meant: those with or
    those without `--head`. A text that calls no `ray start` comes back as it is.
    """
    starts = [words for simple in simple_commands(command) if (words := simple.arguments_of("ray", "start"))]
    meant = [words for words in starts if _gives(words, "head") == head] or starts
    return _edited(command, [_insertion(words, flags) for words in meant])


def _run(command: Command, text: str) -> StartCommand:
    return StartCommand("run", text, name_of(command), command.timeout_s, dict(command.env))


def _read(text: str) -> _Reading:
    edits: list[Edit] = []
    notices: list[str] = []
    stops = False
    for simple in simple_commands(text):
        if simple.arguments_of("ray", "stop"):
            stops = True
            edits.append(_cut(text, simple))
        elif words := simple.arguments_of("ray", "start"):
            _read_flags(text, words, edits, notices)
    edited = _edited(text, edits)
    if stops and not simple_commands(edited):
        edited = ""
    return _Reading(edited, stops, tuple(notices))


def _cut(text: str, simple: Simple) -> Edit:
    """Take a command out of its list; where the list needs one in its place, `:` does nothing and succeeds."""
    if simple.opener not in _CAN_END_BEFORE or simple.closer not in _CAN_GO_ON_AFTER:
        return simple.start, simple.end, ":"
    end = simple.after
    while end < len(text) and text[end] in " \t":
        end += 1
    return simple.start, end, ""


def _read_flags(text: str, words: tuple[Word, ...], edits: list[Edit], notices: list[str]) -> None:
    for index, word in enumerate(words):
        name = word.text.split("=", 1)[0]
        if name in _RENAMED:
            edits.append((word.start, word.start + len(name), _RENAMED[name]))
            notices.append(f"`{name}` of a start command is run as `{_RENAMED[name]}`, its name in today's Ray")
        elif name == _DROPPED:
            last = word if "=" in word.text or index + 1 == len(words) else words[index + 1]
            start = word.start - (1 if text[word.start - 1] in " \t" else 0)
            edits.append((start, last.end, ""))
            notices.append(f"`{_DROPPED}` of a start command is left out: rayctl's scaler takes the place of Ray's")


def _insertion(words: tuple[Word, ...], flags: Mapping[str, str]) -> Edit:
    missing = [f"--{name}={value}" if value else f"--{name}" for name, value in flags.items() if not _gives(words, name)]
    return words[0].end, words[0].end, "".join(f" {shlex.quote(flag)}" for flag in missing)


def _gives(words: tuple[Word, ...], name: str) -> bool:
    return any(word.text.lstrip("'\"").split("=", 1)[0].rstrip("'\"") == f"--{name}" for word in words)


def _port(commands: list[str]) -> int | None:
    """The number behind `--port` in the first start of Ray that has one."""
    for command in commands:
        for simple in simple_commands(command):
            value = _value(simple.arguments_of("ray", "start") or (), "port")
            if value.isdecimal():
                return int(value)
    return None


def _value(words: tuple[Word, ...], name: str) -> str:
    """What is given for a flag, as `--flag=value` or `--flag value`; "" when nothing is."""
    texts = [word.text.strip("'\"") for word in words]
    for index, text in enumerate(texts):
        if text.startswith(f"--{name}="):
            return text.partition("=")[2].strip("'\"")
        if text == f"--{name}":
            return next(iter(texts[index + 1 :]), "")
    return ""


def _edited(text: str, edits: list[Edit]) -> str:
    for start, end, replacement in sorted(edits, reverse=True):
        text = text[:start] + replacement + text[end:]
    return text


def starts_ray(command: str) -> bool:
    """Whether a text calls `ray start`, so that Ray's processes must be there after it ended well."""
    return any(simple.arguments_of("ray", "start") for simple in simple_commands(command))
