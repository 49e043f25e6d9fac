# SPDX-License-Identifier: Apache-2.0
"""Follows a scaler: what it does is shown as if it were done here, until it has done what is wanted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from rayctl.errors import NodeFailure, NodesFailed
from rayctl.events import Event, EventKind
from rayctl.operations.options import UpResult
from rayctl.operations.scaling.ears import Ear, heard_from
from rayctl.operations.session import Session
from rayctl.reconcile.lives import Stage
from rayctl.reconcile.report import COMING
from rayctl.reconcile.told import FRESH_S, FailureTold, ScalerStatus

SILENT_S = FRESH_S  # a scaler that has not turned for so long is not waited for
READ_S = 1.0  # within which a living scaler has read what it was handed
FOLLOWED = frozenset(EventKind) - {EventKind.OPERATION_STARTED, EventKind.OPERATION_ENDED}


class Watch:
    """Follows one scaler, from `begin` on: call it before the scaler is told anything, so that nothing is missed."""

    def __init__(self, session: Session, ear: Ear) -> None:
        self._session, self._ear = session, ear
        self._began = 0.0  # on the scaler's clock
        self._launched: list[str] = []
        self._joined: list[str] = []

    def begin(self) -> bool:
        """Whether it is at work: one that stands still does nothing that is worth waiting for."""
        said = heard_from(self._ear)
        if said is None or said.status is None or said.now - said.status.at > FRESH_S:
            return False
        self._began = said.now
        return True

    def finish(self, result: UpResult, timeout_s: float | None, resume: str) -> UpResult:
        """The result after the scaler has done its part, which is shown. Raises `NodesFailed` where something of it failed."""
        keys = self._session.config.scaler
        patience_s = timeout_s or keys.launch_timeout_s + keys.setup_timeout_s + keys.join_timeout_s
        if failures := self._until_done(patience_s):
            message = f"{len(failures)} of what the scaler was to do failed; it goes on trying"
            raise NodesFailed(message, tuple(failures), hint=resume)
        launched = tuple(dict.fromkeys(self._launched))
        return replace(
            result, launched=(*result.launched, *launched), expected=result.expected + len(launched),
            joined=result.joined + len(set(self._joined) & set(launched)),
        )  # fmt: skip

    def _until_done(self, patience_s: float) -> Sequence[NodeFailure]:
        """Show what the scaler does until every type has its minimum and nothing is coming; what failed meanwhile."""
        end = time.monotonic() + patience_s
        quiet_at = time.monotonic() + SILENT_S
        handed: float | None = None  # when, on the scaler's clock, it had been told
        while time.monotonic() < end:
            said = heard_from(self._ear)
            if said is not None:
                self._show(said.lines)
                handed = said.now if handed is None else handed
                if said.status is not None and said.status.at > max(handed + READ_S, said.now - SILENT_S):
                    quiet_at = time.monotonic() + SILENT_S
                    if failed := self._failed(said.status):
                        return failed
                    if self._done(said.status):
                        return []
            if time.monotonic() > quiet_at:
                return [NodeFailure(self._session.name, f"the scaler has not turned for {SILENT_S:g} s")]
            time.sleep(self._ear.poll_s)
        return [NodeFailure(self._session.name, f"the scaler was not done after {patience_s:g} s")]

    def _show(self, lines: Sequence[bytes]) -> None:
        for line in lines:
            with suppress(ValueError):
                event = Event.from_json(line.decode())
                if event.kind not in FOLLOWED:
                    continue
                self._session.bus.emit(event.kind, event.node, event.step, **event.data)
                if event.kind == EventKind.NODE_LAUNCHED:
                    self._launched.append(event.node)
                elif event.kind == EventKind.NODE_JOINED:
                    self._joined.append(event.node)

    def _done(self, status: ScalerStatus) -> bool:
        config = self._session.config
        up = Counter(node.type for node in status.nodes if node.stage == Stage.UP)
        coming = any(node.stage in COMING for node in status.nodes)
        few = all(up[name] <= config.max_workers_of(name) for name in config.worker_types)
        return not coming and few and all(up[name] >= config.min_workers_of(name) for name in config.worker_types)

    def _failed(self, status: ScalerStatus) -> list[NodeFailure]:
        fresh = [failure for failure in status.failures if failure.at > self._began]
        return [NodeFailure(failure.node or failure.type, failure.reason, log=self._log_of(failure)) for failure in fresh]

    def _log_of(self, failure: FailureTold) -> str:
        return self._ear.where + failure.log if failure.log else ""
