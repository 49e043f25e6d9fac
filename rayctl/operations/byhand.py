# SPDX-License-Identifier: Apache-2.0
"""The machines' part of a playbook that a person runs: launch or end, and hold the cluster until that run is over.

A task of a playbook runs in a process that ends with it, but the right to change the cluster must last as long as the
plays that follow. So a process of its own takes it, does the work, answers, and keeps it while `ansible-playbook` lives.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rayctl import plan
from rayctl.errors import Busy, NodesFailed, RayctlError, Refused, Unreachable, UsageError
from rayctl.events import Bus
from rayctl.node import processes
from rayctl.operations import machines as acting
from rayctl.operations import scalerwork, tokens
from rayctl.operations.down import down
from rayctl.operations.options import DownOptions
from rayctl.operations.session import Session
from rayctl.providers.base import DeclaresHosts
from rayctl.transport.connection import Connection

KINDS = {kind.__name__: kind for kind in (RayctlError, UsageError, Refused, Unreachable, Busy)}
LOOK_S = 0.5
SshOptions = Callable[[Connection], tuple[str, ...]]
"""Words for ssh's command line: what a playbook's variables say of a host beyond the cluster file."""


@dataclass(frozen=True)
class Outcome:
    """Names of machines that were (in check mode: would be) launched and ended, and the plan in lines."""

    launched: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def machines(
    path: Path, overrides: Mapping[str, Any], *, absent: bool, workers_only: bool, lock_timeout_s: float, check: bool,
    playbook_pid: int, ssh_options: SshOptions,
) -> Outcome:  # fmt: skip
    """Bring the machines to what is wanted. Raises RayctlError."""
    if check:
        return _foreseen(_session("check", path, overrides, ssh_options), absent, workers_only)
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(reading)
        _holder(
            path, overrides, absent=absent, workers_only=workers_only, lock_timeout_s=lock_timeout_s,
            playbook_pid=playbook_pid, ssh_options=ssh_options, told=writing,
        )  # fmt: skip
    os.close(writing)
    with os.fdopen(reading, "rb") as word:
        answer = json.loads(word.read() or b'{"error": "RayctlError", "message": "the holder died", "hint": ""}')
    if "error" in answer:
        raise KINDS.get(answer["error"], RayctlError)(answer["message"], hint=answer["hint"])
    return Outcome(**answer)


def _session(operation: str, path: Path, overrides: Mapping[str, Any], ssh_options: SshOptions) -> Session:
    session = Session.open(operation, path, overrides, Bus(operation, "", ()))
    provider = session.provider
    if isinstance(provider, DeclaresHosts):
        provider.ssh_options = {node.name: ssh_options(provider.connection(node)) for node in provider.declared()}
    return session


def _foreseen(session: Session, absent: bool, workers_only: bool) -> Outcome:
    config, nodes = session.config, session.deployment.nodes
    if absent:
        hosts = acting.declared(session.provider)
        going = plan.teardown(config, nodes, hosts, workers_only=workers_only, keep_min_workers=False)
        return Outcome(ended=[node.name for node in going], lines=[f"end {node.name}" for node in going])
    wanted = acting.wanted(session)
    launched = [launch.type for launch in wanted.launches for _ in range(launch.count)]
    return Outcome(launched, [ending.node.name for ending in wanted.endings], acting.explain(wanted))


def _holder(
    path: Path, overrides: Mapping[str, Any], *, absent: bool, workers_only: bool, lock_timeout_s: float, playbook_pid: int,
    ssh_options: SshOptions, told: int,
) -> None:  # fmt: skip
    """The life of the process that holds the cluster. Never returns."""
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    playbook = processes.find(playbook_pid)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    try:
        session = _session("playbook", path, overrides, ssh_options)
        session.refuse_what_is_not_built()
        if absent:
            done = down(session, DownOptions(workers_only, lock_timeout_s=lock_timeout_s), lambda _: None)
            _answer(told, asdict(Outcome(ended=list(done.ended))))
            os._exit(0)
        session.require_local_files()
        with session.one_writer(lock_timeout_s):
            _answer(told, asdict(_launch(session)))
            while playbook is not None and processes.alive(playbook.pid, playbook.started):
                time.sleep(LOOK_S)
    except RayctlError as e:
        _answer(told, {"error": _kind(e), "message": e.message, "hint": e.hint})
    except BaseException as e:  # nobody else would hear of it
        _answer(told, {"error": "RayctlError", "message": f"{type(e).__name__}: {e}", "hint": ""})
    os._exit(0)


def _launch(session: Session) -> Outcome:
    outcome = session.replanned(lambda: _launch_missing(session))
    session.take_lease()
    tokens.ensure(session)
    return outcome


def _launch_missing(session: Session) -> Outcome:
    _heed_scaler(session)
    wanted = acting.wanted(session)
    launched, failures = acting.apply(session, wanted) if wanted else ([], [])
    if failures and not (isinstance(session.provider, DeclaresHosts) and session.deployment.head):
        raise NodesFailed("; ".join(f"{f.node}: {f.reason}" for f in failures), tuple(failures))
    # a declared host that could not be claimed says so by itself, in the play over the hosts
    return Outcome([node.name for node in launched], [e.node.name for e in wanted.endings], acting.explain(wanted))


def _heed_scaler(session: Session) -> None:
    """A head that cannot run the wanted scaler is refused before all else; one that nobody wants any more is removed.

    What is to be installed is the business of a play of its own.
    """
    if not scalerwork.concerns(session):
        return
    from rayctl.operations import headscaler

    if headscaler.find_out(session, check=True).leaves:
        session.take_lease()
        if failures := headscaler.retire(session):
            raise NodesFailed("; ".join(f"{f.node}: {f.reason}" for f in failures), tuple(failures))


def _kind(error: RayctlError) -> str:
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in KINDS), "RayctlError")


def _answer(told: int, message: Mapping[str, Any]) -> None:
    try:
        os.write(told, json.dumps(message).encode())
        os.close(told)
    except OSError:
        sys.exit(1)
