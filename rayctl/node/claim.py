# SPDX-License-Identifier: Apache-2.0
"""Our own claim on this host: taken, kept while we work here, and known again after a reboot.

It has two halves: a public one that says to everybody who has the host (`claims.py`), and a private one with what is nobody
else's business (`launched.py`). The private half is written first, so the claim is ours exactly when the public half says
so. Where a cleaner took the public half away, the host stays ours while processes of the node run, and the next run
publishes it again.
"""

from __future__ import annotations

import os
import pwd
import time
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from . import claims, launched, processes, state
from .claims import Board, Claim
from .state import NodeError

CLAIM_S = 900.0
NODES_OWN = (processes.RAY, processes.STEP)
Named = Sequence[Tuple[int, int, str]]


class Request(NamedTuple):
    """What a controller asks for. Without `cluster_id` it founds: the identity is the one this host knows, else `proposed`.

    Without `token` the host is taken, but is no node yet. `ttl_s` is for how many seconds the claim holds by itself.
    """

    cluster: str
    node: str
    node_kind: str
    type: str
    owner: str
    resources: Dict[str, float]
    labels: Dict[str, str]
    tags: Dict[str, str]
    cluster_id: str = ""
    proposed: str = ""
    token: str = ""
    launch_digest: str = ""
    ttl_s: float = CLAIM_S


class Held(NamedTuple):
    """The answer to who comes second: the claim that stands, and for how many seconds (0: while its processes run)."""

    claim: Claim
    remaining_s: float

    @property
    def user(self) -> str:
        """The name of its user on this host."""
        try:
            return pwd.getpwuid(self.claim.uid).pw_name
        except KeyError:
            return str(self.claim.uid)


# ---- taking
def take(state_dir: str, request: Request, place: str) -> Union[Claim, Held]:
    """Claim this host for a cluster, or say who has it. The same request again changes nothing but the expiry.

    Raises NodeError when it is ours already, launched with another token.
    """
    board, folder = Board(place), state.folder_of(state_dir)
    with board.locked():
        known = known_claim(state_dir, board)
        cluster_id = request.cluster_id or _identity(known, request)
        held = _held(known) if known else None
        other = _in_the_way(board) or (held if known and known.cluster_id != cluster_id else None)
        if other:
            return other
        private = launched.read(folder, cluster_id)
        if held and private and private["token"] not in ("", request.token):
            raise NodeError("this host is a node of the cluster %s already, launched with another token" % request.cluster)
        state.make_private(folder)
        claim = _claim(request, cluster_id, known, bool(held))
        if private is None or private["token"] != request.token:
            launched.write(folder, dict(request._asdict(), **claim._asdict()))
        board.write(claim)
        return claim


def _identity(known: Optional[Claim], request: Request) -> str:
    """The cluster that this host was the head of stays that cluster, also after a reboot."""
    if known and (known.cluster, known.node_kind) == (request.cluster, request.node_kind):
        return known.cluster_id
    return request.proposed


def _claim(request: Request, cluster_id: str, known: Optional[Claim], held: bool) -> Claim:
    fresh = Claim(
        os.geteuid(), request.cluster, cluster_id, request.node, request.node_kind, request.type, request.owner, time.time(),
        (known.generation if known else 0) + 1, processes.boot_id(), processes.uptime() + request.ttl_s, (),
    )  # fmt: skip
    if known is None or not held:
        return fresh
    return known._replace(boot_id=fresh.boot_id, expires=fresh.expires, processes=_living(known))


def _in_the_way(board: Board) -> Optional[Held]:
    """The claim of another user that holds."""
    return next((held for held in map(_held_by, board.others()) if held), None)


def _held_by(claim: Claim) -> Optional[Held]:
    boot_id, uptime = processes.boot_id(), processes.uptime()
    if not claims.holds(claim, boot_id, uptime, claims.lives):
        return None
    return Held(claim, claims.remaining_s(claim, boot_id, uptime))


def _held(mine: Claim) -> Optional[Held]:
    """Our own claim, if it holds: our processes need not be named in it, they are known by their marks."""
    return _held_by(mine) or (Held(mine, 0.0) if _marked(mine) else None)


def _marked(claim: Claim) -> List[processes.Process]:
    return processes.marked("%s/%s" % (claim.cluster_id, claim.node), NODES_OWN)


# ---- keeping
def ours(state_dir: str, cluster_id: str, place: str) -> Claim:
    """Our claim for this cluster. Raises NodeError when this host is not, or not any more, a node of it.

    One that ran out, or outlived a reboot, is still ours as long as nobody else took the host.
    """
    board = Board(place)
    return _ours(board, known_claim(state_dir, board), cluster_id)


def _ours(board: Board, known: Optional[Claim], cluster_id: str) -> Claim:
    other = _in_the_way(board) or (Held(known, 0.0) if known and known.cluster_id != cluster_id else None)
    if known is not None and other is None:
        return known
    has = "is free" if other is None else "is claimed by %s for the cluster %s of user %s" % (
        other.claim.owner, other.claim.cluster, other.user,
    )  # fmt: skip
    raise NodeError("this host is no node of this cluster: it %s. `rayctl up` claims it, if it can" % has)


def record(state_dir: str, cluster_id: str, named: Named, place: str, ttl_s: float = CLAIM_S) -> None:
    """Renew our claim, and name processes in it for others to see. Those named before stay while they live.

    Raises NodeError as `ours` does.
    """
    board = Board(place)
    with board.locked():
        known = _ours(board, known_claim(state_dir, board), cluster_id)
        boot_id, kept = processes.boot_id(), dict.fromkeys([*_living(known), *named])
        rebooted = known.boot_id not in ("", boot_id)
        board.write(known._replace(
            generation=known.generation + rebooted, boot_id=boot_id, expires=processes.uptime() + ttl_s, processes=tuple(kept),
        ))  # fmt: skip


def _living(claim: Claim) -> Tuple[Tuple[int, int, str], ...]:
    if claim.boot_id != processes.boot_id():
        return ()
    return tuple((pid, started, name) for pid, started, name in claim.processes if claims.lives(pid, started, claim.uid))


def set_tags(state_dir: str, cluster_id: str, tags: Dict[str, str], place: str) -> None:
    """Add to the node's tags. Raises NodeError as `ours` does."""
    folder, board = state.folder_of(state_dir), Board(place)
    with board.locked():
        _ours(board, known_claim(state_dir, board), cluster_id)
        private = launched.read(folder, cluster_id)
        if private is None:
            raise NodeError("this host was claimed, but no node was launched on it, so there is nothing to tag")
        launched.write(folder, dict(private, tags=dict(private["tags"], **tags)))


def known_claim(state_dir: str, board: Board) -> Optional[Claim]:
    """Our claim on this host: the published one, else that of a node of ours that runs here all the same."""
    return board.mine() or _unpublished(state_dir)


def _unpublished(state_dir: str) -> Optional[Claim]:
    """The claim of a running node whose public half is gone, of whatever cluster of ours."""
    clusters = os.path.dirname(os.path.expanduser(state_dir).rstrip("/"))
    try:
        names = sorted(os.listdir(clusters))
    except OSError:
        return None
    found = (launched.read(state.folder_of(os.path.join(clusters, name))) for name in names)
    candidates = (launched.published(private, os.geteuid()) for private in found if private)
    return next((claim for claim in candidates if _marked(claim)), None)
