# SPDX-License-Identifier: Apache-2.0
"""Looks at hosts, many at once: a host that does not answer holds up nobody, and may still answer later."""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from rayctl.errors import Unreachable
from rayctl.transport import failures, glance, masters, sshconfig
from rayctl.transport.glance import Glance
from rayctl.transport.remote import remote
from rayctl.transport.ssh import SshTransport

AT_ONCE = min(64, 16 * (os.cpu_count() or 1))  # handshakes that wait for a CPU run into ssh's own time-outs
SLOW_S = 2.0  # a look takes milliseconds: over a master that is alive, none takes this long
LONGEST_S = 20.0  # more than ssh's own patience with a host
PATIENCE_S = 30.0  # while no host at all has answered
GRACE_S = 3.0  # after the last answer
TICK_S = 0.5
PAUSE_S = 0.3  # before a second attempt
IN_VAIN = "the connection is there, and nothing answers on it"
BEHIND = re.compile("UNKNOWN port")  # how ssh calls what it reaches through another host
# what ssh says when its master has lost the host, when too many log in at once, and when those on the way fail
WORTH_ANOTHER = re.compile(
    rf"{IN_VAIN}|{BEHIND.pattern}|mux_client|master|Broken pipe|kex_exchange_identification|Connection reset"
)
# it gives up later than those on the way, who then tell why
BARE = ("-o", "ControlPath=none", "-o", f"ConnectTimeout={sshconfig.CONNECT_S + 5}")


class Look:
    """A look at one host. `began` and `answered` are its times, None until then."""

    def __init__(self, transport: SshTransport) -> None:
        self._transport, self._connection = transport, transport.connection
        self.name = self._connection.name
        self._child: subprocess.Popen[bytes] | None = None
        self._ended = False
        self.began: float | None = None
        self.answered: float | None = None
        self.answer: Future[Glance] = Future()

    def take(self, slots: threading.Semaphore) -> None:
        """Look, within one of the slots while that may be quick, and give the `answer`: a glance or `Unreachable`."""
        with _Slot(slots) as slot:
            self.began = time.monotonic()
            try:
                found = self._glance("", slot)
                # a machine without an id is known by its name, which only its answer tells
                if not found.machine_id:
                    found = self._glance(glance.machine_of(found.hostname), slot)
                self.answered = time.monotonic()
                self.answer.set_result(found)
            except BaseException as problem:  # raised where the answer is asked for
                self.answer.set_exception(problem)

    def end(self) -> None:
        """Cut it short."""
        self._ended = True
        if self._child is not None:
            self._child.kill()

    def _glance(self, machine: str, slot: _Slot) -> Glance:
        script = remote(glance.command(self._connection.state_dir, machine, keys=self._connection.tells_keys))
        status, out, said = self._ask([*self._transport.rsh(), script], slot)
        if status == failures.SSH_FAILED and WORTH_ANOTHER.search(said) and not self._ended:
            time.sleep(PAUSE_S)
            # with a master to come, ssh hides what those on the way say
            options = BARE if BEHIND.search(said) else ()
            status, out, said = self._ask([*self._transport.rsh(*options), script], slot)
        if status:
            problem = failures.ended(self._connection, status, said)
            raise problem if isinstance(problem, Unreachable) else Unreachable(problem.message, hint=problem.hint)
        return glance.parse(out)

    def _ask(self, words: Sequence[str], slot: _Slot) -> tuple[int, bytes, str]:
        """Exit status, output and last words of one ssh."""
        had_master = bool(masters.sockets(self._transport.masters))
        with subprocess.Popen(
            words, env=masters.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            start_new_session=True,
        ) as child:  # fmt: skip
            self._child = child
            try:
                return _said(child, SLOW_S)
            except subprocess.TimeoutExpired:
                slot.give_back()
            try:
                # when it is a master that waits in vain, the next ssh opens a connection of its own
                return _said(child, 0.0 if had_master and masters.stop(self._transport.masters) else LONGEST_S)
            except subprocess.TimeoutExpired:
                child.kill()
                return failures.SSH_FAILED, b"", IN_VAIN


def _said(child: subprocess.Popen[bytes], patience_s: float) -> tuple[int, bytes, str]:
    out, err = child.communicate(timeout=patience_s)
    return child.returncode, out, err.decode("utf-8", "replace")


class _Slot:
    """A place among those who may be asked at once; given back early by who turns out to be slow."""

    def __init__(self, slots: threading.Semaphore) -> None:
        self._slots, self._mine = slots, False

    def __enter__(self) -> _Slot:
        self._mine = self._slots.acquire()
        return self

    def give_back(self) -> None:
        """Let the next one begin."""
        if self._mine:
            self._mine = False
            self._slots.release()

    def __exit__(self, *_: object) -> None:
        self.give_back()


def begin(looks: Sequence[Look], slots: threading.Semaphore) -> None:
    """Look in the background. The end of the program does not wait for hosts that are silent."""
    for look in looks:
        threading.Thread(target=look.take, args=(slots,), daemon=True).start()


def wait_for(looks: Sequence[Look]) -> None:
    """Until all have answered, or the others have waited long enough for those that have not."""
    while missing := [look.answer for look in looks if not look.answer.done()]:
        left = deadline([(look.began, look.answered) for look in looks]) - time.monotonic()
        if left <= 0:
            return
        wait(missing, min(left, TICK_S), FIRST_COMPLETED)


def deadline(times: Sequence[tuple[float | None, float | None]]) -> float:
    """When to wait no longer, given when each host was asked and when it answered."""
    began = [begin for begin, _ in times if begin is not None]
    if len(began) < len(times):
        return float("inf")  # who was not asked cannot be late
    took = [end - begin for begin, end in times if begin is not None and end is not None]
    if not took:
        return max(began) + PATIENCE_S
    last = max([*began, *(end for _, end in times if end is not None)])
    return last + max(GRACE_S, 2 * max(took))
