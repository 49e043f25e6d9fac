# SPDX-License-Identifier: Apache-2.0
"""One `ansible-playbook`, started by ansible-runner: it loads itself while rayctl still finds out what there is to play.

What ansible-runner does not do by itself, and is done here:

* cancel: Ansible gets SIGTERM first, and its workers pass a cancel on to the nodes; only when that did not help it is
  killed.
* host keys: it turns checking off unless told otherwise.
* secrets: it writes the environment into its artifacts, so it gets a small one; its folder is private and goes with the
  process, at the latest at the next start.
* questions: Ansible would ask them at a terminal that nobody sees.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import rayctl
from rayctl.node import processes
from rayctl.provision.progress import FOLDER, VARIABLE
from rayctl.state.paths import home
from rayctl.state.private import private_dir
from rayctl.transport.channel import leave_signals
from rayctl.transport.local import OWNER

GRACE_S = 12.0  # for Ansible to end its workers, and those to end the nodes' steps
BEGIN_S = 1.0
CLOSE_S = 0.02
NAME = "ansible-playbook"  # as which it is known in the list of processes
STANDBY = ("-P", "-m", "rayctl.provision.standby", NAME)
KEPT = re.compile(
    r"^(HOME|USER|LOGNAME|SHELL|PATH|LANG|LC_\w+|TERM|TZ|TMPDIR|SSH_AUTH_SOCK|PYTHONPATH|VIRTUAL_ENV|"
    r"XDG_\w+|ANSIBLE_(?!PRIVATE_KEY$|\w*_PASS(WORD|PHRASE)?$)\w+|RAYCTL_\w+)$"
)


class AnsibleProcess:
    """Loading from now on. `play` tells it what, once; `close` ends it, at the latest then.

    `folder` is its own, and `sink` a file in there to which the nodes' messages go. `events` are ansible-runner's, and
    `status` is how it ended; both are there when it has `ended`.
    """

    def __init__(self) -> None:
        from ansible_runner import interface  # here, since only commands that change nodes need it

        sweep()
        self.folder = _own_folder()
        self.sink = self.folder / "progress.jsonl"
        self.sink.touch(0o600)
        self.events: list[dict[str, Any]] = []
        self._playing = False
        self._asked_at: float | None = None
        self._begun = threading.Event()
        self.status = ""
        words, self._orders = os.pipe()
        try:
            self._runner = interface.init_command_config(
                sys.executable, [*STANDBY, str(self.folder)], runner_mode="subprocess", input_fd=words, quiet=True,
                private_data_dir=str(self.folder), host_cwd=str(self.folder), envvars=_environment(self.folder, self.sink),
                settings={"suppress_ansible_output": True, "suppress_output_file": True}, event_handler=self._keep,
                status_handler=self._note,
            )  # fmt: skip
            self._runner.config.env = _without_secrets(self._runner.config.env)
        except BaseException:
            self._dismiss()
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        self._thread = threading.Thread(target=self._run, args=(words,), daemon=True)
        self._thread.start()
        self._begun.wait(BEGIN_S)  # it would take longer beside what we do next: a thread gets its turn only now and then

    def _run(self, words: int) -> None:
        leave_signals()
        try:
            self._runner.run()
            self.status = self._runner.status
        except Exception as problem:  # a full disk, say; whoever waits for the play is told as by Ansible
            self.status = "failed"
            self.events.append({"event": "error", "stdout": str(problem)})
        finally:
            self._begun.set()
            os.close(words)

    def _note(self, status: Mapping[str, Any], **_: object) -> None:
        if status["status"] == "running":
            self._begun.set()

    def _keep(self, event: dict[str, Any]) -> bool:
        self.events.append(event)
        return False  # no event files

    def play(self, words: Sequence[str]) -> None:
        """Run the playbook that these words of a command line name."""
        self._playing, orders, self._orders = True, self._orders, -1
        with suppress(BrokenPipeError), os.fdopen(orders, "w") as line:  # if it is gone, its status tells
            line.write(json.dumps([NAME, *words]) + "\n")

    def ended(self, patience_s: float) -> bool:
        """Whether it has ended, or does so within this time."""
        self._thread.join(patience_s)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Ask it to end, and kill it when it was asked GRACE_S ago: to be called until it has ended. Its workers see that."""
        now = time.monotonic()
        if self._asked_at is None:
            self._asked_at = now
            self._signal(signal.SIGTERM)
        elif now - self._asked_at > GRACE_S:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for pid in _children_of(os.getpid(), with_word=str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """See to its end, and leave nothing behind. One that plays gets time to end by itself."""
        self._dismiss()
        if self._playing:
            self.ended(GRACE_S)
        while not self.ended(CLOSE_S):
            if self._playing:
                self.stop()
            else:  # it may be that it has not even been started yet
                self._signal(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _dismiss(self) -> None:
        if self._orders >= 0:
            os.close(self._orders)
            self._orders = -1


def _children_of(parent: int, *, with_word: str) -> list[int]:
    tasks = Path(f"/proc/{parent}/task").iterdir()
    pids = (int(pid) for task in tasks for pid in _content(task / "children").split())
    return [pid for pid in pids if os.fsencode(with_word) in _content(Path(f"/proc/{pid}/cmdline")).split(b"\0")]


def _content(path: Path) -> bytes:
    """A file of /proc; nothing when its thread or process has just ended."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """What of our environment may be secret is kept from the runner, which writes it to disk.

    Nodes on this machine get the caller's environment all the same: their transport reads it from this process.
    """
    return {name: value for name, value in environment.items() if KEPT.match(name) or os.environ.get(name) != value}


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
