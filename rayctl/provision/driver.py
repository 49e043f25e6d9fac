# SPDX-License-Identifier: Apache-2.0
"""Runs a playbook through ansible-runner: live progress, clean cancel, nothing left behind.

What ansible-runner does not do by itself, and is done here:

* cancel and time-out: it kills Ansible's process group by SIGKILL, but Ansible's workers are in sessions of their own and
  would live on. The child gets SIGTERM first, and its workers pass a cancel on to the nodes; the kill comes only when that
  did not help.
* host keys: it turns checking off unless told otherwise.
* secrets: it writes the environment and the extra vars into its artifacts, so it gets neither secrets nor user data; its
  folder is private and goes with the run, at the latest at the next start. A password for sudo is a file in there.
* questions: Ansible would ask them at a terminal that nobody sees.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

import rayctl
from rayctl.node import processes
from rayctl.provision.progress import VARIABLE, Follower
from rayctl.state.paths import home
from rayctl.state.private import private_dir
from rayctl.transport.local import OWNER

GRACE_S = 12.0  # for Ansible to end its workers, and those to end the nodes' steps
FORKS = 200
POLL_S = 0.1
FOLDER = "RAYCTL_RUN_FOLDER"  # names the run's folder to Ansible
INVENTORY, PASSWORD = "cluster.rayctl.yml", "become-password"


@dataclass(frozen=True)
class Playbook:
    """What to run: a playbook of the collection by its name (`up`), on which hosts, how.

    `variables` become extra vars and hold flags of rayctl's own only, never anything from a cluster file. `become_password`
    is for sudo on the nodes.
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
        on_message: Callable[[dict[str, Any]], None],
        on_tick: Callable[[], None] = lambda: None,
        timeout_s: float | None = None,
    ) -> None:
        self.playbook, self.timeout_s = playbook, timeout_s
        self._on_message, self._on_tick = on_message, on_tick
        self._outcome = Outcome()
        self._cancel = threading.Event()
        self._timed_out = False
        self._asked_at: float | None = None
        self._began = time.monotonic()

    def cancel(self) -> None:
        """End the run; fit for a signal handler."""
        self._cancel.set()

    def run(self) -> Outcome:
        """Run to the end, whatever that is."""
        import ansible_runner  # here, since only commands that change nodes need it

        sweep()
        folder = _own_folder()
        sink = folder / "progress.jsonl"
        sink.touch(0o600)
        self._write_inventory(folder)
        self._write_password(folder)
        try:
            with Follower(sink, self._take, self._on_tick), _small_environment():
                runner = ansible_runner.run(
                    private_data_dir=str(folder), playbook=f"rayctl.ray.{self.playbook.name}", quiet=True,
                    cmdline=self._flags(), envvars=_environment(folder, sink),
                    settings={"pexpect_timeout": POLL_S, "suppress_ansible_output": True},
                    event_handler=self._event, cancel_callback=self._asks_to_stop,
                )  # fmt: skip
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._outcome.status = "canceled" if self._cancel.is_set() else "timeout" if self._timed_out else runner.status
        return self._outcome

    def _write_inventory(self, folder: Path) -> None:
        source = {"plugin": "rayctl.ray.rayctl", "cluster": str(self.playbook.cluster_file), **self.playbook.overrides}
        (folder / INVENTORY).write_text(yaml.safe_dump(source))

    def _write_password(self, folder: Path) -> None:
        if self.playbook.become_password:
            private = os.open(folder / PASSWORD, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(private, "w", errors="surrogateescape") as file:
                file.write(self.playbook.become_password)

    def _flags(self) -> str:
        book = self.playbook
        # Ansible expands variables in these paths: so a home whose own name has a `$` in it arrives as it is
        argv = ["-i", f"${FOLDER}/{INVENTORY}", f"--forks={FORKS}"]
        argv += ["--limit", ",".join(book.limit)] if book.limit else []
        # the check of the role's arguments is tagged `always`; ours are right, and it costs a fork per host
        argv += ["--tags", ",".join(book.tags), "--skip-tags", "always"] if book.tags else []
        argv += [flag for flag, wanted in (("--check", book.check), ("--diff", book.diff)) if wanted]
        argv += ["--become-password-file", f"${FOLDER}/{PASSWORD}"] if book.become_password else []
        argv += [word for key, value in book.variables.items() for word in ("-e", f"{key}={value}")]
        return shlex.join(argv)

    def _take(self, message: dict[str, Any]) -> None:
        if message["event"] == "done":
            self._outcome.nodes[message["host"]] = message
        self._on_message(message)

    def _event(self, event: dict[str, Any]) -> bool:
        data = event.get("event_data") or {}
        if event["event"] == "runner_on_failed" and not data.get("ignore_errors"):
            self._outcome.failures[data["host"]] = str(data["res"].get("msg", ""))
        elif event["event"] == "runner_on_unreachable":
            self._outcome.unreachable[data["host"]] = str(data["res"].get("msg", ""))
        elif event["event"] in ("error", "verbose") and event.get("stdout"):
            self._outcome.output += event["stdout"] + "\n"
        if data.get("res", {}).get("diff"):
            self._outcome.diffs[data["host"]] = data["res"]["diff"]
        return False  # no event files

    def _asks_to_stop(self) -> bool:
        """ansible-runner's question "kill it?", asked every POLL_S: first ask it to stop, then yes."""
        now = time.monotonic()
        self._timed_out = self._timed_out or bool(self.timeout_s and now - self._began > self.timeout_s)
        if not (self._cancel.is_set() or self._timed_out):
            return False
        if self._asked_at is None:
            self._asked_at = now
            for pid in _playbooks_of(os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
        return now - self._asked_at > GRACE_S


def _playbooks_of(parent: int) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").iterdir()
    pids = (int(pid) for task in tasks for pid in _content(task / "children").split())
    return [pid for pid in pids if b"ansible-playbook" in _content(Path(f"/proc/{pid}/cmdline"))]


def _content(path: Path) -> bytes:
    """A file of /proc; nothing when its thread or process has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


KEPT = re.compile(
    r"^(HOME|USER|LOGNAME|SHELL|PATH|LANG|LC_\w+|TERM|TZ|TMPDIR|SSH_AUTH_SOCK|PYTHONPATH|VIRTUAL_ENV|"
    r"XDG_\w+|ANSIBLE_(?!PRIVATE_KEY$|\w*_PASS(WORD|PHRASE)?$)\w+|RAYCTL_\w+)$"
)


@contextmanager
def _small_environment() -> Iterator[None]:
    """ansible-runner starts from our whole environment and writes it to disk; what may be secret is kept from it meanwhile.

    Nodes on this machine get the caller's environment all the same: their transport reads it from this process.
    """
    whole = dict(os.environ)
    for name in whole:
        if not KEPT.match(name):
            del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(whole)


def _environment(folder: Path, sink: Path) -> dict[str, str]:
    """What Ansible gets beyond our own environment. It ends up in a file of the run's folder: no secrets."""
    me = processes.find(os.getpid())
    assert me is not None
    variables = {
        "ANSIBLE_INVENTORY_ENABLED": "rayctl.ray.rayctl",
        "ANSIBLE_HOST_KEY_CHECKING": "True",
        "ANSIBLE_GATHERING": "explicit",
        "ANSIBLE_LOCALHOST_WARNING": "False",
        "ANSIBLE_ASK_PASS": "False",
        "ANSIBLE_ASK_VAULT_PASS": "False",
        "ANSIBLE_BECOME_ASK_PASS": "False",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        OWNER: f"{me.pid}/{me.started}",
        FOLDER: str(folder),
        VARIABLE: str(sink),
    }
    if folders := os.environ.get("PYTHONPATH"):  # Ansible runs in another folder, and a provider of the user's may lie there
        variables["PYTHONPATH"] = os.pathsep.join(str(Path(folder).absolute()) for folder in folders.split(os.pathsep))
    if (root := _checkout()) is not None:
        variables["ANSIBLE_COLLECTIONS_PATH"] = str(root / "collections")
    return {key: value for key, value in variables.items() if value}


def _checkout() -> Path | None:
    """The checkout that this rayctl runs from; None when it is installed, and Ansible finds the collection by itself."""
    root = Path(rayctl.__file__).resolve().parent.parent
    return root if (root / "collections" / "ansible_collections").is_dir() and (root / "galaxy.yml").is_file() else None


# ---- the folders of runs
def _runs() -> Path:
    return private_dir(private_dir(home(os.environ)) / "ansible")


def _own_folder() -> Path:
    me = processes.find(os.getpid())
    assert me is not None
    return Path(tempfile.mkdtemp(prefix=f"{me.pid}-{me.started}-", dir=_runs()))


def sweep() -> None:
    """Remove the folders of runs whose process is gone."""
    for folder in _runs().iterdir():
        pid, _, rest = folder.name.partition("-")
        started = rest.partition("-")[0]
        if pid.isdigit() and started.isdigit() and not processes.alive(int(pid), int(started)):
            shutil.rmtree(folder, ignore_errors=True)
