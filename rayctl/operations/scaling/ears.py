# SPDX-License-Identifier: Apache-2.0
"""Where a scaler is heard: by the files that it writes on this controller, or on the head of its cluster.

It tells how things stand in one document, which it replaces at each turn, and what happens in a log of events per run.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rayctl.errors import RayctlError
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision import remote
from rayctl.provision.headscaler import service
from rayctl.reconcile import told
from rayctl.reconcile.told import ScalerStatus
from rayctl.state import paths
from rayctl.transport import masters
from rayctl.transport.remote import folder_word
from rayctl.transport.remote import remote as word

HEAR = """cd {home} || exit 0
date +%s
log=
for file in {logs}/*.jsonl; do log=$file; done
printf '%s\\n' "$log"
tr -d '\\n' < {status}
echo
case {known} in
'') skip=$(wc -c < "$log") ;;
"$log") skip={read} ;;
*) skip=0 ;;
esac
printf '%d\n' $skip
tail -c +$((skip + 1)) "$log"
"""


@dataclass(frozen=True)
class Said:
    """What a scaler told. `now` is its machine's time, `lines` are those of its log since it was heard for the first time."""

    now: float
    status: ScalerStatus | None = None
    lines: Sequence[bytes] = ()


class Ear(Protocol):
    """Hears one scaler."""

    where: str
    """Before the path of a file of the scaler's, for people: `h1:`, or nothing for this controller."""
    poll_s: float
    """How long to wait between two times."""

    def hear(self) -> Said:
        """What it told since. Raises RayctlError where its words cannot be read."""


@dataclass
class _Cursor:
    """How much was read of which log. What the first one has already when it is met counts as read: it may be long."""

    name: str = ""
    read: int = 0

    def lines(self, name: str, begin: int, rest: bytes) -> list[bytes]:
        """The whole lines in `rest`, which is what the log has from this byte on."""
        whole = rest[: rest.rfind(b"\n") + 1]
        self.name, self.read = name, begin + len(whole)
        return whole.splitlines()


class Here:
    """Hears a scaler of this controller."""

    where, poll_s = "", 0.2

    def __init__(self, session: Session) -> None:
        self._status = paths.scaler_status(session.root, session.name)
        self._logs = paths.runs_dir(session.root, session.name, "scaler")
        self._cursor = _Cursor()

    def hear(self) -> Said:
        """See `Ear`."""
        return Said(time.time(), told.read(self._status), self._lines())

    def _lines(self) -> list[bytes]:
        log = max(self._logs.glob("*.jsonl"), default=None)
        if log is None:
            return []
        with suppress(OSError), log.open("rb") as file:
            known = self._cursor.name
            begin = file.seek(0, os.SEEK_END) if not known else self._cursor.read if log.name == known else 0
            file.seek(begin)
            return self._cursor.lines(log.name, begin, file.read())
        return []


class OnHead:
    """Hears the one on the head, by one short call over the connection that is there."""

    poll_s = 0.5

    def __init__(self, session: Session, head: Node) -> None:
        self.where = f"{head.name}:"
        self._transport = session.transport(head)
        self._home = Path(service.home(self._transport.connection.state_dir))
        self._status = paths.scaler_status(Path(), session.name)
        self._logs = paths.runs_dir(Path(), session.name, "scaler")
        self._cursor = _Cursor()

    def hear(self) -> Said:
        """See `Ear`. Nothing where the head does not answer just now."""
        script = HEAR.format(
            home=folder_word(str(self._home)), logs=shlex.quote(str(self._logs)), status=shlex.quote(str(self._status)),
            known=shlex.quote(self._cursor.name), read=self._cursor.read,
        )  # fmt: skip
        answer = remote.run([*self._transport.rsh(), word(script)], masters.environment())
        now, log, status, begin, rest = [*answer.output.split(b"\n", 4), b"", b"", b"", b""][:5]
        if not log:
            return Said(float(now or 0))
        known = told.parse(status, str(self._home / self._status)) if status else None
        # a second that has begun counts as over: what is newer than that was surely told later
        return Said(float(now) + 1, known, self._cursor.lines(log.decode(errors="replace"), int(begin), rest))


def heard_from(ear: Ear) -> Said | None:
    """What it tells, or None where its words cannot be read just now."""
    with suppress(RayctlError, ValueError):
        return ear.hear()
    return None
