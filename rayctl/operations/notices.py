# SPDX-License-Identifier: Apache-2.0
"""What `up` says before it works: keys of the file that are read otherwise than they are written, or not acted on yet."""

from __future__ import annotations

from collections.abc import Iterator

from rayctl.config.start import start_of
from rayctl.events import EventKind
from rayctl.operations import hosts
from rayctl.operations.session import Session


def tell(session: Session) -> None:
    """Emit each notice once."""
    for text in dict.fromkeys(_notices(session)):
        session.bus.emit(EventKind.NOTICE, text=text)


def _notices(session: Session) -> Iterator[str]:
    config = session.config
    for name in hosts.left_out(session):
        yield f"{name} is in the file no more, and what runs there runs on: put it back and `rayctl down`, then take it out"
    for kind in ("head", "worker"):
        yield from start_of(config, kind).notices
    if config.cluster_synced_files and config.provider.type == "embedded":
        yield "`cluster_synced_files` needs no copying here: embedded nodes and their head share one file system"
    if config.file_mounts_sync_continuously:
        yield "`file_mounts_sync_continuously` is not acted on yet: mounts are copied by `rayctl up` alone"
