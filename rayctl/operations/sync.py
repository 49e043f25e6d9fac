# SPDX-License-Identifier: Apache-2.0
"""`rsync-up` and `rsync-down`: files to and from the head, or to all nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from rayctl.config.load import expand_local
from rayctl.errors import NodeFailure, NodesFailed, RayctlError, Unreachable, UsageError
from rayctl.operations.machines import the_head
from rayctl.operations.session import Session
from rayctl.providers.base import Node
from rayctl.provision import copying, delivery
from rayctl.provision.copying import Copied, Copy, Progress

AT_ONCE = 32  # nodes
OnProgress = Callable[[str, Progress], None]  # which node, how far


@dataclass(frozen=True)
class Synced:
    """What was copied, by node; a line of `copied.listing` is one file."""

    node: str
    copied: Copied


def up(
    session: Session, source: str, target: str, *, all_nodes: bool = False, on_progress: OnProgress | None = None
) -> list[Synced]:
    """Copy to the head, or to all nodes; without paths all file mounts go where they belong. Raises `NodesFailed`.

    `on_progress` is called from several threads; what is copied is not listed then.
    """
    return _copy(session, _wanted(session, source, target, down=False), _places(session, all_nodes=all_nodes), on_progress)


def down(session: Session, source: str, target: str, on_progress: OnProgress | None = None) -> list[Synced]:
    """Copy from the head; without paths all file mounts come back to where they are from. Raises `NodesFailed`."""
    return _copy(session, _wanted(session, source, target, down=True), _places(session, all_nodes=False), on_progress)


def _wanted(session: Session, source: str, target: str, *, down: bool) -> list[Copy]:
    config = session.config
    leaving_out = Copy("", "", down, tuple(config.rsync_exclude), tuple(config.rsync_filter))
    if source and target:
        return [replace(leaving_out, source=source, target=target)]
    if source or target:
        raise UsageError("name a source and a target, or neither for all file mounts")
    if not config.file_mounts:
        raise UsageError(f"{session.loaded.path} has no file_mounts", hint="Name a source and a target.")
    mounts = [(place, expand_local(here, session.loaded.folder)) for place, here in config.file_mounts.items()]
    return [_mount(leaving_out, place, here, down=down) for place, here in mounts]


def _mount(kind: Copy, place: str, here: Path, *, down: bool) -> Copy:
    """A folder's mount is what is in it, on both sides; a file's may name the folder it goes to."""
    if here.is_dir():
        place, local = f"{place.rstrip('/')}/", f"{here}/"
    else:
        place, local = (f"{place}{here.name}" if place.endswith("/") else place), str(here)
    return replace(kind, source=place, target=local) if down else replace(kind, source=local, target=place)


def _places(session: Session, *, all_nodes: bool) -> Sequence[Node]:
    head = the_head(session)
    workers = session.deployment.workers if all_nodes else ()
    return [head, *(node for node in workers if not delivery.is_here(session.transport(node)))]  # those have the head's files


def _copy(session: Session, wanted: Iterable[Copy], nodes: Sequence[Node], on_progress: OnProgress | None) -> list[Synced]:
    wanted = list(wanted)

    def one(node: Node) -> Synced | NodeFailure:
        try:
            return Synced(node.name, _all(session, wanted, node, on_progress))
        except RayctlError as e:
            if len(nodes) == 1:
                raise
            return NodeFailure(node.name, e.message, unreachable=isinstance(e, Unreachable))

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(one, nodes))
    if failures := tuple(result for result in results if isinstance(result, NodeFailure)):
        raise NodesFailed(f"{len(failures)} of {len(nodes)} nodes did not get everything", failures)
    return [result for result in results if isinstance(result, Synced)]


def _all(session: Session, wanted: Sequence[Copy], node: Node, on_progress: OnProgress | None) -> Copied:
    transport, done = session.transport(node), list[Copied]()

    def tell(now: Progress) -> None:
        if on_progress:
            on_progress(node.name, replace(now, size=now.size + sum(each.size for each in done)))

    for each in wanted:
        done.append(copying.copy(each, transport, node.name, tell if on_progress else None))
    listing = tuple(line for each in done for line in each.listing)
    return Copied(sum(each.files for each in done), sum(each.size for each in done), listing)
