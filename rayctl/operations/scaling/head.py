# SPDX-License-Identifier: Apache-2.0
"""Ray's head, as the scaler has to do with it: one connection that is made anew when it fails, and the head's log folder."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TypeVar

from rayctl.errors import RayctlError, Refused
from rayctl.events import EventKind
from rayctl.gcs.autoscaler import AutoscalerClient
from rayctl.gcs.errors import GcsError, GcsUnavailable
from rayctl.gcs.view import ClusterView
from rayctl.node import processes
from rayctl.operations import joined
from rayctl.operations.session import Session
from rayctl.reconcile.seam import Sight
from rayctl.transport.base import Ends, Transport
from rayctl.transport.local import LocalTransport

TIMEOUT_S = 5.0
OLDEST = (2, 10)
FLAG_NAMESPACE, FLAG = b"__autoscaler", b"__autoscaler_v2_enabled"
EVENTS = "event_AUTOSCALER.log"  # Ray's log monitor shows its lines in drivers' terminals
MONITOR_LOG = "monitor.log"  # the same, where Ray's own monitor writes it
LOG_LINK = "monitor-rayctl.log"  # found by whoever looks for `monitor*`
# a run of Ray keeps its logs where its processes are told on their command lines; what is appended comes on stdin
APPEND = r"""logs=$(tr '\0' '\n' < /proc/{pid}/cmdline | sed -n 's/^--log[-_]dir=//p')
cd "$logs" && mkdir -p events && cat >> {name}"""
T = TypeVar("T")


class Head:
    """The cluster's head. Every call raises `GcsError` where it does not answer."""

    def __init__(self, session: Session, log: Path | None) -> None:
        self._session, self._log = session, log
        self._client: AutoscalerClient | None = None
        self._held = ExitStack()
        self._known = ""
        self._told_of_us = False  # whether this Ray was started to be told by a scaler of another kind than its monitor

    def sight(self) -> Sight:
        """What the head tells now. A head that is met for the first time is told that we scale it."""
        view = self._view()
        identity = view.session_name or self.ask(lambda client: client.cluster_id())
        if identity != self._known:
            self._meet()
            self._known = identity
            view = self._view()
        return Sight(identity, view)

    def _view(self) -> ClusterView:
        """Nodes and demand; where drivers ask the head's service for resources, the key-value store is not looked into."""
        return self.ask(lambda client: client.cluster(stored=not self._told_of_us))

    def ask(self, question: Callable[[AutoscalerClient], T]) -> T:
        """Ask the head; where that fails, the next question is asked over a new connection."""
        try:
            return question(self._connected())
        except GcsError:
            self.close()
            raise
        except RayctlError as problem:
            self.close()
            raise GcsUnavailable(self._session.name, problem.message) from problem

    def close(self) -> None:
        """Close the connection."""
        self._client = None
        self._held.close()

    def _connected(self) -> AutoscalerClient:
        if self._client is None:
            self._session.refresh(silent=True)
            self._held = ExitStack()
            self._client = self._held.enter_context(joined.client(self._session, TIMEOUT_S))
        return self._client

    def _meet(self) -> None:
        version = self.ask(lambda client: client.ray_version())
        numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
        if numbers < OLDEST:
            raise Refused(
                f"the scaler needs Ray 2.10 or newer, and the cluster runs {version}; nothing was touched.",
                hint="Use a newer Ray, or scale by hand: rayctl up --min-workers.",
            )
        self._told_of_us = self.ask(lambda client: client.get(FLAG, namespace=FLAG_NAMESPACE)) == b"1"
        if not self._told_of_us:
            text = "this head's Ray was started for Ray's own monitor: `ray status` will not show what is coming"
            self._session.bus.emit(EventKind.NOTICE, text=text, hint=self._session.command("up", "--restart"))
        self._link_log()

    # ---- its log folder
    def tell_drivers(self, lines: Sequence[str]) -> None:
        """Show lines in the terminals of drivers. Where the log folder is out of reach they are not shown."""
        name = f"events/{EVENTS}" if self._told_of_us else MONITOR_LOG
        text = "".join(_event(line) if self._told_of_us else f":event_summary:{line}\n" for line in lines)
        with suppress(RayctlError, OSError):
            transport, pid, here = self._gcs()
            if here:
                path = _log_folder(pid) / name
                path.parent.mkdir(exist_ok=True)
                with path.open("a") as file:
                    file.write(text)
                return
            with tempfile.TemporaryFile() as file, Path(os.devnull).open("wb") as nothing:
                file.write(text.encode())
                file.seek(0)
                ends = Ends(file.fileno(), nothing.fileno(), nothing.fileno())
                transport.run(APPEND.format(pid=pid, name=name), {}, ends=ends)

    def _gcs(self) -> tuple[Transport, int, bool]:
        """The way to the head, the pid of its GCS there, and whether that is this machine. Raises `GcsUnavailable`."""
        head = self._session.deployment.head
        if head is not None:
            transport = self._session.transport(head)
            known = transport.probe(self._session.mark(head))["ray"]
            for pid, started, name in known["processes"] if known else ():
                if name == "gcs_server":
                    return transport, pid, isinstance(transport, LocalTransport) or processes.alive(pid, started)
        raise GcsUnavailable(self._session.name, "no GCS that rayctl started runs there")

    def _link_log(self) -> None:
        """Let our log be found beside Ray's, where both are on one machine."""
        with suppress(RayctlError, OSError):
            _, pid, here = self._gcs()
            if self._log is not None and here:
                link = _log_folder(pid) / LOG_LINK
                link.unlink(missing_ok=True)
                link.symlink_to(self._log)


def _log_folder(pid: int) -> Path:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape").split("\0")
    found = [word.partition("=")[2] for word in words if re.match(r"--log[-_]dir=", word)]
    if not found:
        raise FileNotFoundError(f"process {pid} tells no log folder")
    return Path(found[0])


def _event(line: str) -> str:
    severity = "ERROR" if line.startswith(("Error", "Failed")) else "INFO"
    fields = {
        "event_id": secrets.token_hex(18), "source_type": "AUTOSCALER", "source_hostname": socket.gethostname(),
        "source_pid": os.getpid(), "severity": severity, "label": "", "message": line, "timestamp": int(time.time()),
        "custom_fields": {},
    }  # fmt: skip
    return json.dumps(fields) + "\n"
