# SPDX-License-Identifier: Apache-2.0
"""The claims on a host: one public file per user, which all clusters of all users read before they take the host.

    <place>/rayctl-claim.<uid>    0644, in a sticky folder: everybody may look, only its user can change it

A claim holds until `expires` seconds of the host's uptime within the boot `boot_id`, and after that while a process lives
that it names: other users' environments cannot be read, so the pids are written down. What is no claim of the user in its
name counts as nothing, so that nobody keeps others out with junk.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import stat
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from . import processes, state
from .state import OTHERS_WRITE, NodeError

PLACE = "/var/tmp"  # noqa: S108  others may put there what they like: only claims that their own user wrote count
PREFIX = "rayctl-claim."
NAME = re.compile(r"rayctl-claim\.(0|[1-9][0-9]*)")
MAX_BYTES = 65536
MAX_TEXT, MAX_PROCESSES = 200, 64


class Claim(NamedTuple):
    """A user's claim on the host. `since` is in seconds since the epoch, `processes` are (pid, start time, name)."""

    uid: int
    cluster: str
    cluster_id: str
    node: str
    node_kind: str
    type: str
    owner: str
    since: float
    generation: int
    boot_id: str
    expires: float
    processes: Tuple[Tuple[int, int, str], ...]


Lives = Callable[[int, int, int], bool]
"""Whether the process with this pid and start time lives and is this user's."""


def parse(data: Optional[Dict[str, Any]], uid: int) -> Optional[Claim]:
    """The claim that a file of this user holds; None when it is none, whatever else it may be."""
    if data is None or data.get("kind") != "claim":
        return None
    try:
        named = tuple((pid, started, name) for pid, started, name in data["processes"])
        claim = Claim(uid=uid, processes=named, **{key: data[key] for key in Claim._fields[1:-1]})
        return claim if _sound(claim) else None
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _sound(claim: Claim) -> bool:
    """Whether every field is what it should be, and fit to be shown on another user's terminal."""
    numbers = (claim.since, claim.expires)
    named = claim.processes
    return (
        all(_is_word(word) for word in (*claim[1:7], claim.boot_id, *(name for _, _, name in named)))
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
        and type(claim.generation) is int
        and all(type(pid) is type(started) is int and pid > 0 for pid, started, _ in named)
        and len(named) <= MAX_PROCESSES
    )


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()


def counts(mode: int, owner: int, size: int, uid: int) -> bool:
    """Whether a file with these marks can be the claim of user `uid`: nobody else can have written it."""
    return stat.S_ISREG(mode) and owner == uid and not mode & OTHERS_WRITE and size <= MAX_BYTES


def remaining_s(claim: Claim, boot_id: str, uptime: float) -> float:
    """For how many seconds the claim holds by itself."""
    return max(0.0, claim.expires - uptime) if claim.boot_id == boot_id else 0.0


def holds(claim: Claim, boot_id: str, uptime: float, lives: Lives) -> bool:
    """Whether the host is taken by this claim."""
    if claim.boot_id != boot_id:
        return False
    return remaining_s(claim, boot_id, uptime) > 0 or any(lives(pid, started, claim.uid) for pid, started, _ in claim.processes)


def lives(pid: int, started: int, uid: int) -> bool:
    """See `Lives`; on this machine. Where it hides other users' processes, one with this number has to do."""
    path = "/proc/%d/stat" % pid
    try:
        if not os.path.exists(path):
            return _hides(pid)
        return processes.alive(pid, started) and os.stat(path).st_uid == uid
    except OSError:
        return False


def _hides(pid: int) -> bool:
    """Whether there is a process of another user with this number."""
    try:
        os.kill(pid, 0)  # a question, no signal
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        pass
    return False


class Board:
    """The folder with everybody's claims on this host."""

    def __init__(self, place: str) -> None:
        self.place, self.uid = place, os.geteuid()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep all others from changing claims. The lock is on the folder itself, which every user can open."""
        try:
            fd = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as e:
            raise NodeError("cannot open %s, where claims on this host lie: %s" % (self.place, e.strerror)) from None
        try:
            self._check(os.fstat(fd))
            state.wait_for_lock(fd, self.place)
            yield
        finally:
            os.close(fd)

    def _check(self, info: os.stat_result) -> None:
        if info.st_uid not in (0, self.uid) or (info.st_mode & OTHERS_WRITE and not info.st_mode & stat.S_ISVTX):
            raise NodeError(
                "%s is not fit for claims on this host: anybody could remove other people's. It should belong to root and be "
                "sticky: chmod 1777 %s" % (self.place, self.place)
            )

    def others(self) -> List[Claim]:
        """Everybody else's claims, whether they hold or not."""
        found = (NAME.fullmatch(name) for name in os.listdir(self.place))
        uids = sorted(int(match.group(1)) for match in found if match)
        return [claim for claim in map(self._read, uids) if claim is not None and claim.uid != self.uid]

    def mine(self) -> Optional[Claim]:
        """Our own; a broken one counts as none. Raises NodeError for one of a newer rayctl."""
        text = self._text(self.uid)
        return None if text is None else parse(state.document(text, self._path(self.uid)), self.uid)

    def _read(self, uid: int) -> Optional[Claim]:
        text = self._text(uid)
        return None if text is None else parse(state.decoded(text), uid)

    def _text(self, uid: int) -> Optional[str]:
        try:
            # without O_NONBLOCK a pipe in its place would hold us for ever
            fd = os.open(self._path(uid), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            info = os.fstat(fd)
            return os.read(fd, MAX_BYTES).decode() if counts(info.st_mode, info.st_uid, info.st_size, uid) else None
        except (OSError, UnicodeDecodeError):
            return None
        finally:
            os.close(fd)

    def _path(self, uid: int) -> str:
        return os.path.join(self.place, "%s%d" % (PREFIX, uid))

    def write(self, claim: Claim) -> None:
        """Publish our claim in place of what lies there, in one step. For the holder of the lock."""
        path = self._path(self.uid)
        fresh = os.path.join(self.place, ".%s%d.%s" % (PREFIX, self.uid, os.urandom(6).hex()))
        try:
            self._sweep()
            _store(fresh, json.dumps(_document(claim)) + "\n")
            os.rename(fresh, path)
        except OSError as e:
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise NodeError("cannot write the claim on this host, %s: %s%s" % (path, e.strerror, self._whose(path))) from None

    def _whose(self, path: str) -> str:
        """Why a file of ours cannot be put there: somebody else took its name."""
        with contextlib.suppress(OSError):
            owner = os.lstat(path).st_uid
            if owner != self.uid:
                return ". Somebody else put it there, user id %d: they or root must remove it" % owner
        return ""

    def _sweep(self) -> None:
        """Remove what our killed writers left."""
        prefix = ".%s%d." % (PREFIX, self.uid)
        for name in os.listdir(self.place):
            path = os.path.join(self.place, name)
            if name.startswith(prefix) and os.lstat(path).st_uid == self.uid:
                os.unlink(path)

    def remove(self) -> None:
        """Take our claim away. For the holder of the lock."""
        try:
            os.unlink(self._path(self.uid))
        except FileNotFoundError:
            pass
        except OSError as e:
            raise NodeError("cannot remove the claim on this host, %s: %s" % (self._path(self.uid), e.strerror)) from None


def _document(claim: Claim) -> Dict[str, Any]:
    fields = {key: value for key, value in claim._asdict().items() if key != "uid"}
    return dict({"version": state.VERSION, "kind": "claim"}, **fields)


def _store(path: str, text: str) -> None:
    """A new file that everybody can read, safely on the disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fchmod(fd, 0o644)
        os.fsync(fd)
