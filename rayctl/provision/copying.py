# SPDX-License-Identifier: Apache-2.0
"""Files copied to and from a node by rsync, with rsync's own meaning of paths: `dir` copies the folder, `dir/` what is in it.

Nothing is deleted at the other end, and files belong to who receives them. Paths on the node go to rsync itself and never
through the node's shell, as `-s` says; relative ones and `~/` lie below the home folder.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rayctl.errors import RayctlError
from rayctl.provision import delivery, remote
from rayctl.provision.remote import Remote
from rayctl.transport import failures
from rayctl.transport.base import Transport

MISSING = "rsync is not installed on the node"
OPTIONS = ("-rlptzs", "--specials", "--modify-window=-1", "--stats")  # times to the nanosecond
HOME = re.compile(r"~/*")
COUNT = re.compile(r"^Number of (?:regular )?files transferred: ([\d,.]+)", re.MULTILINE)
PROGRESS = re.compile(r"([\d,.]+) +(\d+)% +(\S+/s)")
SIZE = re.compile(r"^Total transferred file size: ([\d,.]+)", re.MULTILINE)


@dataclass(frozen=True)
class Copy:
    """What is copied: from `source` to `target`, `down` from the node to here, without what is excluded."""

    source: str
    target: str
    down: bool = False
    exclude: tuple[str, ...] = ()
    filters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """How far a copy is: bytes, per cent of what rsync knows of so far, and its speed in rsync's words (`80.12MB/s`)."""

    size: int
    percent: int
    speed: str


@dataclass(frozen=True)
class Copied:
    """Files that differed and were copied, and their size in bytes."""

    files: int
    size: int
    listing: tuple[str, ...] = ()


def copy(wanted: Copy, transport: Transport, name: str, on_progress: Callable[[Progress], None] | None = None) -> Copied:
    """Copy to or from a node; `name` is for people. Raises RayctlError with rsync's last words, and `Unreachable`.

    `on_progress` hears twice a second how far it is; the files are not listed then.
    """
    node = delivery.shell_of(transport)
    if shutil.which("rsync", path=node.env.get("PATH")) is None:
        raise RayctlError("rsync is not installed on this machine", hint="Install it (package rsync), here and on the nodes.")
    here = delivery.is_here(transport)
    _make_folder(wanted, here=here)
    command = _command(wanted, None if here else node, ("--info=progress2",) if on_progress else ("--out-format=%n%L",))
    finished = remote.run(command, node.env, watch=_watch(on_progress) if on_progress else None)
    if finished.status == failures.SSH_FAILED:
        raise failures.unreachable(transport.connection, "\n".join(finished.errors))
    if finished.status:
        raise _failure(wanted, name, finished)
    text = finished.output.decode(errors="replace")
    listing, _, _ = text.partition("\nNumber of files") if not on_progress else ("", "", "")
    return Copied(_number(COUNT, text), _number(SIZE, text), tuple(line for line in listing.splitlines() if line))


def _watch(on_progress: Callable[[Progress], None]) -> remote.Watch:
    def watch(printed: str) -> None:
        if found := PROGRESS.findall(printed):
            size, percent, speed = found[-1]
            on_progress(Progress(int(re.sub(r"\D", "", size)), int(percent), speed))

    return watch


def _command(wanted: Copy, node: Remote | None, telling: Sequence[str]) -> list[str]:
    """Without `node` it is this machine."""
    there = _there(wanted.source if wanted.down else wanted.target)
    filters = [word for name in wanted.filters for word in ("--filter", f"dir-merge,- {name}")]
    command = ["rsync", *OPTIONS, *telling, *(f"--exclude={pattern}" for pattern in wanted.exclude), *filters]
    if node:
        command += ["--rsh", node.shell, "--rsync-path", remote.script(*_preparing(wanted, there))]
        there = f"{node.host}:{there}"
    else:
        there = str(Path.home() / there) + ("/" if there.endswith("/") else "")
    return [*command, "--", *((there, _here(wanted.target)) if wanted.down else (_here(wanted.source), there))]


def _here(path: str) -> str:
    """A path of this machine as rsync has it: one with a colon would be another machine's, but for a slash before that."""
    expanded = os.path.expanduser(path)  # noqa: PTH111  a slash at the end has a meaning
    return expanded if expanded.startswith("/") else f"./{expanded}"


def _there(path: str) -> str:
    """A path on the node as rsync has it there: it begins in the home folder and knows no `~`."""
    return HOME.sub("", path, count=1) or "." if path == "~" or path.startswith("~/") else path


def _make_folder(wanted: Copy, *, here: bool) -> None:
    """The folder that the copies go to, where that is on this machine; rsync makes its last part only."""
    if here or wanted.down:
        target = _here(wanted.target) if wanted.down else str(Path.home() / _there(wanted.target))
        folder = Path(target) if wanted.target.endswith("/") else Path(target).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise RayctlError(f"cannot make the folder {folder}: {e.strerror}") from None


def _preparing(wanted: Copy, there: str) -> Sequence[str]:
    folder = there if there.endswith("/") else posixpath.dirname(there)
    made = [f"mkdir -p {remote.words(folder)} || exit 1"] if folder and not wanted.down else []
    return [remote.without("rsync", MISSING), "cd || exit 1", *made, 'exec rsync "$@"']


def _failure(wanted: Copy, name: str, finished: remote.Finished) -> RayctlError:
    why = " | ".join(finished.errors) or f"rsync ended with exit code {finished.status} and no word"
    way = f"{name}:{wanted.source} to {wanted.target}" if wanted.down else f"{wanted.source} to {name}:{wanted.target}"
    hint = f"Install it there, such as by an initialization command: sudo apt-get install -y rsync, on {name}."
    return RayctlError(f"cannot copy {way}: {why}", hint=hint if finished.says(MISSING) else "")


def _number(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.search(text)
    return int(re.sub(r"\D", "", found[1])) if found else 0


__all__ = ["Copied", "Copy", "Progress", "copy"]
