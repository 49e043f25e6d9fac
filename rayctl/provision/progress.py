# SPDX-License-Identifier: Apache-2.0
"""What nodes tell while they work, on its way from Ansible's worker processes to the wrapper.

Each worker appends lines to one file, named by RAYCTL_PROGRESS; the wrapper follows it. Without a wrapper, a person's
`ansible-playbook -v` shows steps and `-vv` shows their output.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rayctl.node.wire import Message

VARIABLE = "RAYCTL_PROGRESS"
FOLDER = "RAYCTL_RUN_FOLDER"  # names the run's folder to Ansible
LOOK_S = 0.02
Report = Callable[[Message], None]


class Display(Protocol):
    """The part of Ansible's display that is used here."""

    def v(self, msg: str, host: str | None = None) -> None:
        """Shown with -v."""

    def vv(self, msg: str, host: str | None = None) -> None:
        """Shown with -vv."""


def reporter(host: str, display: Display) -> Report:
    """Where a worker sends a node's messages."""
    path = os.environ.get(VARIABLE)
    if not path:
        return lambda message: _show(message, host, display)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    # one write per line with O_APPEND: lines of many hosts do not mix
    return lambda message: _append(fd, {"host": host, **message})


def _append(fd: int, message: Message) -> None:
    os.write(fd, json.dumps(message).encode() + b"\n")


def _show(message: Message, host: str, display: Display) -> None:
    if message["event"] == "step":
        display.v(f"{message['phase']} {message['index'] + 1} ({message['name']}): {message['state']}", host=host)
    elif message["event"] == "out":
        display.vv(message["text"].rstrip("\n"), host=host)


class Follower:
    """Reads the file as it grows, in a thread, until `stop`; `tick` is called between looks."""

    def __init__(self, path: Path, take: Callable[[dict[str, Any]], None], tick: Callable[[], None]) -> None:
        self._path, self._take, self._tick = path, take, tick
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Follower:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(5)

    def _follow(self) -> None:
        part = ""
        with self._path.open() as lines:
            while True:
                ended = self._ended.is_set()
                while line := lines.readline():
                    part += line
                    if part.endswith("\n"):
                        self._take(json.loads(part))
                        part = ""
                self._tick()
                if ended:
                    return
                self._ended.wait(LOOK_S)
