# SPDX-License-Identifier: Apache-2.0
"""Runs a playbook: live progress, clean cancel and time-out, what came of each host."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rayctl.provision.ansible_process import AnsibleProcess
from rayctl.provision.errands import Errand
from rayctl.provision.progress import FOLDER, Follower

FORKS = 200
POLL_S = 0.05
INVENTORY, PASSWORD = "cluster.rayctl.yml", "become-password"


@dataclass(frozen=True)
class Playbook:
    """What to run: a playbook of the collection by its name (`up`), on which hosts, how.

    `variables` become extra vars and hold flags of rayctl's own only, never anything from a cluster file. `become_password`
    is for sudo on the nodes, `errand` what the playbook `exec` runs there.
    """

    name: str
    cluster_file: Path
    overrides: Mapping[str, Any] = field(default_factory=dict)
    limit: tuple[str, ...] = ()
    variables: Mapping[str, str | int] = field(default_factory=dict)
    check: bool = False
    diff: bool = False
    tags: tuple[str, ...] = ()
    become_password: str = field(default="", repr=False)
    errand: Errand | None = None


@dataclass
class Outcome:
    """How it ended. `status` is successful, failed, canceled or timeout.

    `nodes` maps a host to its run's outcome (`node/run.py`); `failures` and `unreachable` hold the texts of hosts that
    never got so far. `diffs` holds what `--diff` shows, by host.
    """

    status: str = "failed"
    nodes: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    diffs: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    output: str = ""

    def after(self, earlier: Outcome) -> Outcome:
        """Both runs as one: what this one tells of a host is the newer word."""
        return Outcome(
            self.status, {**earlier.nodes, **self.nodes}, {**earlier.failures, **self.failures},
            {**earlier.unreachable, **self.unreachable}, {**earlier.diffs, **self.diffs}, earlier.output + self.output,
        )  # fmt: skip


class Driver:
    """One playbook run. `on_message` gets each node's messages as they come (with `host`), `on_tick` runs between."""

    def __init__(
        self,
        playbook: Playbook,
        *,
        on_message: Callable[[dict[str, Any]], None] = lambda _: None,
        on_tick: Callable[[], None] = lambda: None,
        timeout_s: float | None = None,
    ) -> None:
        self.playbook, self.timeout_s = playbook, timeout_s
        self._on_message, self._on_tick = on_message, on_tick
        self._outcome = Outcome()
        # what --diff shows comes with Ansible's own results
        self._waits_for = set() if playbook.diff or playbook.check else set(playbook.limit)
        self._all_told = threading.Event()
        self._cancel = threading.Event()
        self._timed_out = False
        self._began = time.monotonic()

    def cancel(self) -> None:
        """End the run; fit for a signal handler."""
        self._cancel.set()

    def run(self, ansible: AnsibleProcess) -> Outcome:
        """Run until nothing more is to be learnt: all hosts have told of their end, or Ansible has come to its own.

        The process is used up by it; whoever gave it sees to its end.
        """
        self._write_inventory(ansible.folder)
        self._write_password(ansible.folder)
        if self.playbook.errand:
            self.playbook.errand.store(ansible.folder)
        try:
            with Follower(ansible.sink, self._take, self._on_tick):
                ansible.play(self._words())
                while not ansible.ended(0):
                    if self._is_over():
                        ansible.stop()
                    if self._all_told.wait(POLL_S):
                        return self._ended("successful")
        except BaseException:
            ansible.stop()
            raise
        for event in ansible.events:
            self._learn(event)
        return self._ended(ansible.status)

    def _ended(self, status: str) -> Outcome:
        self._outcome.status = "canceled" if self._cancel.is_set() else "timeout" if self._timed_out else status
        return self._outcome

    def _write_inventory(self, folder: Path) -> None:
        source = {"plugin": "rayctl.ray.rayctl", "cluster": str(self.playbook.cluster_file), **self.playbook.overrides}
        (folder / INVENTORY).write_text(yaml.safe_dump(source))

    def _write_password(self, folder: Path) -> None:
        if self.playbook.become_password:
            private = os.open(folder / PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(private, "w", errors="surrogateescape") as file:
                file.write(self.playbook.become_password)

    def _words(self) -> list[str]:
        book = self.playbook
        # Ansible expands variables in these paths: so a home whose own name has a `$` in it arrives as it is
        words = [f"rayctl.ray.{book.name}", "-i", f"${FOLDER}/{INVENTORY}", f"--forks={FORKS}"]
        words += ["--limit", ",".join(book.limit)] if book.limit else []
        # the check of the role's arguments is tagged `always`; ours are right, and it costs a fork per host
        words += ["--tags", ",".join(book.tags), "--skip-tags", "always"] if book.tags else []
        words += [flag for flag, wanted in (("--check", book.check), ("--diff", book.diff)) if wanted]
        words += ["--become-password-file", f"${FOLDER}/{PASSWORD}"] if book.become_password else []
        words += [word for key, value in book.variables.items() for word in ("-e", f"{key}={value}")]
        return words

    def _take(self, message: dict[str, Any]) -> None:
        self._on_message(message)
        if message["event"] == "done":
            self._outcome.nodes[message["host"]] = message
            if self._waits_for and self._waits_for <= set(self._outcome.nodes):
                self._all_told.set()

    def _learn(self, event: Mapping[str, Any]) -> None:
        data = event.get("event_data") or {}
        if event["event"] == "runner_on_failed" and not data.get("ignore_errors"):
            self._outcome.failures[data["host"]] = str(data["res"].get("msg", ""))
        elif event["event"] == "runner_on_unreachable":
            self._outcome.unreachable[data["host"]] = str(data["res"].get("msg", ""))
        elif event["event"] in ("error", "verbose") and event.get("stdout"):
            self._outcome.output += event["stdout"] + "\n"
        if data.get("res", {}).get("diff"):
            self._outcome.diffs[data["host"]] = data["res"]["diff"]

    def _is_over(self) -> bool:
        """Whether it was cancelled, or the time is up."""
        self._timed_out = self._timed_out or bool(self.timeout_s and time.monotonic() - self._began > self.timeout_s)
        return self._cancel.is_set() or self._timed_out
