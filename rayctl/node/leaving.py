# SPDX-License-Identifier: Apache-2.0
"""A node goes: what is ours on this host ends, then everything that we kept here is removed, and the claim last."""

from __future__ import annotations

import contextlib
import os
import re
from typing import List, Optional

from . import control, launched, processes, state
from .claim import NODES_OWN, known_claim
from .claims import Board, Claim

MACHINE = re.compile("[0-9a-f]{16}")
SHARED = ("env", "token", "files", "over")  # in `state_dir`, for all hosts that share this home
ALL = (*NODES_OWN, processes.WATCH)


def release(state_dir: str, cluster_id: str, place: str, known: Optional[Claim] = None) -> Optional[List[str]]:
    """End and remove what this host has of the cluster; None when it has nothing, and then nothing is touched.

    Returns the processes that do not end: normally none, and while there are any the claim stays. It also stays, with a
    NodeError, when it is not as `known`: then somebody took or renewed it since the caller looked.
    """
    board, folder = Board(place), state.folder_of(state_dir)
    node = _node(known_claim(state_dir, board), folder, cluster_id)
    if node is None:
        return None
    control.stop_runner(state_dir)
    left = processes.stop("%s/%s" % (cluster_id, node), variables=ALL)
    if left:
        return ["%s (pid %d)" % (process.name, process.pid) for process in left]
    with board.locked():
        mine = board.mine()
        if known is not None and mine != known:
            raise state.NodeError("somebody claims this host just now")
        _forget(os.path.expanduser(state_dir), folder)
        if mine and mine.cluster_id == cluster_id:
            board.remove()  # last: by it, the next release finds what a killed one left
    return []


def note(state_dir: str, line: str) -> None:
    """Add a line to what is told of the node after its end, beside the folder that goes with it. It need not succeed."""
    with contextlib.suppress(OSError, state.NodeError):
        state.make_private(state_dir)
        how = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        with os.fdopen(os.open(_note_of(state.folder_of(state_dir)), how, 0o600), "a") as file:
            file.write(line + "\n")


def _note_of(folder: str) -> str:
    return folder + ".log"


def _node(claim: Optional[Claim], folder: str, cluster_id: str) -> Optional[str]:
    """The name of the cluster's node here. Without a public half it is known by the private one."""
    if claim and claim.cluster_id == cluster_id:
        return claim.node
    private = launched.read(folder, cluster_id)
    return str(private["node"]) if private else None


def _forget(state_dir: str, folder: str) -> None:
    """Remove the machine's folder, and with the last machine's what all of them shared."""
    try:
        _remove_private(folder)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_note_of(folder))
        if not any(MACHINE.fullmatch(name) for name in _names(state_dir)):
            _remove_shared(state_dir)
    except OSError as e:
        raise state.NodeError("cannot remove %s: %s" % (e.filename, e.strerror)) from None


def _remove_private(folder: str) -> None:
    if os.path.lexists(folder):
        state.make_private(folder)  # or refuse it: from here on nobody else can put a link into it
        state.remove(folder)


def _remove_shared(state_dir: str) -> None:
    if os.path.lexists(state_dir):
        state.make_private(state_dir)
    for name in SHARED:
        state.remove(os.path.join(state_dir, name))
    drop_empty(state_dir)


def drop_empty(state_dir: str) -> None:
    """Remove the cluster's folder, and ours above it, where nothing is in them any more."""
    parent = os.path.dirname(state_dir.rstrip("/"))
    for folder in (state_dir, parent)[: 2 if os.path.basename(parent) == ".rayctl" else 1]:
        with contextlib.suppress(OSError):  # not empty: something of others, or of another cluster
            os.rmdir(folder)


def _names(folder: str) -> List[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []
